"""The contraction and the node product: both back ends, derivatives of three orders, threads, equivariance, tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from wigner import INVERSION, REFLECTION, ROTATION, wigner

from ase_nbody.algebra import Irrep, ProductTable, natural_irreps, parse_irreps, product_table
from ase_nbody.algebra.tables import coefficients
from ase_nbody.compiler import cpu
from ase_nbody.compiler.signature import Signature, indices
from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.kernels import contract, cpu_code, node_product

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-5}  # of results of order one, relative to the largest
WIGNER_TOLERANCE = 1e-10
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])

TABLES = {
    "scalars": product_table(natural_irreps(0), natural_irreps(2), natural_irreps(2)),
    "natural": product_table(natural_irreps(1), natural_irreps(2), natural_irreps(2)),
    "both parities": product_table(parse_irreps("0e+1o+1e"), parse_irreps("1o+2e"), parse_irreps("0o+0e+1o+1e+2o")),
    "second repeated": product_table(parse_irreps("0e+1o"), parse_irreps("1o+1o+1o"), parse_irreps("0e+1o+2e")),
    "one path": product_table(parse_irreps("2e"), parse_irreps("2e"), parse_irreps("2e")),
}
ALL_TABLES = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
N_SENDERS, N_RECEIVERS = 5, 7


@dataclass
class Case:
    """Arguments of one contraction S(psi, Y, R, G)."""

    states: Tensor
    harmonics: Tensor
    radial: Tensor
    upstream: Tensor
    edges: EdgeList
    table: ProductTable

    @property
    def arguments(self) -> tuple[Tensor, ...]:
        return self.states, self.harmonics, self.radial, self.upstream

    def messages(self, backend: str = "auto") -> Tensor:
        return contract(self.states, self.harmonics, self.radial, self.edges, self.table, backend)

    def scalar(self, backend: str = "auto") -> Tensor:
        return (self.messages(backend) * self.upstream).sum()

    def strided(self) -> Case:
        """The same numbers, none of them contiguous in memory."""
        return Case(
            self.states.detach().transpose(0, 2).contiguous().transpose(0, 2).requires_grad_(),
            self.harmonics.detach().T.contiguous().T.requires_grad_(),
            self.radial.detach().repeat_interleave(2, dim=2)[:, :, ::2].requires_grad_(),
            self.upstream.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_(),
            self.edges,
            self.table,
        )


def random_edges(n_edges: int, seed: int = 0) -> EdgeList:
    """Random pairs, some of them twice; receivers 2 and 6 and sender 4 have none."""
    generator = torch.Generator().manual_seed(seed)
    with_children = torch.tensor([0, 1, 3, 4, 5])
    receivers = with_children[torch.randint(0, 5, (n_edges,), generator=generator)].sort().values
    senders = torch.randint(0, N_SENDERS - 1, (n_edges,), generator=generator)
    return edge_list(senders, receivers, N_SENDERS, N_RECEIVERS)


def random_case(table: ProductTable, channels: int = 3, n_edges: int = 12, dtype: torch.dtype = torch.float64) -> Case:
    generator = torch.Generator().manual_seed(1)
    edges = random_edges(n_edges)
    shapes = [
        (edges.n_senders, table.n_first, channels),
        (edges.n_edges, table.n_second),
        (edges.n_edges, table.n_paths, channels),
        (edges.n_receivers, table.n_output, channels),
    ]
    tensors = [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]
    return Case(*tensors, edges, table)


def random_factors(table: ProductTable, channels: int = 3, nodes: int = 4, dtype: torch.dtype = torch.float64):
    generator = torch.Generator().manual_seed(2)
    shapes = [(nodes, table.n_first, channels), (nodes, table.n_second, channels), (nodes, table.n_output, channels)]
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype).requires_grad_() for s in shapes]


def assert_equal(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    largest = float(expected.abs().max()) if expected.numel() else 1.0
    tolerance = TOLERANCES[expected.dtype] * max(1.0, largest)
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def by_loops(case: Case) -> Tensor:
    """The contraction as DESIGN section 2 writes it, edge by edge and path by path, in float64."""
    table, edges = case.table, case.edges
    states, harmonics, radial = (t.detach().double().numpy() for t in case.arguments[:3])
    summed = np.zeros((edges.n_receivers, table.n_output, states.shape[2]))
    for e, (child, parent) in enumerate(zip(edges.senders.tolist(), edges.receivers.tolist(), strict=True)):
        for p, path in enumerate(table.paths):
            dense = coefficients(table, path)
            a = states[child, path.first_start : path.first_start + dense.shape[0]]
            b = harmonics[e, path.second_start : path.second_start + dense.shape[1]]
            summed[parent, list(path.outputs)] += np.einsum("abo,ak,b->ok", dense, a, b) * radial[e, p]
    return torch.as_tensor(summed)


# --- the contraction -------------------------------------------------------------------------------------------------


@ALL_TABLES
def test_reference_back_end_is_the_sum_over_edges_and_paths(table):
    case = random_case(table)
    assert_equal(case.messages("reference").detach(), by_loops(case))


@DTYPES
@pytest.mark.parametrize("channels", [1, 3, 64])
@ALL_TABLES
def test_back_ends_agree_on_messages_and_gradients(table, channels, dtype):
    case = random_case(table, channels, dtype=dtype)
    for found, expected in zip(
        (case.messages("cpu"), *torch.autograd.grad(case.scalar("cpu"), case.arguments)),
        (case.messages("reference"), *torch.autograd.grad(case.scalar("reference"), case.arguments)),
        strict=True,
    ):
        assert_equal(found.detach(), expected.detach())


def test_receivers_without_edges_get_zero_and_senders_without_edges_no_gradient():
    case = random_case(TABLES["natural"])
    assert bool((case.messages("cpu")[[2, 6]] == 0).all())
    (gradient,) = torch.autograd.grad(case.scalar("cpu"), case.states)
    assert bool((gradient[4] == 0).all()) and bool((gradient[:4] != 0).any())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_no_edges_give_zero_to_every_order(backend):
    case = random_case(TABLES["natural"], n_edges=0)
    assert bool((case.messages(backend) == 0).all())
    first = torch.autograd.grad(case.scalar(backend), case.arguments, create_graph=True)
    assert [g.shape for g in first] == [t.shape for t in case.arguments]
    assert bool((first[0] == 0).all()) and bool((first[3] == 0).all())


@pytest.mark.parametrize("name", ["states", "harmonics", "radial", "upstream"])
def test_each_contraction_is_the_gradient_of_the_scalar(name):
    """S is linear in each argument: S of its gradient's inner product with the argument is S itself."""
    case = random_case(TABLES["both parities"])
    argument = getattr(case, name)
    (gradient,) = torch.autograd.grad(case.scalar("cpu"), argument)
    assert_equal((gradient * argument).sum().detach(), case.scalar("reference").detach())
    with torch.no_grad():
        change = torch.randn(argument.shape, generator=torch.Generator().manual_seed(3), dtype=argument.dtype)
        before = case.scalar("cpu")
        setattr(case, name, argument + change)
        difference = case.scalar("cpu") - before
    assert_equal((gradient * change).sum(), difference)


