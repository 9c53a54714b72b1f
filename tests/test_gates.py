"""Gates: the paper's counts and equations by brute force, Proposition 1, body order, radial functions."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor
from wigner import INVERSION, REFLECTION, ROTATION, wigner

from ase_nbody.algebra import Irrep, Irreps, ProductTable, natural_irreps, parse_irreps, product_table
from ase_nbody.algebra.tables import Path, coefficients
from ase_nbody.compiler import cpu
from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.kernels import node_product
from ase_nbody.math import bessel_basis, inverse_powers, polynomial_envelope
from ase_nbody.nn.gates import LearnedAggregation, ManyBody, PairAggregation, StrictAggregation, sibling_pairs
from ase_nbody.nn.mixing import Mixing
from ase_nbody.nn.radial import EdgeFunctions, LearnedRadial, edge_functions

TOLERANCE = 1e-11  # results of order one to a hundred in float64, by two ways of summing
ROTATION_TOLERANCE = 1e-10
CUTOFF = 4.0  # angstrom
POWERS = (0, 1, 2)
MATRICES = pytest.mark.parametrize(
    "matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"]
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def even_irreps(max_degree: int) -> Irreps:
    """Irreps of SO(3), as in the paper."""
    return tuple(Irrep(degree, 1) for degree in range(max_degree + 1))


def star(n_children: int) -> EdgeList:
    """One parent and its children."""
    return edge_list(torch.arange(n_children), torch.zeros(n_children, dtype=torch.int64), n_children, 1)


def two_parents() -> EdgeList:
    """Seven children, shared in part by two parents; the parent between them has none."""
    return edge_list(torch.tensor([0, 1, 2, 3, 3, 4, 0, 6]), torch.tensor([0, 0, 0, 0, 2, 2, 2, 2]), 7, 3)


def functions(vectors: Tensor, max_degree: int = 1) -> EdgeFunctions:
    types = torch.ones(len(vectors), 1, dtype=vectors.dtype)
    return edge_functions(vectors, types, cutoff=CUTOFF, envelope_power=6, max_degree=max_degree, softening=0.0)


def representation(irreps: Irreps, multiplicities: tuple[int, ...], matrix: np.ndarray) -> Tensor:
    """Matrix (M, M) of states in blocks (2l+1, multiplicity)."""
    blocks = [
        torch.kron(wigner(str(i), matrix), torch.eye(n, dtype=torch.float64))
        for i, n in zip(irreps, multiplicities, strict=True)
    ]
    return torch.block_diag(*blocks)


def representation_of_product(table: ProductTable, matrix: np.ndarray) -> Tensor:
    return representation(table.output_irreps, table.output_multiplicities, matrix)


def of_states(irreps: Irreps, matrix: np.ndarray) -> Tensor:
    return representation(irreps, (1,) * len(irreps), matrix)


def projected(table: ProductTable, path: Path, first: Tensor, second: Tensor) -> Tensor:
    """One fragment of a tensor product (eq. 7): first (M1, C) times second (M2,) or (M2, C)."""
    dense = torch.as_tensor(coefficients(table, path))
    rows = first[path.first_start : path.first_start + dense.shape[0]]
    columns = second[path.second_start : path.second_start + dense.shape[1]]
    return torch.einsum("abo,ak,bk->ok", dense, rows, columns.reshape(len(columns), -1).expand(-1, first.shape[1]))


# --- the paper's counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 4])
def test_sizes_of_the_mixing_matrices_of_section_4_0_1(channels):
    """Three powers of states (c, c, c) times a vector: W_0 is 3c x c, W_1 9c x c and W_2 = W_L 6c x c."""
    irreps = even_irreps(2)
    gate = StrictAggregation(irreps, parse_irreps("1e"), irreps, POWERS)
    mixing = Mixing.of_product(gate.table, channels, irreps, channels, generator())
    shapes = {name: tuple(weight.shape) for name, weight in mixing.weights.items()}
    assert shapes == {"0e": (3 * channels, channels), "1e": (9 * channels, channels), "2e": (6 * channels, channels)}
    assert list(gate.parameters()) == []  # the gate learns nothing but its mixing


def test_richest_output_type_of_section_4_0_1():
    """Outputs of type (3c, 9c, 6c) for c = 2 have square mixing matrices."""
    table = StrictAggregation(even_irreps(2), parse_irreps("1e"), even_irreps(2), POWERS).table
    for irrep, rows in zip(even_irreps(2), (6, 18, 12), strict=True):
        mixing = Mixing.of_product(table, 2, (irrep,), rows, generator())
        assert mixing.weights[str(irrep)].shape == (rows, rows)


@pytest.mark.parametrize(("max_degree", "rows"), [(1, (3, 6)), (2, (3, 9, 6)), (3, (3, 9, 9, 6))])
def test_first_and_last_sizes_hold_for_other_degrees(max_degree, rows):
    """W_0, W_1 and W_L as printed; W_2 for L >= 3 by the rule of section 4.1, see test_kernels."""
    table = StrictAggregation(even_irreps(max_degree), parse_irreps("1e"), even_irreps(max_degree), POWERS).table
    assert table.output_multiplicities == rows


# --- equations 10 to 12 by brute force -------------------------------------------------------------------------------


def test_zeroth_order_gate_is_equation_10():
    irreps, children, vectors = parse_irreps("0e+1o+1e"), two_parents(), normal(8, 3, seed=1)
    states = normal(7, 7, 2)
    gate = StrictAggregation(irreps, parse_irreps("1o"), parse_irreps("0e+0o+1o+1e+2o"), POWERS)
    edges = functions(vectors)
    found = gate(states, edges, children)
    expected = torch.zeros_like(found)
    for path in gate.table.paths:
        power = POWERS[path.second]
        for e in range(children.n_edges):
            r = vectors[e].norm()
            powers_of_vector = torch.cat([r**-s * vectors[e] for s in POWERS])
            fragment = projected(gate.table, path, states[children.senders[e]], powers_of_vector) * edges.envelope[e]
            expected[children.receivers[e], list(path.outputs)] += fragment
        assert path.second_start == 3 * POWERS.index(power)
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)
    assert bool((found[1] == 0).all())


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_product_of_two_sums_is_the_double_sum_of_equation_11(power):
    """sum_ij (psi_i x r_i r_i^-s) x (psi_j x r_j r_j^-s), every pair of children, by one product of sums."""
    irreps, n_children = parse_irreps("0e+1o"), 5
    states, vectors = normal(n_children, 4, 2), normal(n_children, 3, seed=1)
    gate = StrictAggregation(irreps, parse_irreps("1o"), parse_irreps("0e+1o+1e+2e"), (power,))
    sums = gate(states, functions(vectors), star(n_children))
    factor_irreps = tuple(i for i, n in zip(gate.table.output_irreps, gate.table.output_multiplicities, strict=True))
    assert set(gate.table.output_multiplicities) == {1}
    pairs = product_table(factor_irreps, factor_irreps, parse_irreps("0e+1o+1e+2e"))
    found = node_product(sums, sums, pairs)

    alone = [gate(states[[i]], functions(vectors[[i]]), star(1))[0] for i in range(n_children)]
    expected = torch.zeros_like(found)
    for path in pairs.paths:
        for i in range(n_children):
            for j in range(n_children):
                expected[0, list(path.outputs)] += projected(pairs, path, alone[i], alone[j])
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=1e-12)


def test_pair_gate_is_equation_12():
    irreps, children, vectors = parse_irreps("0e+1o"), two_parents(), normal(8, 3, seed=1)
    states, envelope = normal(7, 4, 2), torch.rand(8, generator=generator(2), dtype=torch.float64)
    gate = PairAggregation(irreps, parse_irreps("1o"), parse_irreps("0e+1o+1e+2e"), (0, 1, 2, 3))
    found = gate(states, vectors, envelope, children)
    inner_paths = sorted(gate.inner.paths, key=lambda path: path.outputs[0])
    expected = torch.zeros_like(found)
    for path in gate.table.paths:
        inner = inner_paths[path.second]
        power = gate.powers[inner.second]
        for i in range(8):
            for j in range(8):
                if i == j or children.receivers[i] != children.receivers[j]:
                    continue
                r = vectors[j] - vectors[i]
                vector = torch.cat([r.norm() ** -s * r for s in gate.powers])
                field = projected(gate.inner, inner, states[children.senders[j]], vector)
                dense = torch.as_tensor(coefficients(gate.table, path))
                own = states[children.senders[i], path.first_start : path.first_start + dense.shape[0]]
                fragment = torch.einsum("abo,ak,bk->ok", dense, own, field) * envelope[i] * envelope[j]
                expected[children.receivers[i], list(path.outputs)] += fragment
        assert gate.powers[inner.second] == power
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=1e-12)
    assert bool((found[1] == 0).all()) and bool((found[[0, 2]].abs() > 1e-3).any())


def test_equation_12_vanishes_for_scalars_of_one_channel():
    """psi_i psi_j r_ij changes sign when i and j change places: this gate needs states with directions."""
    gate = PairAggregation(parse_irreps("0e"), parse_irreps("1o"), parse_irreps("1o"), (0, 1))
    found = gate(normal(4, 1, 2), normal(4, 3, seed=1), torch.ones(4, dtype=torch.float64), star(4))
    torch.testing.assert_close(found, torch.zeros_like(found), atol=TOLERANCE, rtol=0)


def test_gates_of_no_edges_give_zero():
    children = edge_list(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 3, 2)
    states, vectors = normal(3, 4, 2), torch.zeros(0, 3, dtype=torch.float64)
    irreps = parse_irreps("0e+1o")
    strict = StrictAggregation(irreps, parse_irreps("1o"), irreps, POWERS)(states, functions(vectors), children)
    pairs = PairAggregation(irreps, parse_irreps("1o"), irreps, POWERS)(states, vectors, vectors[:, 0], children)
    assert strict.shape[0] == pairs.shape[0] == 2
    assert not bool(strict.any()) and not bool(pairs.any())


@pytest.mark.parametrize("children", [two_parents(), star(1), star(4)], ids=["shared", "one child", "four"])
def test_sibling_pairs_are_all_ordered_pairs_of_children_of_one_parent(children):
    siblings, of = sibling_pairs(children)
    receivers = children.receivers.tolist()
    expected = [
        (j, i) for i in range(children.n_edges) for j in range(children.n_edges)
        if i != j and receivers[i] == receivers[j]
    ]  # fmt: skip
    assert list(zip(siblings.tolist(), of.tolist(), strict=True)) == expected


# --- what a gate costs -----------------------------------------------------------------------------------------------


@pytest.fixture
def multiply_adds(monkeypatch):
    """Multiply-adds of the kernels during a call."""

    def count(function, *arguments) -> float:
        works = []
        run = cpu.run

        def counting(code, table, nodes, work, *rest):
            works.append(work)
            run(code, table, nodes, work, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(cpu, "run", counting)
            function(*arguments)
        return sum(works)

    return count


def test_equation_11_costs_linear_time_and_equation_12_quadratic(multiply_adds):
    irreps, vector = parse_irreps("0e+1o"), parse_irreps("1o")
    gate = StrictAggregation(irreps, vector, irreps, POWERS)
    many_body = ManyBody(gate.table, irreps, 2, 4, irreps, irreps, generator()).double()
    pair_gate = PairAggregation(irreps, vector, irreps, POWERS)

    def work(n: int) -> tuple[float, float]:
        states, vectors, children = normal(n, 4, 2), normal(n, 3, seed=1), star(n)
        envelope = torch.ones(n, dtype=torch.float64)
        first = multiply_adds(lambda: many_body(gate(states, functions(vectors), children)))
        return first, multiply_adds(pair_gate, states, vectors, envelope, children)

    costs = np.array([work(n) for n in (10, 20, 30)])
    second_differences = costs[0] - 2 * costs[1] + costs[2]
    assert second_differences[0] == 0
    assert second_differences[1] > 0


# --- Proposition 1 ---------------------------------------------------------------------------------------------------


@MATRICES
def test_mixing_commutes_with_rotations_and_other_matrices_do_not(matrix):
    irreps, multiplicities, channels = parse_irreps("0e+1o+2e"), (2, 3, 1), 4
    mixing = Mixing(irreps, multiplicities, channels, irreps, 5, generator()).double()
    fragments = normal(3, 2 + 9 + 5, channels)
    before, after = representation(irreps, multiplicities, matrix), of_states(irreps, matrix)
    mixed = torch.einsum("ij,njk->nik", after, mixing(fragments))
    torch.testing.assert_close(mixing(before @ fragments), mixed, atol=ROTATION_TOLERANCE, rtol=0)

    any_matrix = normal(9, 16, seed=1)
    difference = any_matrix @ (before @ fragments) - after @ (any_matrix @ fragments)
    assert float(difference.abs().max()) > 0.1


def test_mixing_is_one_matrix_per_irrep():
    """Eq. 9: F^l of shape (2l+1, tau' c) times W^l of shape (tau' c, tau)."""
    irreps, multiplicities, channels = parse_irreps("0e+1o"), (2, 3), 4
    mixing = Mixing(irreps, multiplicities, channels, irreps, 5, generator()).double()
    fragments = normal(3, 2 + 9, channels)
    scalars, vectors = fragments[:, :2].reshape(3, 1, 8), fragments[:, 2:].reshape(3, 3, 12)
    expected = torch.cat([scalars @ mixing.weights["0e"], vectors @ mixing.weights["1o"]], dim=1)
    torch.testing.assert_close(mixing(fragments), expected, atol=TOLERANCE, rtol=0)


def test_irreps_without_fragments_are_zero_and_fragments_without_irreps_left_out():
    mixing = Mixing(parse_irreps("0e+1o"), (1, 1), 2, parse_irreps("1o+2e"), 3, generator()).double()
    mixed = mixing(normal(4, 4, 2))
    assert list(mixing.weights) == ["1o"]
    assert mixed.shape == (4, 8, 3)
    assert bool((mixed[:, :3] != 0).any()) and not bool(mixed[:, 3:].any())


# --- many bodies -----------------------------------------------------------------------------------------------------


def gates(body_order: int, radial: str):
    """States (parents, M, C) of states (children, M, C), vectors and children, and the irreps."""
    irreps, channels = parse_irreps("0e+1o"), 3
    if radial == "strict":
        aggregation = StrictAggregation(irreps, parse_irreps("1o"), natural_irreps(2), POWERS)
    else:
        sizes = {"n_types": 1, "n_bessel": 4, "hidden": 6, "cutoff": CUTOFF}
        edge_irreps = natural_irreps(2)
        aggregation = LearnedAggregation(irreps, edge_irreps, edge_irreps, channels, generator(3), **sizes).double()
    table = aggregation.table
    many_body = ManyBody(table, irreps, channels, body_order, table.output_irreps, natural_irreps(2), generator(4))
    many_body.double()
    max_degree = 1 if radial == "strict" else 2
    return lambda states, vectors, children: many_body(aggregation(states, functions(vectors, max_degree), children))


BODY_ORDERS = pytest.mark.parametrize("body_order", [2, 3, 4])
RADIALS = pytest.mark.parametrize("radial", ["strict", "learned"])


@MATRICES
@RADIALS
@BODY_ORDERS
def test_gates_are_equivariant(body_order, radial, matrix):
    gate, children = gates(body_order, radial), two_parents()
    states, vectors = normal(7, 4, 3), normal(8, 3, seed=1)
    rotation = of_states(parse_irreps("0e+1o"), matrix)
    with torch.no_grad():
        expected = rotation @ gate(states, vectors, children)
        found = gate(rotation @ states, vectors @ torch.as_tensor(matrix).T, children)
    torch.testing.assert_close(found, expected, atol=ROTATION_TOLERANCE, rtol=1e-10)


@RADIALS
@BODY_ORDERS
def test_body_order_is_the_number_of_bodies(body_order, radial):
    """Terms of v bodies join a parent with v - 1 children: the alternating sum over subsets of v children vanishes."""
    gate = gates(body_order, radial)
    states, vectors = normal(4, 4, 3), normal(4, 3, seed=1)

    def joint_part(n_children: int) -> float:
        total = torch.zeros(1, 4, 3, dtype=torch.float64)
        for size in range(1, n_children + 1):
            for subset in combinations(range(n_children), size):
                chosen = list(subset)
                total += (-1) ** size * gate(states[chosen], vectors[chosen], star(size))
        return float(total.abs().max())

    with torch.no_grad():
        assert joint_part(body_order) < TOLERANCE
        assert joint_part(body_order - 1) > 1e-3


@BODY_ORDERS
def test_order_of_children_does_not_matter(body_order):
    gate = gates(body_order, "learned")
    states, vectors, order = normal(4, 4, 3), normal(4, 3, seed=1), [2, 0, 3, 1]
    with torch.no_grad():
        found = gate(states[order], vectors[order], star(4))
        torch.testing.assert_close(found, gate(states, vectors, star(4)), atol=TOLERANCE, rtol=0)


# --- radial functions ------------------------------------------------------------------------------------------------


def taylor(function, distance: float) -> list[Tensor]:
    """Value, slope and curvature of each component of a function of one distance."""
    r = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    values = function(r).flatten()
    slopes = [torch.autograd.grad(v, r, create_graph=True)[0] for v in values]
    curvatures = [torch.autograd.grad(s, r, retain_graph=True)[0] for s in slopes]
    return [values.detach(), torch.cat(slopes).detach(), torch.cat(curvatures).detach()]


def learned(distances: Tensor, power: int) -> Tensor:
    radial = LearnedRadial(2, 3, 2, 5, 6, CUTOFF, generator()).double()
    torch.nn.init.normal_(radial.first_bias, generator=generator(1))
    torch.nn.init.normal_(radial.second_bias, generator=generator(2))
    types = torch.tensor([[0.0, 1.0]], dtype=torch.float64).expand(len(distances), -1)
    edges = EdgeFunctions(distances, distances.new_zeros(len(distances), 0), envelope(distances, power), types)
    return radial(edges)


def envelope(distances: Tensor, power: int = 6) -> Tensor:
    return polynomial_envelope(distances, CUTOFF, power)


POWERS_OF_ENVELOPES = pytest.mark.parametrize("power", [1, 2, 3, 6])


@POWERS_OF_ENVELOPES
@pytest.mark.parametrize("form", [learned, envelope])
def test_value_slope_and_curvature_vanish_at_the_cutoff(form, power):
    function = partial(form, power=power)
    for derivative in taylor(function, CUTOFF):
        assert float(derivative.abs().max()) < TOLERANCE
    assert float(taylor(function, 0.6 * CUTOFF)[2].abs().max()) > 1e-2
    inside = [float(taylor(function, CUTOFF - h)[2].abs().max()) for h in (1e-3, 5e-4)]
    assert inside[1] == pytest.approx(inside[0] / 2, rel=0.05)  # the curvature goes to zero in proportion


@POWERS_OF_ENVELOPES
@pytest.mark.parametrize("form", [learned, envelope])
def test_everything_is_zero_beyond_the_cutoff(form, power):
    function = partial(form, power=power)
    for distance in (CUTOFF + 1e-9, CUTOFF + 1.0, 10 * CUTOFF):
        for derivative in taylor(function, distance):
            assert not bool(derivative.any())


@POWERS_OF_ENVELOPES
def test_envelope_is_one_at_zero_and_falls(power):
    distances = torch.linspace(0, CUTOFF, 101, dtype=torch.float64)
    values = polynomial_envelope(distances, CUTOFF, power)
    assert float(values[0]) == 1.0
    assert bool((values.diff() <= 0).all())


def test_learned_radial_functions_differ_between_pairs_of_types():
    radial = LearnedRadial(2, 3, 2, 5, 6, CUTOFF, generator()).double()
    distances = torch.full((2,), 1.5, dtype=torch.float64)
    edges = EdgeFunctions(distances, distances.new_zeros(2, 0), envelope(distances), torch.eye(2, dtype=torch.float64))
    weights = radial(edges)
    assert weights.shape == (2, 3, 2)
    assert bool(((weights[0] - weights[1]).abs() > 1e-3).any())


def test_bessel_basis_is_orthonormal_and_zero_at_the_cutoff():
    r = torch.linspace(1e-6, CUTOFF, 20001, dtype=torch.float64)
    basis = bessel_basis(r, CUTOFF, 4)
    overlaps = torch.trapezoid(basis.unsqueeze(2) * basis.unsqueeze(1) * r[:, None, None] ** 2, r, dim=0)
    torch.testing.assert_close(overlaps, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
    assert float(basis[-1].abs().max()) < TOLERANCE


def test_inverse_powers():
    found = inverse_powers(torch.tensor([0.5, 2.0]), (0, 1, 2, -1))
    assert torch.equal(found, torch.tensor([[1.0, 2.0, 4.0, 0.5], [1.0, 0.5, 0.25, 2.0]]))


@pytest.mark.parametrize("softening", [0.0, 1.0])
def test_edge_functions_depend_on_distance_and_direction(softening):
    vectors = normal(4, 3)
    edges = edge_functions(
        vectors, torch.ones(4, 1), cutoff=CUTOFF, envelope_power=6, max_degree=2, softening=softening
    )
    distances = (vectors.square().sum(dim=1) + softening**2).sqrt()
    torch.testing.assert_close(edges.distances, distances)
    torch.testing.assert_close(edges.harmonics[:, 1:4], 3**0.5 * vectors / distances[:, None])
    torch.testing.assert_close(edges.envelope, envelope(distances))


def test_softened_edge_functions_are_smooth_where_a_child_sits_on_its_parent():
    vectors = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    edges = edge_functions(vectors, torch.ones(1, 1), cutoff=CUTOFF, envelope_power=6, max_degree=2, softening=1.0)
    assert not bool(edges.harmonics[:, 1:].any())
    (gradient,) = torch.autograd.grad(edges.harmonics.sum() + edges.envelope.sum(), vectors)
    assert bool(gradient.isfinite().all())
