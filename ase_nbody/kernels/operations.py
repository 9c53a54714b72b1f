"""The channel-wise contraction and the node product, differentiable to any order, on the back end of the device.

    S(psi, Y, R, G) = sum over edges and entries of c psi[sender, a, k] Y[edge, b] R[edge, p, k] G[receiver, o, k]

`contract` is dS/dG. S is linear in each argument, so its derivatives of any order are again dS/dpsi, dS/dY, dS/dR and
dS/dG with other arguments. Three autograd functions close the set: the messages, their three gradients at once, and
the change of both along a tangent; the backward of the last is written with the first two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ase_nbody.algebra.tables import ProductTable, entries
from ase_nbody.compiler import cpu
from ase_nbody.cuda import backend as cuda
from ase_nbody.edges import EdgeList
from ase_nbody.kernels import cpu_code, product_code, reference
from ase_nbody.kernels.backends import Backend, chosen, of_device


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
        backend: "reference" (torch, any device), "cpu" or "cuda" (compiled kernels; cuda needs Triton, which comes with
            torch for CUDA), or "auto": the compiled kernels of the tensors' device where there are some.

    Returns:
        (n_receivers, table.n_output, C).

    Raises:
        ValueError: the shapes do not fit the table, the dtypes differ, or the back end does not run on the tensors'
            device.
    """
    expected = [(edges.n_senders, table.n_first), (edges.n_edges, table.n_second), (edges.n_edges, table.n_paths)]
    given = [tuple(t.shape[:2]) for t in (states, harmonics, radial)]
    if given != expected or states.shape[2] != radial.shape[2]:
        raise ValueError(f"states, harmonics and radial have shapes {given}, the edges and the table need {expected}")
    _check_dtypes(states, harmonics, radial)
    if chosen(backend, states) == "reference":
        return reference.contract(states, harmonics, radial, edges, table)
    return _messages((states, harmonics, radial), edges, table)


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
        ValueError: the shapes do not fit the table, the dtypes differ, or the back end does not run on the tensors'
            device.
    """
    if first.shape[1] != table.n_first or second.shape[1] != table.n_second or first.shape[::2] != second.shape[::2]:
        raise ValueError(
            f"the factors have shapes {tuple(first.shape)} and {tuple(second.shape)}, the table needs "
            f"{table.n_first} and {table.n_second} components and equal nodes and channels"
        )
    _check_dtypes(first, second)
    if chosen(backend, first) == "reference":
        return reference.node_product(first, second, table)
    product: Tensor = _Product.apply(first, second, table)  # type: ignore[no-untyped-call]
    return product


def _check_dtypes(*tensors: Tensor) -> None:
    if len({t.dtype for t in tensors}) > 1:
        raise ValueError(f"the arguments have dtypes {', '.join(str(t.dtype) for t in tensors)}; they must be equal")


def _contiguous(*tensors: Tensor) -> list[Tensor]:
    return [t.contiguous() for t in tensors]


def _edge_arguments(prefix: str, states: Tensor, harmonics: Tensor, radial: Tensor) -> dict[str, Tensor]:
    names = (f"{prefix}states", f"{prefix}harmonics", f"{prefix}radial")
    return dict(zip(names, _contiguous(states, harmonics, radial), strict=True))


def _edge_work(edges: EdgeList, table: ProductTable, channels: int) -> float:
    return float(edges.n_edges) * len(entries(table)) * channels


class _Messages(Function):
    """dS/dG."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, harmonics: Tensor, radial: Tensor, edges: EdgeList, table: ProductTable
    ) -> Tensor:
        ctx.save_for_backward(states, harmonics, radial)
        ctx.edges, ctx.table = edges, table
        if of_device(states) == "cuda":
            return cuda.messages(_contiguous(states, harmonics, radial), edges, table)
        if edges.n_edges == 0:  # atoms alone need no compiled kernel
            return states.new_zeros(edges.n_receivers, table.n_output, states.shape[2])
        summed = states.new_empty(edges.n_receivers, table.n_output, states.shape[2])
        nodes, lists = cpu.receivers(edges)
        arguments = {**lists, **_edge_arguments("", states, harmonics, radial), "summed": summed}
        work = _edge_work(edges, table, states.shape[2])
        cpu.run(cpu_code.messages, table, nodes, work, states, arguments)
        return summed

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return (*_gradients((*ctx.saved_tensors, upstream), ctx.edges, ctx.table), None, None)