@pytest.mark.parametrize("name", ["natural", "both parities", "second repeated"])
def test_first_and_second_derivatives_pass_gradcheck(name):
    case = random_case(TABLES[name], channels=1, n_edges=4)

    def messages(states: Tensor, harmonics: Tensor, radial: Tensor) -> Tensor:
        return contract(states, harmonics, radial, case.edges, case.table, "cpu")

    assert torch.autograd.gradcheck(messages, case.arguments[:3], fast_mode=True)
    assert torch.autograd.gradgradcheck(messages, case.arguments[:3], fast_mode=True)


def derivatives(scalar: Tensor, arguments: tuple[Tensor, ...], order: int) -> list[Tensor]:
    """All first, second, ... derivatives along fixed random directions."""
    generator = torch.Generator().manual_seed(4)
    found: list[Tensor] = []
    for _ in range(order):
        gradients = torch.autograd.grad(scalar, arguments, create_graph=True)
        found += gradients
        directions = [torch.randn(g.shape, generator=generator, dtype=torch.float64).to(g) for g in gradients]
        scalar = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    return found


@DTYPES
@ALL_TABLES
def test_derivatives_of_three_orders_are_those_of_the_oracle(table, dtype):
    case = random_case(table, dtype=dtype)
    # A square makes all mixed derivatives differ from zero beyond the fourth order of S itself.
    found = derivatives(case.messages("cpu").square().mean() + case.scalar("cpu"), case.arguments, 3)
    expected = derivatives(case.messages("reference").square().mean() + case.scalar("reference"), case.arguments, 3)
    assert all(bool((e != 0).any()) for e in expected)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one.detach(), other.detach())


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2)])
def test_second_derivatives_with_respect_to_some_arguments_only(wanted):
    case = random_case(TABLES["natural"])
    arguments = tuple(t.detach().requires_grad_(n in wanted) for n, t in enumerate(case.arguments))
    part = Case(*arguments, case.edges, case.table)
    some = tuple(arguments[n] for n in wanted)
    found = derivatives(part.messages("cpu").square().sum(), some, 2)
    expected = derivatives(part.messages("reference").square().sum(), some, 2)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one.detach(), other.detach())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_layout_in_memory_does_not_matter(backend):
    case = random_case(TABLES["natural"])
    plain = case.messages(backend)
    strided = case.strided()
    assert not any(t.is_contiguous() for t in strided.arguments)
    assert torch.equal(strided.messages(backend), plain)
    found = torch.autograd.grad(strided.scalar(backend), strided.arguments)
    for one, other in zip(found, torch.autograd.grad(case.scalar(backend), case.arguments), strict=True):
        assert_equal(one, other)


