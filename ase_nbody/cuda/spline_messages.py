"""The contraction with radial weights made of splines, on a GPU, for one derivative: energies and forces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.cuda import backend as cuda
from ase_nbody.edges import EdgeList


@dataclass(frozen=True)
class SplineWeights:
    """Radial weights R of each edge, path and channel: sum_q B_q(place) coefficients[row + q].

    Attributes:
        places: of the edges in their intervals, from 0 to 1, (E,).
        rows: first row of coefficients of each edge, (E,) int64.
        coefficients: (rows, paths C).
        degree: of the B-splines, see `splines.basis_polynomials`.
    """

    places: Tensor
    rows: Tensor
    coefficients: Tensor
    degree: int


def spline_contract(
    states: Tensor, harmonics: Tensor, weights: SplineWeights, edges: EdgeList, table: ProductTable
) -> Tensor:
    """As `operations.contract`, where the cuda back end runs; by states, harmonics and places differentiable once.

    Args:
        states: states of the children, (n_senders, table.n_first, C).
        harmonics: harmonics of the relative vectors, (E, table.n_second).
        weights: of the edges.
        edges: who is whose child.
        table: the product of states and harmonics.

    Returns:
        (n_receivers, table.n_output, C).
    """
    messages: Tensor = _SplineMessages.apply(  # type: ignore[no-untyped-call]
        states, harmonics, weights.places, weights.rows, weights.coefficients, weights.degree, edges, table
    )
    return messages


class _SplineMessages(Function):
    """Messages and their first derivatives."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        harmonics: Tensor,
        places: Tensor,
        rows: Tensor,
        coefficients: Tensor,
        degree: int,
        edges: EdgeList,
        table: ProductTable,
    ) -> Tensor:
        tensors = [t.contiguous() for t in (states, harmonics, places, rows, coefficients)]
        ctx.save_for_backward(*tensors)
        ctx.degree, ctx.edges, ctx.table = degree, edges, table
        return cuda.spline_messages(tensors[:2], tensors[2:], degree, edges, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        tensors = ctx.saved_tensors
        slopes = cuda.spline_gradients(
            tensors[:2], tensors[2:], upstream.contiguous(), ctx.degree, ctx.edges, ctx.table
        )
        return *slopes, None, None, None, None, None
