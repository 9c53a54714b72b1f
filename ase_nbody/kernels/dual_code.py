"""The cpu back end's kernels for gradients of tangents: what one reverse pass through values and tangents needs.

A scalar depends on a state x and on its tangent t_x. Its gradient by t_x, the pull, does not depend on tangents; its
gradient by x, the change, is the change of the pull along them.
"""

from __future__ import annotations

from ase_nbody.kernels.cpu_code import (
    EdgeTable,
    add_to_rows,
    by_output,
    clear_rows,
    kernel_writer,
    node_rows,
    pull_back,
    write_couplings,
)
from ase_nbody.kernels.llvm_writer import Rows, Shape, Writer
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
                values, t_values = ([w.load(w.at(r, a, k)) for a in range(table.n_first)] for r in (state, t_state))
                d_values: dict[int, str | None] = dict.fromkeys(range(table.n_first))
                for path, groups in enumerate(edges.groups):
                    weight, t_weight = (w.load(w.at(r, path, k)) for r in (radial, t_radial))
                    pulls, t_pulls = _loaded(w, (upstream, t_upstream), edges.outputs[path], k)
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


def _loaded(w: Writer, rows: tuple[Rows, ...], components: tuple[int, ...], k: str) -> list[dict[int, str]]:
    return [{o: w.load(w.at(row, o, k)) for o in components} for row in rows]


def added_product_pulls(table: ProductTable, shape: Shape) -> str:
    """Gradients of `products` with respect to both factors, added to what is there; the two may be one array."""
    w, sizes = kernel_writer(table, shape, "first second upstream d_first d_second")
    with w.loop("%begin", "%end") as n:
        first, second, upstream = node_rows(w, sizes, n, "%first", "%second", "%upstream")
        d_first, d_second, _ = node_rows(w, sizes, n, "%d_first", "%d_second", "%upstream")
        with w.channels() as k:
            left = [w.load(w.at(first, a, k)) for a in range(table.n_first)]
            right = [w.load(w.at(second, b, k)) for b in range(table.n_second)]
            d_left: dict[int, str | None] = dict.fromkeys(range(table.n_first))
            d_right: dict[int, str | None] = dict.fromkeys(range(table.n_second))
            for output, terms in by_output(table).items():
                pull = w.load(w.at(upstream, output, k))
                for _, a, b, _, value in terms:
                    scaled = w.multiply(pull, w.literal(value))
                    d_left[a] = w.fused(scaled, right[b], d_left[a])
                    d_right[b] = w.fused(scaled, left[a], d_right[b])
            add_to_rows(w, d_first, d_left, k)
            add_to_rows(w, d_second, d_right, k)
    return w.text()


def added_product_changes(table: ProductTable, shape: Shape) -> str:
    """Change of the gradients of `products` along a tangent of factors and upstream gradient, added likewise."""
    w, sizes = kernel_writer(table, shape, "first second upstream t_first t_second t_upstream d_first d_second")
    with w.loop("%begin", "%end") as n:
        first, second, upstream = node_rows(w, sizes, n, "%first", "%second", "%upstream")
        t_first, t_second, t_upstream = node_rows(w, sizes, n, "%t_first", "%t_second", "%t_upstream")
        d_first, d_second, _ = node_rows(w, sizes, n, "%d_first", "%d_second", "%upstream")
        with w.channels() as k:
            left, t_left = ([w.load(w.at(r, a, k)) for a in range(table.n_first)] for r in (first, t_first))
            right, t_right = ([w.load(w.at(r, b, k)) for b in range(table.n_second)] for r in (second, t_second))
            d_left: dict[int, str | None] = dict.fromkeys(range(table.n_first))
            d_right: dict[int, str | None] = dict.fromkeys(range(table.n_second))
            for output, terms in by_output(table).items():
                pull, change = (w.load(w.at(r, output, k)) for r in (upstream, t_upstream))
                for _, a, b, _, value in terms:
                    pulled, changed = (w.multiply(v, w.literal(value)) for v in (pull, change))
                    d_left[a] = w.fused(changed, right[b], w.fused(pulled, t_right[b], d_left[a]))
                    d_right[b] = w.fused(changed, left[a], w.fused(pulled, t_left[a], d_right[b]))
            add_to_rows(w, d_first, d_left, k)
            add_to_rows(w, d_second, d_right, k)
    return w.text()