def test_expanded_radial_weights_and_their_gradient():
    case = random_case(TABLES["natural"])
    envelope = torch.rand(case.edges.n_edges, dtype=torch.float64, requires_grad=True)
    case.radial = envelope[:, None, None].expand(case.radial.shape)
    assert case.radial.stride()[1:] == (0, 0)
    found = derivatives(case.scalar("cpu"), (case.states, envelope), 2)
    expected = derivatives(case.scalar("reference"), (case.states, envelope), 2)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one.detach(), other.detach())


def test_arguments_are_not_changed():
    case = random_case(TABLES["natural"])
    before = [t.detach().clone() for t in case.arguments]
    derivatives(case.scalar("cpu"), case.arguments, 2)
    assert all(torch.equal(t, b) for t, b in zip(case.arguments, before, strict=True))


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"])
@ALL_TABLES
def test_contraction_is_equivariant(table, matrix, backend):
    case = random_case(table)
    rotated = Case(
        turned(case.states, [str(i) for i in table.first_irreps], matrix),
        turned(case.harmonics.unsqueeze(2), [str(i) for i in table.second_irreps], matrix).squeeze(2),
        *case.arguments[2:],
        case.edges,
        table,
    )
    expected = turned(case.messages(backend), output_texts(table), matrix, table.output_multiplicities)
    torch.testing.assert_close(rotated.messages(backend), expected, atol=WIGNER_TOLERANCE, rtol=0)


def output_texts(table: ProductTable) -> list[str]:
    return [str(i) for i in table.output_irreps]


def turned(
    states: Tensor, irreps: list[str], matrix: np.ndarray, multiplicities: tuple[int, ...] | None = None
) -> Tensor:
    """States (N, M, C), in blocks (2l+1, multiplicity), after a rotation of the system."""
    counts = multiplicities or (1,) * len(irreps)
    blocks = [
        torch.kron(wigner(i, matrix), torch.eye(n, dtype=torch.float64)) for i, n in zip(irreps, counts, strict=True)
    ]
    return torch.einsum("ij,njk->nik", torch.block_diag(*blocks), states)


# --- threads ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch_threads(monkeypatch):
    """Sets the number of threads that the back end sees, whatever the size of the work."""
    monkeypatch.setattr(cpu, "SMALLEST_SHARE", 1)
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def everything(case: Case) -> list[Tensor]:
    factors = random_factors(TABLES["natural"])
    product = (node_product(*factors[:2], TABLES["natural"], "cpu") * factors[2]).sum()
    contracted = case.messages("cpu").square().sum()
    results = [*derivatives(contracted, case.arguments[:3], 2), *derivatives(product, tuple(factors), 2)]
    return [r.detach() for r in results]


@DTYPES
def test_results_do_not_depend_on_the_number_of_threads(torch_threads, dtype):
    case = random_case(TABLES["natural"], n_edges=40, dtype=dtype)
    torch_threads(1)
    expected = everything(case)
    for count in (2, 3, 16):
        torch_threads(count)
        assert all(torch.equal(r, e) for r, e in zip(everything(case), expected, strict=True))


