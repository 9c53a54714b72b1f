"""Splines, matrix products and programs: what the compiled evaluation is built of."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from ase.build import molecule
from nbody_networks import potential, rattled
from test_compiled_evaluation import TOLERANCE, graph_of

from ase_nbody.algebra.tables import entries
from ase_nbody.architectures import compiled as compiled_weights
from ase_nbody.compiler.arrays import number_array
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.matmul_code import matmul
from ase_nbody.compiler.phases import BLOCK, Module
from ase_nbody.compiler.programs import SHARES_PER_THREAD, Program, shares_of
from ase_nbody.compiler.signature import WRITE, Signature, numbers
from ase_nbody.math.splines import Grid, basis_polynomials, evaluate, fitted_grid, interpolate
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import predict
from ase_nbody.timings import Timings

DTYPES = {32: torch.float32, 64: torch.float64}


def waves(distances: np.ndarray) -> np.ndarray:
    return np.stack([np.sin(3 * distances + n) for n in range(4)], axis=1)


@pytest.mark.parametrize("degree", [1, 3, 5, 7])
def test_splines_add_up_to_one_and_join_smoothly(degree: int) -> None:
    polynomials = basis_polynomials(degree)
    np.testing.assert_allclose(polynomials.sum(axis=0), [1.0] + [0.0] * degree, atol=1e-12)
    for order in range(degree):  # slopes at the end of one interval and the start of the next
        powers = np.arange(degree + 1)
        factors = np.prod([powers - n for n in range(order)], axis=0) if order else np.ones(degree + 1)
        ends, starts = polynomials @ factors, polynomials[:, order] * factors[order]
        np.testing.assert_allclose(ends[1:], starts[:-1], atol=1e-10)


@pytest.mark.parametrize(("degree", "order"), [(3, 4), (5, 6)])
def test_errors_of_splines_fall_with_the_width_to_the_degree_plus_one(degree: int, order: int) -> None:
    distances = np.linspace(0, 5, 777, endpoint=False)
    errors = []
    for intervals in (32, 64):
        grid = Grid(5.0, intervals, degree)
        coefficients = interpolate([waves], grid)
        assert coefficients.shape == (grid.rows, 4)
        errors.append(np.abs(evaluate(coefficients, grid, distances) - waves(distances)).max())
    assert 0.7 * 2**order < errors[0] / errors[1] < 1.4 * 2**order


def test_the_coarsest_grid_that_keeps_the_tolerance_is_taken() -> None:
    fine = fitted_grid([[waves]], 5.0, degree=3, tolerance=1e-6)
    coarse = fitted_grid([[waves]], 5.0, degree=3, tolerance=1e-4)
    assert (
        coarse.intervals
        < fine.intervals
        < fitted_grid([[waves], [lambda r: waves(5 * r)]], 5.0, degree=3, tolerance=1e-6).intervals
    )
    with pytest.raises(ValueError, match=r"not smooth enough for tables of 1e-06"):
        fitted_grid([[lambda r: np.abs(r[:, None] - 2.503)]], 5.0, degree=3, tolerance=1e-6)


def steep(distances: np.ndarray) -> np.ndarray:
    """Falls within 0.3 angstrom, as Agnesi's function of two light atoms, and changes little beyond."""
    return (1 / (1 + np.abs(distances / 0.3) ** 4.58))[:, None]


