"""The cpu back end's kernels for gradients of tangents: what one reverse pass through values and tangents needs.

A scalar depends on a state x and on its tangent t_x. Its gradient by t_x, the pull, does not depend on tangents; its
gradient by x, the change, is the change of the pull along them.
"""

from __future__ import annotations

from ase_nbody.kernels.cpu_code import (
    EdgeTable,
    Sums,
    add_to_rows,
    clear_rows,
    kernel_writer,
    load_components,
    load_some,
    pull_back,
    write_couplings,
)
from ase_nbody.kernels.llvm_writer import Shape
from ase_nbody.kernels.product_code import factor_rows, load_factors, no_sums, pulled_pairs, write_product_gradients
from ase_nbody.kernels.tables import ProductTable


def changes(table: ProductTable, shape: Shape) -> str:
    """Change of dS/dpsi and dS/dR along a tangent of all four arguments, for the edges of each sender."""
    edges = EdgeTable(table)
    names = "offsets order receivers states harmonics radial upstream t_states t_harmonics t_radial t_upstream"
    w, sizes = kernel_writer(table, shape, names + " d_states d_radial")
    slots, t_slots = (w.scratch(len(edges.terms), shape.scalar) for _ in range(2))
    with w.loop("%begin", "%end") as s:
        state, t_state, d_state = (w.rows(r, s, sizes.first) for r in ("%states", "%t_states", "%d_states"))
        clear_rows(w, d_state)
        with w.edges("%offsets", s) as i:
            e = w.integer("%order", i)
            receiver = w.integer("%receivers", e)
            upstream, t_upstream = (w.rows(r, receiver, sizes.output) for r in ("%upstream", "%t_upstream"))
            radial, t_radial, d_radial = (w.rows(r, e, sizes.radial) for r in ("%radial", "%t_radial", "%d_radial"))
            write_couplings(w, edges, w.scalars("%harmonics", e, table.n_second), slots)
            write_couplings(w, edges, w.scalars("%t_harmonics", e, table.n_second), t_slots)
            with w.channels() as k:
                values, t_values = load_components(w, state, k), load_components(w, t_state, k)
                d_values: Sums = dict.fromkeys(range(table.n_first))
                for path, groups in enumerate(edges.groups):
                    weight, t_weight = (w.load(w.at(r, path, k)) for r in (radial, t_radial))
                    pulls, t_pulls = (load_some(w, r, edges.outputs[path], k) for r in (upstream, t_upstream))
                    d_weight: str | None = None
                    for a, pairs in groups.items():
                        pulled = pull_back(w, slots, pairs, pulls)
                        changed = w.add(pull_back(w, slots, pairs, t_pulls), pull_back(w, t_slots, pairs, pulls))
                        d_values[a] = w.fused(changed, weight, w.fused(pulled, t_weight, d_values[a]))
                        d_weight = w.fused(changed, values[a], w.fused(pulled, t_values[a], d_weight))
                    assert d_weight is not None
                    w.store(d_weight, w.at(d_radial, path, k))
                add_to_rows(w, d_state, d_values, k)
    return w.text()


def added_product_pulls(table: ProductTable, shape: Shape) -> str:
    """Gradients of `products` with respect to both factors, added to what is there; the two may be one array."""
    w, sizes = kernel_writer(table, shape, "first second upstream d_first d_second")
    write_product_gradients(w, table, sizes, add_to_rows)
    return w.text()


def added_product_changes(table: ProductTable, shape: Shape) -> str:
    """Change of the gradients of `products` along a tangent of factors and upstream gradient, added likewise."""
    w, sizes = kernel_writer(table, shape, "first second upstream t_first t_second t_upstream d_first d_second")
    with w.loop("%begin", "%end") as n:
        factors, t_factors, d_factors = (factor_rows(w, sizes, n, prefix) for prefix in ("", "t_", "d_"))
        upstreams = [w.rows(r, n, sizes.output) for r in ("%upstream", "%t_upstream")]
        with w.channels() as k:
            left, right = load_factors(w, factors, k)
            t_left, t_right = load_factors(w, t_factors, k)
            d_left, d_right = no_sums(table)
            for a, b, (pulled, changed) in pulled_pairs(w, table, upstreams, k):
                d_left[a] = w.fused(changed, right[b], w.fused(pulled, t_right[b], d_left[a]))
                d_right[b] = w.fused(changed, left[a], w.fused(pulled, t_left[a], d_right[b]))
            add_to_rows(w, d_factors[0], d_left, k)
            add_to_rows(w, d_factors[1], d_right, k)
    return w.text()