def test_more_than_one_thread_is_really_used(torch_threads, monkeypatch):
    shares = []

    def kernel(begin: int, end: int, *arguments: object) -> None:
        shares.append((int(begin), int(end)))

    torch_threads(2)
    compiled = cpu.Kernel("shares", Signature(indices("offsets", "receiver bounds")), [torch.int64], kernel)
    monkeypatch.setattr(cpu, "_compiled", lambda *key: compiled)
    offsets = torch.tensor([0, 10, 11, 12, 20])
    nodes, arguments = cpu.Nodes(0, 4, offsets), {"offsets": offsets}
    cpu.run(cpu_code.messages, TABLES["natural"], nodes, 1e9, torch.zeros(4, 1, 1), arguments)
    assert sorted(shares) == [(0, 1), (1, 4)]


def test_two_python_threads_at_once_get_the_same_as_one(torch_threads):
    cases = [random_case(table, n_edges=40) for table in TABLES.values()]
    torch_threads(1)
    expected = [everything(case) for case in cases]
    torch_threads(2)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(everything, cases * 4))
    for results, right in zip(found, expected * 4, strict=True):
        assert all(torch.equal(r, e) for r, e in zip(results, right, strict=True))


def test_results_are_the_same_from_run_to_run():
    case = random_case(TABLES["natural"], channels=64, n_edges=60, dtype=torch.float32)
    first, second = everything(case), everything(case)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("senders", "receivers", "message"),
    [
        ([0, 1], [1, 0], "ascending"),
        ([0, 3], [0, 1], "senders must lie in 0..2"),
        ([-1, 0], [0, 1], "senders must lie in 0..2"),
        ([0, 1], [0, 2], "receivers must lie in 0..1"),
        ([0, 1], [-1, 0], "receivers must lie in 0..1"),
        ([0, 1, 2], [0, 1], "one length"),
    ],
)
def test_edges_that_make_no_list_are_refused(senders, receivers, message):
    with pytest.raises(ValueError, match=message):
        edge_list(torch.tensor(senders), torch.tensor(receivers), 3, 2)


def test_edge_list_is_csr_both_ways():
    edges = random_edges(30)
    assert (edges.n_edges, edges.n_senders, edges.n_receivers) == (30, N_SENDERS, N_RECEIVERS)
    for n in range(N_RECEIVERS):
        own = slice(edges.receiver_offsets[n], edges.receiver_offsets[n + 1])
        assert torch.equal(torch.arange(30)[own], torch.nonzero(edges.receivers == n).flatten())
    for n in range(N_SENDERS):
        own = edges.sender_order[edges.sender_offsets[n] : edges.sender_offsets[n + 1]]
        assert torch.equal(own, torch.nonzero(edges.senders == n).flatten())


@pytest.mark.parametrize("name", ["states", "harmonics", "radial"])
@pytest.mark.parametrize("axis", [0, 1])
def test_shapes_that_do_not_fit_are_refused(name, axis):
    case = random_case(TABLES["natural"])
    tensor = getattr(case, name).detach()
    setattr(case, name, torch.cat([tensor, tensor.narrow(axis, 0, 1)], dim=axis))
    with pytest.raises(ValueError, match="have shapes"):
        case.messages()


def test_channels_that_differ_are_refused():
    case = random_case(TABLES["natural"])
    case.radial = case.radial[:, :, :2]
    with pytest.raises(ValueError, match="have shapes"):
        case.messages()
    first, second, _ = random_factors(TABLES["natural"])
    for wrong in (first[:, :, :2], first[:2], first[:, 1:]):
        with pytest.raises(ValueError, match="the factors have shapes"):
            node_product(wrong, second, TABLES["natural"])


def test_dtypes_that_differ_are_refused():
    case = random_case(TABLES["natural"])
    for name in ("states", "harmonics", "radial"):
        tensor = getattr(case, name)
        setattr(case, name, tensor.detach().float())
        with pytest.raises(ValueError, match=r"torch\.float32"):
            case.messages()
        setattr(case, name, tensor)
    first, second, _ = random_factors(TABLES["natural"])
    with pytest.raises(ValueError, match=r"torch\.float32"):
        node_product(first.detach().float(), second, TABLES["natural"])


def test_edges_of_another_dtype_are_refused():
    with pytest.raises(ValueError, match="int64"):
        edge_list(torch.tensor([0, 1], dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32), 2, 2)