def test_short_intervals_at_short_distances_take_few_rows() -> None:
    equal = fitted_grid([[steep]], 6.0, degree=5, tolerance=1e-7)
    grid = fitted_grid([[steep]], 6.0, degree=5, tolerance=1e-7, power=2)
    assert 3 * grid.intervals <= equal.intervals
    distances = np.linspace(0, 6, 999, endpoint=False)
    errors = evaluate(interpolate([steep], grid), grid, distances) - steep(distances)
    assert np.abs(errors).max() < 2e-7
    np.testing.assert_allclose(grid.distances(grid.places(distances)), distances, rtol=0, atol=1e-12)
    halves = fitted_grid([[steep] * 2], 6.0, degree=5, tolerance=1e-7, breaks=[1.5], power=2)
    assert halves.breaks == (halves.intervals // 2,)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
@pytest.mark.parametrize(("inner", "columns", "channels"), [(64, 64, 64), (21, 192, 64), (7, 12, 4), (3, 5, 5)])
@pytest.mark.parametrize("accumulate", [True, False])
def test_matrix_products(
    bits: int, vector_bytes: int, inner: int, columns: int, channels: int, accumulate: bool
) -> None:
    writer = matmul("kernel", KernelSettings(bits, channels, True, vector_bytes), inner, columns, accumulate=accumulate)
    kernel = compiled(writer.text(), ["kernel"], 3)["kernel"]
    generator = torch.Generator().manual_seed(0)
    left, right, start = (
        torch.randn(shape, generator=generator, dtype=DTYPES[bits])
        for shape in ((17, inner), (inner, columns), (17, columns))
    )
    for begin, end in ((0, 17), (3, 3), (5, 6), (2, 13)):
        out = start.clone()
        kernel(begin, end, left.data_ptr(), right.data_ptr(), out.data_ptr())
        expected = start.clone()
        product = left[begin:end] @ right
        expected[begin:end] = expected[begin:end] + product if accumulate else product
        torch.testing.assert_close(
            out, expected, rtol=1e-5 if bits == 32 else 1e-12, atol=1e-5 if bits == 32 else 1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_machines_with_narrower_vectors_get_the_same_numbers(
    vector_bytes: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_weights, "vector_bytes", lambda: vector_bytes)
    found = potential(dtype, "medium", channels=16)
    graph = graph_of(rattled(molecule("CH3CH2OH")), found)
    fast, slow = predict(found, graph), predict(found, graph, differentiable=True)
    torch.testing.assert_close(fast.forces, slow.forces.detach(), rtol=0, atol=TOLERANCE[dtype])


def doubling() -> Program:
    """One phase, out = 2 in, and what it calls."""
    arrays = [number_array("rows", "nodes", 4, "graph"), number_array("out", "nodes", 4, "result")]
    module = Module(KernelSettings(64, 4, True), arrays)

    def write(name: str) -> Builder:
        signature = Signature(numbers("rows", "nodes", 4), numbers("out", "nodes", 4, WRITE))
        w = Builder(name, module.settings, signature)
        with w.loop(w.begin, w.end) as n:
            row, out = w.row("rows", n), w.row("out", n)
            with w.channels() as k:
                w.store(w.multiply(w.load(w.offset(row, k)), w.vector(2.0)), w.offset(out, k))
        return w

    with module.phase("double") as w:
        function = module.function("twice", 0, write)
        w.call(function, 0, w.count, rows=w.block_of("rows"), out=w.block_of("out"))
    return Program(module)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("nodes", [0, 1, BLOCK, BLOCK + 1, 500])
def test_phases_reach_every_node_once_in_any_number_of_shares(nodes: int, threads: int) -> None:
    program = doubling()
    rows = torch.arange(4.0 * nodes, dtype=torch.float64).view(nodes, 4)
    for bounds in ([0, nodes], [0, nodes // 3, nodes // 2, nodes], np.linspace(0, nodes, 40).astype(int)):
        out = torch.full((nodes + 1, 4), -1.0, dtype=torch.float64)
        addresses = program.addresses({"rows": rows, "out": out})
        program.run(addresses, {"double": np.array(bounds, dtype=np.int64)}, threads, Timings())
        assert torch.equal(out[:nodes], 2 * rows)
        assert bool((out[nodes] == -1).all())


def test_phases_count_their_multiplications_and_arrays() -> None:
    work = doubling().phases["double"]
    assert (work.per_node, work.per_edge) == (4.0, 0.0)
    assert work.arrays == {"rows", "out"}


def test_networks_count_the_work_of_a_graph() -> None:
    found = potential(torch.float32, channels=8)
    small, large = (
        neighbour_graph(molecule("CH3CH2OH") if n == 1 else molecule("C6H6"), found.cutoff, dtype=torch.float32)
        for n in (1, 2)
    )
    one, other = found.network.work(small), found.network.work(large)
    assert one is not None and other is not None and list(one) == list(other)
    paths = found.network.gates[1].aggregation.table.n_paths
    for phase in one:
        assert 0 < one[phase].multiply_adds < other[phase].multiply_adds or phase == "forces"
        assert 0 < one[phase].bytes < other[phase].bytes
    # spline weights and their slopes alone: 4 rows each for every path and channel of an edge
    assert one["level_2_senders"].multiply_adds > small.edges.n_edges * 8 * paths * 8


def test_arrays_take_the_memory_of_those_that_no_phase_between_needs() -> None:
    program = compiled_weights.load(potential(torch.float32, "small", "nequip").network, frozenset({0})).program
    lengths = program.arrays.sizes({"nodes": 1}, "workspace")
    needed = [does.arrays for does in program.phases.values()]
    spans = {}
    for name in program.hosts:
        uses = [number for number, arrays in enumerate(needed) if name in arrays]
        spans[name] = set(range(uses[0], uses[-1] + 1))
    for one, other in combinations(spans, 2):
        assert program.hosts[one] != program.hosts[other] or not spans[one] & spans[other], (one, other)
    assert all(lengths[name] <= lengths[host] for name, host in program.hosts.items())
    assert all(program.hosts[host] == host for host in program.hosts.values())
    assert sum(lengths[host] for host in set(program.hosts.values())) < 0.8 * sum(map(lengths.get, program.hosts))


def test_work_is_shared_by_edges_and_nodes() -> None:
    offsets = torch.tensor([0] * 300 + [6000] * 101)  # all edges at one node in the middle
    assert shares_of(offsets, 1).tolist() == [0, 400]
    shares = shares_of(offsets, 12).tolist()
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 400
    assert max(end - begin for begin, end in pairwise(shares)) < 150


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_threads_get_shares_where_there_is_enough_to_do(dtype: torch.dtype) -> None:
    found = potential(dtype, channels=8)
    graph = neighbour_graph(molecule("CH4"), found.cutoff, dtype=dtype)
    found.network.gradients(graph, Timings())
    program = found.network._forces._loaded[False].program
    many = torch.arange(100_001) * 12
    for offsets, threads, shares in (
        (graph.edges.receiver_offsets, 4, 1),
        (many, 1, 1),
        (many, 4, 4 * SHARES_PER_THREAD),
    ):
        bounds = program.shares(offsets, threads)
        assert list(bounds) == list(program.phases)
        assert len(bounds["level_1_forward"]) - 1 == shares
        assert all(b[0] == 0 and b[-1] == len(offsets) - 1 for b in bounds.values())


def test_the_multiplications_of_messages_are_counted() -> None:
    """An edge needs one for each channel and coupling at least; bench's floor is made of these numbers."""
    found = potential(torch.float32)
    with torch.no_grad():
        phases = compiled_weights.load(found.network, frozenset({0, 1, 2})).program.phases
    table = found.network.gates[1].aggregation.table
    least = len({(entry.path, entry.a, entry.o) for entry in entries(table)}) * found.network.settings.channels
    assert least < phases["level_2_forward_and_backward"].per_edge < 10 * least