class _Gradients(Function):
    """dS/dpsi, dS/dY and dS/dR."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        harmonics: Tensor,
        radial: Tensor,
        upstream: Tensor,
        edges: EdgeList,
        table: ProductTable,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(states, harmonics, radial, upstream)
        ctx.edges, ctx.table = edges, table
        if of_device(states) == "cuda":
            return cuda.gradients(_contiguous(states, harmonics, radial), upstream.contiguous(), edges, table)
        d_states, d_harmonics, d_radial = results = _empty_like(states, harmonics, radial)
        nodes, lists = cpu.senders(edges)
        arguments = {**lists, **_edge_arguments("", states, harmonics, radial)}
        arguments |= {"upstream": upstream.contiguous(), **_edge_arguments("d_", *results)}
        work = 2 * _edge_work(edges, table, states.shape[2])
        cpu.run(cpu_code.gradients, table, nodes, work, states, arguments)
        return d_states, d_harmonics, d_radial

    @staticmethod
    def backward(ctx: Any, *tangents: Tensor) -> tuple[Tensor | None, ...]:
        results = _Tangents.apply(*ctx.saved_tensors, *tangents, ctx.edges, ctx.table)  # type: ignore[no-untyped-call]
        return (*results, None, None)


class _Tangents(Function):
    """Tangents of dS/dpsi, dS/dY, dS/dR and dS/dG for tangents of psi, Y and R at fixed G."""

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
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(states, harmonics, radial, upstream, t_states, t_harmonics, t_radial)
        ctx.edges, ctx.table = edges, table
        results = _empty_like(states, harmonics, radial, upstream)
        plain = _contiguous(states, harmonics, radial)
        tangents = _contiguous(t_states, t_harmonics, t_radial)
        if of_device(states) == "cuda":
            d_plain = cuda.tangent_gradients(plain, upstream.contiguous(), tangents, edges, table)
            return *d_plain, cuda.tangent_messages(plain, tangents, edges, table)
        work = 3 * _edge_work(edges, table, states.shape[2])
        both = {**_edge_arguments("", *plain), **_edge_arguments("t_", *tangents)}
        d_both = {"upstream": upstream.contiguous(), **_edge_arguments("d_", *results[:3])}
        nodes, lists = cpu.senders(edges)
        cpu.run(cpu_code.tangent_gradients, table, nodes, work, states, {**lists, **both, **d_both})
        nodes, lists = cpu.receivers(edges)
        cpu.run(cpu_code.tangent_messages, table, nodes, work, states, {**lists, **both, "summed": results[3]})
        return tuple(results)

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        """Every term of the result is S with one argument's tangent and another's weight, or the weight of G."""
        plain, upstream, tangents = ctx.saved_tensors[:3], ctx.saved_tensors[3], ctx.saved_tensors[4:]
        d_plain, d_tangents = ([torch.zeros_like(t) for t in plain] for _ in range(2))
        d_upstream = torch.zeros_like(upstream)
        for i, j in ((i, j) for i in range(3) for j in range(4) if j != i):
            arguments = [*plain, upstream]
            arguments[i], arguments[j] = tangents[i], weights[j]
            slopes = _gradients(arguments, ctx.edges, ctx.table)
            d_tangents[i] = d_tangents[i] + slopes[i]
            for k in {0, 1, 2} - {i, j}:
                d_plain[k] = d_plain[k] + slopes[k]
            if j < 3:
                d_upstream = d_upstream + _messages(arguments[:3], ctx.edges, ctx.table)
        return (*d_plain, d_upstream, *d_tangents, None, None)


def _messages(arguments: Sequence[Tensor], edges: EdgeList, table: ProductTable) -> Tensor:
    messages: Tensor = _Messages.apply(*arguments, edges, table)  # type: ignore[no-untyped-call]
    return messages


def _gradients(arguments: Sequence[Tensor], edges: EdgeList, table: ProductTable) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = _Gradients.apply(*arguments, edges, table)  # type: ignore[no-untyped-call]
    return gradients


class _Product(Function):
    """The node product."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor, table: ProductTable) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.table = table
        if of_device(first) == "cuda":
            return cuda.products(_contiguous(first, second), table)
        product = first.new_empty(first.shape[0], table.n_output, first.shape[2])
        _run_product(product_code.products, table, first=first, second=second, product=product)
        return product

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        first, second = ctx.saved_tensors
        return (*_product_gradients(first, second, upstream, ctx.table), None)