def test_edges_cut_from_a_table_of_pairs_give_the_same():
    case = random_case(TABLES["natural"])
    pairs = torch.stack([case.edges.senders, case.edges.receivers], dim=1)
    expected = [case.messages(), *torch.autograd.grad(case.scalar(), case.arguments)]
    case.edges = edge_list(pairs[:, 0], pairs[:, 1], N_SENDERS, N_RECEIVERS)
    found = [case.messages(), *torch.autograd.grad(case.scalar(), case.arguments)]
    assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))


def test_back_ends_that_are_not_there_are_refused():
    case = random_case(TABLES["natural"])
    with pytest.raises(ValueError, match="choose auto, reference or cpu"):
        case.messages("cuda")
    case.states = case.states.detach().to("meta")
    with pytest.raises(ValueError, match="does not take tensors on meta"):
        case.messages("cpu")


@pytest.mark.parametrize("text", ["", "1", "1x", "0e+-1o", "0e 1o"])
def test_text_that_is_no_irreps_is_refused(text):
    with pytest.raises(ValueError, match="irreps must look like"):
        parse_irreps(text)


# --- the node product ------------------------------------------------------------------------------------------------


@ALL_TABLES
def test_node_product_is_the_tensor_product_path_by_path(table):
    first, second, _ = (t.detach() for t in random_factors(table))
    outer = torch.einsum("nak,nbk->nabk", first, second)
    expected = torch.zeros(len(first), table.n_output, first.shape[2], dtype=torch.float64)
    for path in table.paths:
        dense = torch.as_tensor(coefficients(table, path))
        rows = slice(path.first_start, path.first_start + dense.shape[0])
        columns = slice(path.second_start, path.second_start + dense.shape[1])
        expected[:, list(path.outputs)] = torch.einsum("nabk,abo->nok", outer[:, rows, columns], dense)
    for backend in ("reference", "cpu"):
        assert_equal(node_product(first, second, table, backend), expected)


@DTYPES
@pytest.mark.parametrize("channels", [1, 3, 64])
@ALL_TABLES
def test_back_ends_agree_on_products_to_the_third_derivative(table, channels, dtype):
    factors = random_factors(table, channels, dtype=dtype)

    def scalar(backend: str) -> Tensor:
        product = node_product(factors[0], factors[1], table, backend)
        return product.square().mean() + (product * factors[2]).mean()

    found, expected = (derivatives(scalar(backend), tuple(factors), 3) for backend in ("cpu", "reference"))
    for one, other in zip(found, expected, strict=True):
        assert_equal(one.detach(), other.detach())


def test_node_product_passes_gradcheck():
    table = TABLES["both parities"]
    factors = random_factors(table, channels=1, nodes=2)[:2]
    assert torch.autograd.gradcheck(lambda a, b: node_product(a, b, table, "cpu"), factors)
    assert torch.autograd.gradgradcheck(lambda a, b: node_product(a, b, table, "cpu"), factors, fast_mode=True)


def test_product_of_a_state_with_itself_has_the_gradient_of_both_factors():
    table = product_table(natural_irreps(2), natural_irreps(2), natural_irreps(2), symmetric=True)
    state = random_factors(table)[0]
    found = derivatives(node_product(state, state, table, "cpu").square().sum(), (state,), 2)
    expected = derivatives(node_product(state, state, table, "reference").square().sum(), (state,), 2)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one.detach(), other.detach())


@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"])
@ALL_TABLES
def test_node_product_is_equivariant(table, matrix):
    first, second, _ = random_factors(table)
    rotated = node_product(
        turned(first, [str(i) for i in table.first_irreps], matrix),
        turned(second, [str(i) for i in table.second_irreps], matrix),
        table,
    )
    expected = turned(node_product(first, second, table), output_texts(table), matrix, table.output_multiplicities)
    torch.testing.assert_close(rotated, expected, atol=WIGNER_TOLERANCE, rtol=0)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_products_of_no_nodes_are_empty(backend):
    first, second, _ = random_factors(TABLES["natural"], nodes=0)
    product = node_product(first, second, TABLES["natural"], backend)
    assert product.shape == (0, TABLES["natural"].n_output, 3)


# --- tables ----------------------------------------------------------------------------------------------------------


def even_irreps(max_degree: int) -> tuple[Irrep, ...]:
    """Irreps of SO(3), as in the paper."""
    return tuple(Irrep(degree, 1) for degree in range(max_degree + 1))


