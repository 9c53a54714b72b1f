"""The reference back end: both operations in plain torch, path by path, on any device, to any order of derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from ase_nbody.algebra.tables import Path, ProductTable, coefficients
from ase_nbody.edges import EdgeList


def contract(states: Tensor, harmonics: Tensor, radial: Tensor, edges: EdgeList, table: ProductTable) -> Tensor:
    """Messages summed over the children of each parent; see `operations.contract`."""
    summed = states.new_zeros(edges.n_receivers, table.n_output, states.shape[2])
    for number, path in enumerate(table.paths):
        block = states[:, _components(table, path)]
        coupling = torch.einsum("eb,abo->eoa", harmonics[:, _second(table, path)], _dense(table, path, states))
        messages = torch.bmm(coupling, block[edges.senders]) * radial[:, number].unsqueeze(1)  # (E, 2l+1, C)
        blank = summed.new_zeros(edges.n_receivers, messages.shape[1], messages.shape[2])
        summed = summed.index_add(1, _outputs(path, states), blank.index_add(0, edges.receivers, messages))
    return summed


def node_product(first: Tensor, second: Tensor, table: ProductTable) -> Tensor:
    """Channel-wise product of two states of each node; see `operations.node_product`."""
    product = first.new_zeros(first.shape[0], table.n_output, first.shape[2])
    for path in table.paths:
        left, right = first[:, _components(table, path)], second[:, _second(table, path)]
        result = torch.einsum("nak,nbk,abo->nok", left, right, _dense(table, path, first))
        product = product.index_add(1, _outputs(path, first), result)
    return product


def _components(table: ProductTable, path: Path) -> slice:
    return slice(path.first_start, path.first_start + table.first_irreps[path.first].dimension)


def _second(table: ProductTable, path: Path) -> slice:
    return slice(path.second_start, path.second_start + table.second_irreps[path.second].dimension)


def _dense(table: ProductTable, path: Path, like: Tensor) -> Tensor:
    return torch.as_tensor(coefficients(table, path), dtype=like.dtype, device=like.device)


def _outputs(path: Path, like: Tensor) -> Tensor:
    return torch.as_tensor(path.outputs, device=like.device)