class _ProductGradients(Function):
    """Gradients of the node product with respect to its factors."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, upstream: Tensor, table: ProductTable
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(first, second, upstream)
        ctx.table = table
        if of_device(first) == "cuda":
            return cuda.product_gradients(_contiguous(first, second), upstream.contiguous(), table)
        d_first, d_second = _empty_like(first, second)
        arguments = {"first": first, "second": second, "upstream": upstream, "d_first": d_first, "d_second": d_second}
        _run_product(product_code.product_gradients, table, **arguments)
        return d_first, d_second

    @staticmethod
    def backward(ctx: Any, t_first: Tensor, t_second: Tensor) -> tuple[Tensor | None, ...]:
        first, second, upstream = ctx.saved_tensors
        d_first, _ = _product_gradients(first, t_second, upstream, ctx.table)
        _, d_second = _product_gradients(t_first, second, upstream, ctx.table)
        d_upstream = _ProductTangents.apply(first, second, t_first, t_second, ctx.table)  # type: ignore[no-untyped-call]
        return d_first, d_second, d_upstream, None


class _ProductTangents(Function):
    """Tangents of the node product for tangents of its factors."""

    @staticmethod
    def forward(
        ctx: Any, first: Tensor, second: Tensor, t_first: Tensor, t_second: Tensor, table: ProductTable
    ) -> Tensor:
        ctx.save_for_backward(first, second, t_first, t_second)
        ctx.table = table
        if of_device(first) == "cuda":
            return cuda.product_tangents(_contiguous(first, second), _contiguous(t_first, t_second), table)
        product = first.new_empty(first.shape[0], table.n_output, first.shape[2])
        arguments = {"first": first, "second": second, "t_first": t_first, "t_second": t_second, "product": product}
        _run_product(product_code.product_tangents, table, **arguments)
        return product

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        first, second, t_first, t_second = ctx.saved_tensors
        d_t_first, d_second = _product_gradients(t_first, second, upstream, ctx.table)
        d_first, d_t_second = _product_gradients(first, t_second, upstream, ctx.table)
        return d_first, d_second, d_t_first, d_t_second, None


def _product_gradients(first: Tensor, second: Tensor, upstream: Tensor, table: ProductTable) -> tuple[Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor] = _ProductGradients.apply(first, second, upstream, table)  # type: ignore[no-untyped-call]
    return gradients


def _run_product(code: cpu.Code, table: ProductTable, **arguments: Tensor) -> None:
    contiguous = {name: tensor.contiguous() for name, tensor in arguments.items()}
    nodes, _, channels = contiguous["first"].shape
    work = 2.0 * nodes * len(entries(table)) * channels
    cpu.run(code, table, cpu.Nodes(0, nodes), work, contiguous["first"], contiguous)


def _empty_like(*tensors: Tensor) -> list[Tensor]:
    return [torch.empty_like(t, memory_format=torch.contiguous_format) for t in tensors]