def test_product_type_of_the_paper():
    """Section 4.0.1: states of type (1, 1, 1) times a vector make (1, 3, 2, 1)."""
    table = product_table(even_irreps(2), parse_irreps("1e"), even_irreps(3))
    assert table.output_irreps == even_irreps(3)
    assert table.output_multiplicities == (1, 3, 2, 1)


@pytest.mark.parametrize(("max_degree", "expected"), [(1, (1, 2, 1)), (2, (1, 3, 2, 1)), (3, (1, 3, 3, 2, 1))])
def test_product_type_is_that_of_the_clebsch_gordan_rule(max_degree, expected):
    """Section 4.1: kappa(l) counts the l1 with |l1 - 1| <= l <= l1 + 1.

    For L >= 3 this is (1, 3, ..., 3, 2, 1); the (1, 3, 2, ..., 2, 1) printed in section 4.0.1 would have fewer
    components than the 3 (L + 1)^2 of the tensor product.
    """
    table = product_table(even_irreps(max_degree), parse_irreps("1e"), even_irreps(max_degree + 1))
    kappa = tuple(
        sum(abs(first - 1) <= degree <= first + 1 for first in range(max_degree + 1))
        for degree in range(max_degree + 2)
    )
    assert table.output_multiplicities == kappa == expected
    assert table.n_output == 3 * (max_degree + 1) ** 2


def test_parity_halves_the_paths():
    """In O(3) a vector times a vector gives 0e, 1e and 2e, so states 0e+1o+2e keep fewer paths than in SO(3)."""
    table = product_table(natural_irreps(2), parse_irreps("1o"), natural_irreps(2))
    assert dict(zip(output_texts(table), table.output_multiplicities, strict=True)) == {"0e": 1, "1o": 2, "2e": 1}


@ALL_TABLES
def test_outputs_of_paths_fill_blocks_of_equal_irrep(table):
    outputs = [o for path in table.paths for o in path.outputs]
    assert sorted(outputs) == list(range(table.n_output))
    start = 0
    for irrep, multiplicity in zip(table.output_irreps, table.output_multiplicities, strict=True):
        end = start + irrep.dimension * multiplicity
        block = np.arange(start, end).reshape(irrep.dimension, multiplicity)
        paths = [path.outputs for path in table.paths if path.irrep == irrep]
        assert np.array_equal(block.T, paths)
        start = end


@pytest.mark.parametrize("irreps", [natural_irreps(2), even_irreps(2), parse_irreps("0e+0o+1o+1e")])
def test_symmetric_table_spans_the_product_of_equal_factors(irreps):
    """Each path of the full product equals one of the symmetric table up to sign, or vanishes; none is lost or new."""
    results = tuple(Irrep(degree, parity) for degree in range(5) for parity in (1, -1))
    full = product_table(irreps, irreps, results)
    symmetric = product_table(irreps, irreps, results, symmetric=True)
    state = random_factors(full)[0].detach()
    product, halved = node_product(state, state, full), node_product(state, state, symmetric)
    kept = {(p.first, p.second, p.irrep): halved[:, list(p.outputs)] for p in symmetric.paths}
    assert all(bool((block.abs() > 1e-3).any()) for block in kept.values())
    for path in full.paths:
        block = product[:, list(path.outputs)]
        twin = kept.get((min(path.first, path.second), max(path.first, path.second), path.irrep))
        if twin is None:
            twin = torch.zeros_like(block)
        assert min(float((block - twin).abs().max()), float((block + twin).abs().max())) < 1e-12


def test_products_without_the_irreps_asked_for_are_refused():
    with pytest.raises(ValueError, match=r"the product of 0e\+1o and 1o contains none of 3o"):
        product_table(parse_irreps("0e+1o"), parse_irreps("1o"), parse_irreps("3o"))


def test_components_keep_their_variance():
    """Factors with components of variance one make results with components of variance one."""
    generator = torch.Generator().manual_seed(5)
    table = product_table(natural_irreps(2), natural_irreps(2), natural_irreps(2))
    first, second = (torch.randn(400, table.n_first, 8, generator=generator) for _ in range(2))
    product = node_product(first, second, table)
    for path in table.paths:
        assert float(product[:, list(path.outputs)].square().mean()) == pytest.approx(1.0, abs=0.15)
