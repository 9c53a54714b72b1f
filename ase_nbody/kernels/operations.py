"""The channel-wise contraction and the node product, differentiable to any order, on the back end of the device.

    S(psi, Y, R, G) = sum over edges and entries of c psi[sender, a, k] Y[edge, b] R[edge, p, k] G[receiver, o, k]

`contract` is dS/dG. S is linear in each argument, so its derivatives of any order are again dS/dpsi, dS/dY, dS/dR and dS/dG with
other arguments. Three autograd functions close the set: the messages, their three gradients at once, and the
change of both along a tangent; the backward of the last is written with the first two.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from ase_nbody.kernels import cpu, reference
from ase_nbody.kernels.edges import EdgeList
from ase_nbody.kernels.tables import ProductTable

Backend = Literal["auto", "reference", "cpu"]


def contract(
    states: Tensor, harmonics: Tensor, radial: Tensor, edges: EdgeList, table: ProductTable, backend: Backend = "auto"
) -> Tensor:
    """Messages psi_child x Y(r) weighted by R(r), decomposed into irreps and summed over the children (eq. 10).

    Args:
        states: states of the children, (n_senders, table.n_first, C).
        harmonics: harmonics of the relative vectors, (E, table.n_second).
        radial: radial weight of each path and channel, (E, table.n_paths, C).
        edges: who is whose child.
        table: the product of states and harmonics.
        backend: "reference" (torch, any device), "cpu" (numba), or "auto": cpu for CPU tensors, else reference.

    Returns:
        (n_receivers, table.n_output, C).

    Raises:
        ValueError: the shapes do not fit the table, or the back end does not run on the tensors' device.
    """
    expected = [(edges.n_senders, table.n_first), (edges.n_edges, table.n_second), (edges.n_edges, table.n_paths)]
    found = [tuple(t.shape[:2]) for t in (states, harmonics, radial)]
    if found != expected or states.shape[2] != radial.shape[2]:
        raise ValueError(f"states, harmonics and radial have shapes {found}, the edges and the table need {expected}")
    if _chosen(backend, states) == "reference":
        return reference.contract(states, harmonics, radial, edges, table)
    return _Messages.apply(states, harmonics, radial, edges, table)


def node_product(first: Tensor, second: Tensor, table: ProductTable, backend: Backend = "auto") -> Tensor:
    """Channel-wise tensor product of two states of each node, decomposed into irreps (eqs. 11, 13).

    Args:
        first: (N, table.n_first, C).
        second: (N, table.n_second, C).
        table: the product.
        backend: as in `contract`.

    Returns:
        (N, table.n_output, C).

    Raises:
        ValueError: the shapes do not fit the table, or the back end does not run on the tensors' device.
    """
    if first.shape[1] != table.n_first or second.shape[1] != table.n_second or first.shape[::2] != second.shape[::2]:
        raise ValueError(
            f"the factors have shapes {tuple(first.shape)} and {tuple(second.shape)}, the table needs "
            f"{table.n_first} and {table.n_second} components and equal nodes and channels"
        )
    if _chosen(backend, first) == "reference":
        return reference.node_product(first, second, table)
    return _Product.apply(first, second, table)


def _chosen(backend: Backend, states: Tensor) -> str:
    if backend == "auto":
        return "cpu" if states.device.type == "cpu" else "reference"
    if backend not in ("reference", "cpu"):
        raise ValueError(f"back end {backend!r} is not there; choose auto, reference or cpu")
    if backend == "cpu" and states.device.type != "cpu":
        raise ValueError(f"the cpu back end does not take tensors on {states.device}; use auto or reference")
    return backend


@cache
def _edge_table(table: ProductTable, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return (
        table.entry_coupling, table.entry_second, table.entry_value.astype(dtype), table.coupling_output,
        table.group_path, table.group_first, table.group_start,
    )  # fmt: skip


@cache
def _node_table(table: ProductTable, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return table.entry_first, table.entry_second, table.entry_output, table.entry_value.astype(dtype)


def _arrays(*tensors: Tensor) -> list[Any]:
    return [t.detach().contiguous().numpy() for t in tensors]


def _edge_work(edges: EdgeList, table: ProductTable, channels: int) -> float:
    return float(edges.n_edges) * len(table.coupling_output) * channels


class _Messages(Function):
    """dS/dG."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, harmonics: Tensor, radial: Tensor, edges: EdgeList, table: ProductTable) -> Tensor:
        ctx.save_for_backward(states, harmonics, radial)
        ctx.edges, ctx.table = edges, table
        summed = states.new_empty(edges.n_receivers, table.n_output, states.shape[2])
        arrays = _arrays(edges.receiver_offsets, edges.senders, states, harmonics, radial)
        work = _edge_work(edges, table, states.shape[2])
        numbers = _edge_table(table, arrays[2].dtype)
        cpu.run_over_nodes(cpu.messages, arrays[0], edges.n_receivers, work, *arrays, numbers, summed.numpy())
        return summed

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Gradients.apply(*ctx.saved_tensors, upstream, ctx.edges, ctx.table), None, None)


