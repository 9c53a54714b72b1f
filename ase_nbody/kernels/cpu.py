"""The cpu back end: numba kernels over contiguous channels, split over threads by whole nodes.

Every kernel works on a range of receivers, of senders or of nodes and writes only what belongs to it, so sums have
one fixed order and no atomics: results do not depend on the number of threads. Kernels release the GIL and are run
by a thread pool of ours rather than by numba's parallel back ends, because numba's portable one (workqueue) ends the
process when two Python threads call it, and its OpenMP one does not survive a fork.

In the contraction the coefficients of an edge are first summed over the harmonics, coupling[a, o] = sum_b c[a, b, o] Y[b], so
that the loops over channels run once per coupling.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

_jit = numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract", "nsz", "arcp"}, error_model="numpy")
_SMALLEST_SHARE = 200_000  # multiply-adds per thread below which a second thread costs more than it gives

Real = NDArray[Any]


@_jit
def couple(entry_coupling, entry_second, entry_value, harmonics, coupling):  # type: ignore[no-untyped-def]
    """Sum the entries of one edge over its harmonics into its couplings."""
    for t in range(coupling.shape[0]):
        coupling[t] = 0
    for q in range(entry_value.shape[0]):
        coupling[entry_coupling[q]] += entry_value[q] * harmonics[entry_second[q]]


@_jit
def uncouple(entry_coupling, entry_second, entry_value, coupling, harmonics):  # type: ignore[no-untyped-def]
    """Transpose of `couple`: from couplings to harmonics."""
    for b in range(harmonics.shape[0]):
        harmonics[b] = 0
    for q in range(entry_value.shape[0]):
        harmonics[entry_second[q]] += entry_value[q] * coupling[entry_coupling[q]]


@_jit
def messages(begin, end, offsets, senders, states, harmonics, radial, table, summed):  # type: ignore[no-untyped-def]
    """dS/dG for receivers begin to end: messages summed over the children of each."""
    entry_coupling, entry_second, entry_value, coupling_output, group_path, group_first, group_start = table
    channels = states.shape[2]
    coupling = np.empty(coupling_output.shape[0], states.dtype)
    weighted = np.empty(channels, states.dtype)
    for n in range(begin, end):
        summed[n] = 0
        for e in range(offsets[n], offsets[n + 1]):
            s = np.uint64(senders[e])
            couple(entry_coupling, entry_second, entry_value, harmonics[e], coupling)
            for g in range(group_path.shape[0]):
                p, a = group_path[g], group_first[g]
                for k in range(channels):
                    weighted[k] = states[s, a, k] * radial[e, p, k]
                for t in range(group_start[g], group_start[g + np.uint32(1)]):
                    o, c = coupling_output[t], coupling[t]
                    for k in range(channels):
                        summed[n, o, k] += c * weighted[k]


@_jit
def gradients(  # type: ignore[no-untyped-def]
    begin, end, offsets, order, receivers, states, harmonics, radial, upstream, table, d_states, d_harmonics, d_radial
):
    """dS/dpsi, dS/dY and dS/dR for the edges of senders begin to end."""
    entry_coupling, entry_second, entry_value, coupling_output, group_path, group_first, group_start = table
    channels = states.shape[2]
    coupling = np.empty(coupling_output.shape[0], states.dtype)
    d_coupling = np.empty(coupling_output.shape[0], states.dtype)
    weighted = np.empty(channels, states.dtype)
    pulled = np.empty(channels, states.dtype)
    for s in range(begin, end):
        d_states[s] = 0
        for i in range(offsets[s], offsets[s + 1]):
            e = np.uint64(order[i])
            n = np.uint64(receivers[e])
            couple(entry_coupling, entry_second, entry_value, harmonics[e], coupling)
            d_radial[e] = 0
            for g in range(group_path.shape[0]):
                p, a = group_path[g], group_first[g]
                for k in range(channels):
                    weighted[k] = states[s, a, k] * radial[e, p, k]
                    pulled[k] = 0
                for t in range(group_start[g], group_start[g + np.uint32(1)]):
                    o, c = coupling_output[t], coupling[t]
                    total = weighted[0] * 0
                    for k in range(channels):
                        pulled[k] += c * upstream[n, o, k]
                        total += weighted[k] * upstream[n, o, k]
                    d_coupling[t] = total
                for k in range(channels):
                    d_states[s, a, k] += pulled[k] * radial[e, p, k]
                    d_radial[e, p, k] += pulled[k] * states[s, a, k]
            uncouple(entry_coupling, entry_second, entry_value, d_coupling, d_harmonics[e])


@_jit
def tangent_messages(  # type: ignore[no-untyped-def]
    begin, end, offsets, senders, states, harmonics, radial, t_states, t_harmonics, t_radial, table, summed
):
    """Change of `messages` along a tangent of states, harmonics and radial weights."""
    entry_coupling, entry_second, entry_value, coupling_output, group_path, group_first, group_start = table
    channels = states.shape[2]
    coupling = np.empty(coupling_output.shape[0], states.dtype)
    t_coupling = np.empty(coupling_output.shape[0], states.dtype)
    weighted = np.empty(channels, states.dtype)
    t_weighted = np.empty(channels, states.dtype)
    for n in range(begin, end):
        summed[n] = 0
        for e in range(offsets[n], offsets[n + 1]):
            s = np.uint64(senders[e])
            couple(entry_coupling, entry_second, entry_value, harmonics[e], coupling)
            couple(entry_coupling, entry_second, entry_value, t_harmonics[e], t_coupling)
            for g in range(group_path.shape[0]):
                p, a = group_path[g], group_first[g]
                for k in range(channels):
                    weighted[k] = states[s, a, k] * radial[e, p, k]
                    t_weighted[k] = t_states[s, a, k] * radial[e, p, k] + states[s, a, k] * t_radial[e, p, k]
                for t in range(group_start[g], group_start[g + np.uint32(1)]):
                    o, c, dc = coupling_output[t], coupling[t], t_coupling[t]
                    for k in range(channels):
                        summed[n, o, k] += c * t_weighted[k] + dc * weighted[k]


@_jit
def tangent_gradients(  # type: ignore[no-untyped-def]
    begin, end, offsets, order, receivers, states, harmonics, radial, upstream, t_states, t_harmonics, t_radial, table,
    d_states, d_harmonics, d_radial,
):
    """Change of `gradients` along a tangent of states, harmonics and radial weights."""
    entry_coupling, entry_second, entry_value, coupling_output, group_path, group_first, group_start = table
    channels = states.shape[2]
    coupling = np.empty(coupling_output.shape[0], states.dtype)
    t_coupling = np.empty(coupling_output.shape[0], states.dtype)
    d_coupling = np.empty(coupling_output.shape[0], states.dtype)
    t_weighted = np.empty(channels, states.dtype)
    pulled = np.empty(channels, states.dtype)
    t_pulled = np.empty(channels, states.dtype)
    for s in range(begin, end):
        d_states[s] = 0
        for i in range(offsets[s], offsets[s + 1]):
            e = np.uint64(order[i])
            n = np.uint64(receivers[e])
            couple(entry_coupling, entry_second, entry_value, harmonics[e], coupling)
            couple(entry_coupling, entry_second, entry_value, t_harmonics[e], t_coupling)
            d_radial[e] = 0
            for g in range(group_path.shape[0]):
                p, a = group_path[g], group_first[g]
                for k in range(channels):
                    t_weighted[k] = t_states[s, a, k] * radial[e, p, k] + states[s, a, k] * t_radial[e, p, k]
                    pulled[k] = 0
                    t_pulled[k] = 0
                for t in range(group_start[g], group_start[g + np.uint32(1)]):
                    o, c, dc = coupling_output[t], coupling[t], t_coupling[t]
                    total = t_weighted[0] * 0
                    for k in range(channels):
                        pulled[k] += c * upstream[n, o, k]
                        t_pulled[k] += dc * upstream[n, o, k]
                        total += t_weighted[k] * upstream[n, o, k]
                    d_coupling[t] = total
                for k in range(channels):
                    d_states[s, a, k] += t_pulled[k] * radial[e, p, k] + pulled[k] * t_radial[e, p, k]
                    d_radial[e, p, k] += t_pulled[k] * states[s, a, k] + pulled[k] * t_states[s, a, k]
            uncouple(entry_coupling, entry_second, entry_value, d_coupling, d_harmonics[e])


@_jit
def products(begin, end, first, second, table, product):  # type: ignore[no-untyped-def]
    """Channel-wise product of nodes begin to end."""
    entry_first, entry_second, entry_output, entry_value = table
    for n in range(begin, end):
        product[n] = 0
        for q in range(entry_value.shape[0]):
            a, b, o, c = entry_first[q], entry_second[q], entry_output[q], entry_value[q]
            for k in range(first.shape[2]):
                product[n, o, k] += c * first[n, a, k] * second[n, b, k]


@_jit
def product_gradients(begin, end, first, second, upstream, table, d_first, d_second):  # type: ignore[no-untyped-def]
    """Gradients of `products` with respect to both factors."""
    entry_first, entry_second, entry_output, entry_value = table
    for n in range(begin, end):
        d_first[n] = 0
        d_second[n] = 0
        for q in range(entry_value.shape[0]):
            a, b, o, c = entry_first[q], entry_second[q], entry_output[q], entry_value[q]
            for k in range(first.shape[2]):
                pulled = c * upstream[n, o, k]
                d_first[n, a, k] += pulled * second[n, b, k]
                d_second[n, b, k] += pulled * first[n, a, k]


@_jit
def product_tangents(begin, end, first, second, t_first, t_second, table, product):  # type: ignore[no-untyped-def]
    """Change of `products` along a tangent of both factors."""
    entry_first, entry_second, entry_output, entry_value = table
    for n in range(begin, end):
        product[n] = 0
        for q in range(entry_value.shape[0]):
            a, b, o, c = entry_first[q], entry_second[q], entry_output[q], entry_value[q]
            for k in range(first.shape[2]):
                product[n, o, k] += c * (t_first[n, a, k] * second[n, b, k] + first[n, a, k] * t_second[n, b, k])


def run_over_nodes(kernel: Callable[..., None], offsets: Real | None, n_nodes: int, work: float, *arguments: Any) -> None:
    """Run a kernel over all nodes, in as many threads as torch uses where the work is worth it.

    Args:
        kernel: called as kernel(begin, end, *arguments).
        offsets: CSR offsets of the nodes' edges, so that threads get equal shares; None for equal counts of nodes.
        n_nodes: number of nodes.
        work: multiply-adds in all.
        arguments: passed to the kernel.
    """
    threads = min(torch.get_num_threads(), int(work / _SMALLEST_SHARE), n_nodes)
    if threads <= 1:
        kernel(0, n_nodes, *arguments)
        return
    if offsets is None:
        bounds = np.linspace(0, n_nodes, threads + 1).astype(np.int64)
    else:
        bounds = np.searchsorted(offsets, np.linspace(0, offsets[-1], threads + 1))
        bounds[0], bounds[-1] = 0, n_nodes
    pool = _pool(os.getpid(), threads - 1)
    others = [pool.submit(kernel, bounds[i], bounds[i + 1], *arguments) for i in range(1, threads)]
    kernel(bounds[0], bounds[1], *arguments)
    for other in others:
        other.result()


@cache
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """One pool per process: a forked child does not inherit its parent's threads."""
    return ThreadPoolExecutor(workers, thread_name_prefix=f"ase_nbody-{process}")
