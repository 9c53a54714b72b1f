"""The cpu back end's kernels for gradients of tangents: what one reverse pass through values and tangents needs.

A scalar depends on a state x and on its tangent t_x. Its gradient by t_x, the cotangent, does not depend on tangents;
its gradient by x is the tangent of the cotangent.
"""

from __future__ import annotations

from ase_nbody.algebra.tables import ProductTable
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.signature import ADD, WRITE, Signature
from ase_nbody.compiler.values import Scalar, Vector
from ase_nbody.kernels.cpu_code import (
    EdgeTable,
    Sums,
    add_to_rows,
    clear_rows,
    gradients,
    load_components,
    load_some,
    messages,
    pull_back,
    radial_row,
    radial_slot,
    tangent_messages,
    write_couplings,
)
from ase_nbody.kernels.operands import Operands
from ase_nbody.kernels.product_code import (
    factor_arguments,
    factor_rows,
    load_factors,
    no_sums,
    pulled_pairs,
    write_product_gradients,
)


def shared_messages(table: ProductTable, settings: KernelSettings) -> Builder:
    """`messages` where several edges have one row of radial weights."""
    return messages(table, settings, shared=True)


def shared_tangent_messages(table: ProductTable, settings: KernelSettings) -> Builder:
    """`tangent_messages` where several edges have one row of radial weights."""
    return tangent_messages(table, settings, shared=True)


def shared_gradients(table: ProductTable, settings: KernelSettings) -> Builder:
    """`gradients` where several edges have one row of radial weights, their gradients being those of edges."""
    return gradients(table, settings, shared=True)


def gradient_tangents(table: ProductTable, settings: KernelSettings) -> Builder:
    """Tangents of dS/dpsi and dS/dR for tangents of all four arguments, for the edges of each sender, likewise."""
    edges = EdgeTable(table)
    has = Operands(table, settings, shared=True)
    given = [*has.edges(), *has.output("upstream", "receivers")]
    given += [*has.edges("t_"), *has.output("t_upstream", "receivers")]
    results = [*has.first("d_states", "senders", WRITE), *has.radial("d_radial", WRITE)]
    w = Builder("gradient_tangents", settings, Signature(has.sending(), given, results))
    slots, t_slots = (w.scratch(len(edges.terms), Scalar) for _ in range(2))
    with w.loop(w.begin, w.end) as s:
        state, t_state, d_state = (w.rows(r, s) for r in ("states", "t_states", "d_states"))
        clear_rows(w, d_state)
        with w.edges("offsets", s) as i:
            e = w.integer("order", i)
            receiver = w.integer("receivers", e)
            upstream, t_upstream = (w.rows(r, receiver) for r in ("upstream", "t_upstream"))
            row, d_radial = radial_row(w, e), w.rows("d_radial", radial_slot(w, e))
            radial, t_radial = (w.rows(r, row) for r in ("radial", "t_radial"))
            write_couplings(w, edges, w.row("harmonics", e), slots)
            write_couplings(w, edges, w.row("t_harmonics", e), t_slots)
            with w.channels() as k:
                values, t_values = load_components(w, state, k), load_components(w, t_state, k)
                d_values: Sums = dict.fromkeys(range(table.n_first))
                for path, groups in enumerate(edges.groups):
                    weight, t_weight = (w.load(w.at(r, path, k)) for r in (radial, t_radial))
                    cotangents, t_cotangents = (load_some(w, r, edges.outputs[path], k) for r in (upstream, t_upstream))
                    d_weight: Vector | None = None
                    for a, pairs in groups.items():
                        pulled = pull_back(w, slots, pairs, cotangents)
                        t_pulled = w.add(
                            pull_back(w, slots, pairs, t_cotangents), pull_back(w, t_slots, pairs, cotangents)
                        )
                        d_values[a] = w.fused(t_pulled, weight, w.fused(pulled, t_weight, d_values[a]))
                        d_weight = w.fused(t_pulled, values[a], w.fused(pulled, t_values[a], d_weight))
                    assert d_weight is not None
                    w.store(d_weight, w.at(d_radial, path, k))
                add_to_rows(w, d_state, d_values, k)
    return w


def added_product_gradients(table: ProductTable, settings: KernelSettings) -> Builder:
    """Gradients of `products` with respect to both factors, added to what is there; the two may be one array."""
    upstream = Operands(table, settings).output("upstream", "nodes")
    results = factor_arguments(table, settings, "d_", ADD)
    w = Builder("added_product_gradients", settings, Signature(factor_arguments(table, settings), upstream, results))
    write_product_gradients(w, table, add_to_rows)
    return w


def added_product_gradient_tangents(table: ProductTable, settings: KernelSettings) -> Builder:
    """Tangents of the gradients of `products` for tangents of factors and upstream gradient, added likewise."""
    has = Operands(table, settings)
    values = [*factor_arguments(table, settings), *has.output("upstream", "nodes")]
    tangents = [*factor_arguments(table, settings, "t_"), *has.output("t_upstream", "nodes")]
    results = factor_arguments(table, settings, "d_", ADD)
    w = Builder("added_product_gradient_tangents", settings, Signature(values, tangents, results))
    with w.loop(w.begin, w.end) as n:
        factors, t_factors, d_factors = (factor_rows(w, n, prefix) for prefix in ("", "t_", "d_"))
        upstreams = [w.rows(r, n) for r in ("upstream", "t_upstream")]
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            t_left, t_right = load_factors(w, t_factors, k)
            d_left, d_right = no_sums(table)
            for a, b, (pulled, t_pulled) in pulled_pairs(w, table, upstreams, k):
                d_left[a] = w.fused(t_pulled, right[b], w.fused(pulled, t_right[b], d_left[a]))
                d_right[b] = w.fused(t_pulled, left[a], w.fused(pulled, t_left[a], d_right[b]))
            add_to_rows(w, d_factors[0], d_left, k)
            add_to_rows(w, d_factors[1], d_right, k)
    return w