class _Gradients(Function):
    """dS/dpsi, dS/dY and dS/dR."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, harmonics: Tensor, radial: Tensor, upstream: Tensor, edges: EdgeList, table: ProductTable
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(states, harmonics, radial, upstream)
        ctx.edges, ctx.table = edges, table
        results = _empty_like(states, harmonics, radial)
        arrays = _arrays(edges.sender_offsets, edges.sender_order, edges.receivers, states, harmonics, radial, upstream)
        work = 2 * _edge_work(edges, table, states.shape[2])
        numbers = _edge_table(table, arrays[3].dtype)
        cpu.run_over_nodes(cpu.gradients, arrays[0], edges.n_senders, work, *arrays, numbers, *_arrays(*results))
        return results

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor | None, ...]:
        return (*_Tangents.apply(*ctx.saved_tensors, *tangents, ctx.edges, ctx.table), None, None)


class _Tangents(Function):
    """Change of dS/dpsi, dS/dY, dS/dR and dS/dG along a tangent of psi, Y and R at fixed G."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        harmonics: Tensor,
        radial: Tensor,
        upstream: Tensor,
        t_states: Tensor,
        t_harmonics: Tensor,
        t_radial: Tensor,
        edges: EdgeList,
        table: ProductTable,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        ctx.save_for_backward(states, harmonics, radial, upstream, t_states, t_harmonics, t_radial)
        ctx.edges, ctx.table = edges, table
        results = _empty_like(states, harmonics, radial, upstream)
        tensors = _arrays(states, harmonics, radial)
        tangents = _arrays(t_states, t_harmonics, t_radial)
        work = 3 * _edge_work(edges, table, states.shape[2])
        numbers = _edge_table(table, tensors[0].dtype)
        lists = _arrays(edges.sender_offsets, edges.sender_order, edges.receivers)
        outputs = _arrays(*results)
        cpu.run_over_nodes(
            cpu.tangent_gradients, lists[0], edges.n_senders, work,
            *lists, *tensors, *_arrays(upstream), *tangents, numbers, *outputs[:3],
        )  # fmt: skip
        lists = _arrays(edges.receiver_offsets, edges.senders)
        cpu.run_over_nodes(
            cpu.tangent_messages, lists[0], edges.n_receivers, work, *lists, *tensors, *tangents, numbers, outputs[3]
        )
        return results

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        """The result is linear in psi, Y, R and their tangents pair by pair; each term is one of the two functions above."""
        states, harmonics, radial, upstream, t_states, t_harmonics, t_radial = ctx.saved_tensors
        w_states, w_harmonics, w_radial, w_upstream = weights
        edges, table = ctx.edges, ctx.table

        def gradients(a: Tensor, b: Tensor, c: Tensor, g: Tensor) -> list[Tensor]:
            return list(_Gradients.apply(a, b, c, g, edges, table))

        def messages(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            result: Tensor = _Messages.apply(a, b, c, edges, table)
            return result

        # f = S(psi, Y', R, G) + ... is the sum over all ways of giving one argument its tangent and another its weight.
        plain, tangent, weight = (
            (states, harmonics, radial), (t_states, t_harmonics, t_radial), (w_states, w_harmonics, w_radial),
        )  # fmt: skip
        d_plain = [torch.zeros_like(t) for t in plain]
        d_tangent = [torch.zeros_like(t) for t in plain]
        d_upstream = torch.zeros_like(upstream)
        for i in range(3):
            for j in range(3):
                if i == j:
                    continue
                k = 3 - i - j
                arguments = list(plain)
                arguments[i], arguments[j] = tangent[i], weight[j]
                slopes = gradients(*arguments, upstream)
                d_tangent[i] = d_tangent[i] + slopes[i]
                d_plain[k] = d_plain[k] + slopes[k]
                d_upstream = d_upstream + messages(*arguments)
            arguments = list(plain)
            arguments[i] = tangent[i]
            slopes = gradients(*arguments, w_upstream)
            d_tangent[i] = d_tangent[i] + slopes[i]
            for k in range(3):
                if k != i:
                    d_plain[k] = d_plain[k] + slopes[k]
        return (*d_plain, d_upstream, *d_tangent, None, None)


class _Product(Function):
    """The node product."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, table: ProductTable) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.table = table
        product = first.new_empty(first.shape[0], table.n_output, first.shape[2])
        arrays = _arrays(first, second)
        _run_product(cpu.products, table, arrays[0], *arrays, _node_table(table, arrays[0].dtype), product.numpy())
        return product

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*_ProductGradients.apply(*ctx.saved_tensors, upstream, ctx.table), None)


class _ProductGradients(Function):
    """Gradients of the node product with respect to its factors."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, upstream: Tensor, table: ProductTable) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(first, second, upstream)
        ctx.table = table
        results = _empty_like(first, second)
        arrays = _arrays(first, second, upstream)
        numbers = _node_table(table, arrays[0].dtype)
        _run_product(cpu.product_gradients, table, arrays[0], *arrays, numbers, *_arrays(*results))
        return results

    @staticmethod
    def backward(ctx: Any, t_first: Tensor, t_second: Tensor) -> tuple[Tensor | None, ...]:
        first, second, upstream = ctx.saved_tensors
        d_first, _ = _ProductGradients.apply(first, t_second, upstream, ctx.table)
        _, d_second = _ProductGradients.apply(t_first, second, upstream, ctx.table)
        return d_first, d_second, _ProductTangents.apply(first, second, t_first, t_second, ctx.table), None


class _ProductTangents(Function):
    """Change of the node product along a tangent of its factors."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, t_first: Tensor, t_second: Tensor, table: ProductTable
    ) -> Tensor:
        ctx.save_for_backward(first, second, t_first, t_second)
        ctx.table = table
        product = first.new_empty(first.shape[0], table.n_output, first.shape[2])
        arrays = _arrays(first, second, t_first, t_second)
        numbers = _node_table(table, arrays[0].dtype)
        _run_product(cpu.product_tangents, table, arrays[0], *arrays, numbers, product.numpy())
        return product

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        first, second, t_first, t_second = ctx.saved_tensors
        d_t_first, d_second = _ProductGradients.apply(t_first, second, upstream, ctx.table)
        d_first, d_t_second = _ProductGradients.apply(first, t_second, upstream, ctx.table)
        return d_first, d_second, d_t_first, d_t_second, None


def _run_product(kernel: Any, table: ProductTable, first: Any, *arguments: Any) -> None:
    work = 2.0 * first.shape[0] * len(table.entry_value) * first.shape[2]
    cpu.run_over_nodes(kernel, None, first.shape[0], work, *arguments)


def _empty_like(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors)
