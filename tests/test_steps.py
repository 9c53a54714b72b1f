"""Networks as lists of steps: their meaning, the rewrites that keep it, and what a wrong list is told."""

from __future__ import annotations

import pytest
import torch
from nbody_networks import ALL, potential, rattled, structures
from torch.nn import functional

from ase_nbody.algebra import Irrep, natural_irreps, product_table
from ase_nbody.compiler.activations import activation
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.compiler.machine_code import compiled
from ase_nbody.compiler.matmul_code import matmul_of_types
from ase_nbody.compiler.signature import WRITE, Signature, numbers
from ase_nbody.graph import Graph
from ase_nbody.kernels.gate_code import gate_gradients, gates
from ase_nbody.math import spherical_harmonics
from ase_nbody.math.splines import Grid
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.nn.active_edges import active_edges
from ase_nbody.steps import (
    Activate,
    ActivationFunction,
    Block,
    Contract,
    Description,
    Embed,
    Mix,
    Product,
    Readout,
    StepWeights,
    state_irreps,
)
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.contract import ContractElements
from ase_nbody.steps.folding import fold_elements, fold_messages, fold_readouts, folded
from ase_nbody.steps.forward import forward
from ase_nbody.steps.plan import kept_states, segments
from ase_nbody.steps.program import program

SCALAR, VECTOR = Irrep(0, 1), Irrep(1, -1)
SETTINGS = KernelSettings(64, 1, blocked=True)


def energies(description: Description, weights: StepWeights, graph: Graph, cutoff: float, types: torch.Tensor):
    edges = active_edges(graph, cutoff)
    harmonics = spherical_harmonics(edges.directions, description.max_degree)
    none = graph.positions.new_zeros(graph.n_atoms)
    return forward(
        description, StepAtoms(description.irreps_of, weights, types, edges.pairs, edges.distances, harmonics, none)
    )


@pytest.mark.parametrize(("architecture", "settings"), ALL, ids=str)
def test_steps_and_their_rewrites_are_the_network(architecture: str, settings: dict[str, object]) -> None:
    found = potential(torch.float64, architecture=architecture, **settings)
    network = found.network
    description, weights = network.description(), network.step_weights()
    description.check()
    for atoms in (structures()[0], rattled(structures()[1])):
        graph = neighbour_graph(atoms, found.cutoff, dtype=torch.float64)
        types = network.type_of_number[graph.atomic_numbers]
        expected = network(graph).detach()
        assert float(expected.abs().max()) > 1e-4
        network_now = description, weights
        for rewrite in (lambda d, w: (d, w), fold_elements, fold_messages, fold_readouts):
            network_now = rewrite(*network_now)
            got = energies(*network_now, graph, found.cutoff, types)
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_what_is_folded() -> None:
    network = potential(torch.float64).network
    description, _ = folded(network.description(), network.step_weights())
    assert isinstance(description.steps[0], ContractElements)
    assert description.steps[0].out == "factor0"  # its mixing is part of the radial weights
    names = set(description.irreps_of)
    assert "leaves" not in names and "fragments0" not in names and "scaled0" not in names
    assert "states1" not in names  # of the last level only energies are wanted
    assert [step.source for step in description.steps if isinstance(step, Readout)] == [
        "states0",
        "factor1",
        "pairs1",
        "triples1",
    ]


def test_which_states_outlast_a_phase() -> None:
    network = potential(torch.float64, architecture="nequip", layers=2).network
    description, _ = folded(network.description(), network.step_weights())
    assert [len(part) for part in segments(description.steps)] == [5, 5]
    kept = kept_states(description)
    assert {"senders1", "d_senders1", "d_messages1", "mixed0", "gates0", "states0", "d_states0"} == kept


# --- wrong lists -----------------------------------------------------------------------------------------------------

TABLE = product_table((SCALAR,), natural_irreps(1), natural_irreps(1))
SHAPES = (
    ("leaves", state_irreps((SCALAR,), 4)),
    ("sums", state_irreps(natural_irreps(1), 4)),
    ("squares", state_irreps((SCALAR,), 4, (2,))),
    ("more", state_irreps(natural_irreps(1), 4)),
)
SQUARE = product_table(natural_irreps(1), natural_irreps(1), (SCALAR,), symmetric=True)
CONTRACT = Contract("leaves", "sums", TABLE, 4, "radial")


def described(*steps) -> Description:
    return Description(SHAPES, (Embed("leaves", "embedding"), *steps), 2, 1)


def test_descriptions_that_cannot_be() -> None:
    with pytest.raises(
        ValueError, match="uses state 'sum', whose irreps are not given; there are leaves, sums, squares, more"
    ):
        described(CONTRACT, Readout("sum", "readout")).check()
    with pytest.raises(ValueError, match="reads state 'sums' before any step makes it"):
        described(Readout("sums", "readout")).check()
    late = (CONTRACT, Product("sums", "sums", "squares", SQUARE, 4), Mix("sums", "sums", "mix"))
    with pytest.raises(ValueError, match=r"changes state 'sums', whose value .*Product.* needs in the backward pass"):
        described(*late).check()


def weights(**vectors: torch.Tensor) -> StepWeights:
    return StepWeights(torch.arange(4), vectors={"embedding": torch.ones(2, 4), **vectors})


def test_a_product_of_elements_is_refused() -> None:
    square = product_table((SCALAR,), (SCALAR,), (SCALAR,))
    with pytest.raises(ValueError, match="reads a state that is one vector by element: let a contraction read it"):
        fold_elements(described(Product("leaves", "leaves", "more", square, 4)), weights())


def test_a_program_begins_with_elements() -> None:
    with pytest.raises(ValueError, match=r"a program begins with a contraction of elements, not with .*Embed"):
        program(described(CONTRACT), SETTINGS, Grid(3.5, 8, 3))


def test_states_of_several_sources_of_which_one_stores() -> None:
    steps = (
        ContractElements("sums", TABLE, 4, "radial"),
        Product("sums", "sums", "squares", SQUARE, 4),
        Product("sums", "sums", "squares", SQUARE, 4),
        Readout("squares", "readout"),
    )
    with pytest.raises(ValueError, match="state 'squares' has several sources, of which one cannot add: mix it"):
        program(Description(SHAPES, steps, 2, 1), SETTINGS, Grid(3.5, 8, 3))


# --- kernels ---------------------------------------------------------------------------------------------------------


def compiled_kernel(w: Builder):
    return compiled(w.text(), [w.name], len(w.signature.flat))[w.name]


@pytest.mark.parametrize("bits", [64, 32])
@pytest.mark.parametrize("name", ["silu", "tanh", "mish", "sigmoid"])
def test_functions_and_their_slopes(name: str, bits: int) -> None:
    dtype = torch.float64 if bits == 64 else torch.float32
    settings = KernelSettings(bits, 8)
    w = Builder(name, settings, Signature(numbers("x", "nodes", 8), numbers("value slope", "nodes", 8, WRITE)))
    with w.loop(w.begin, w.end) as n:
        value, slope = activation(w, name, w.load(w.row("x", n)))
        w.store(value, w.row("value", n))
        w.store(slope, w.row("slope", n))
    x = torch.cat([torch.linspace(-120, 120, 2000), torch.linspace(-3, 3, 400)]).to(dtype)
    value, slope = torch.empty_like(x), torch.empty_like(x)
    compiled_kernel(w)(0, len(x) // 8, x.data_ptr(), value.data_ptr(), slope.data_ptr())
    exact = x.double().requires_grad_()
    expected = {"silu": functional.silu, "tanh": torch.tanh, "mish": functional.mish, "sigmoid": torch.sigmoid}[name](
        exact
    )
    (expected_slope,) = torch.autograd.grad(expected.sum(), exact)
    tolerance = 1e-14 if bits == 64 else 1e-6
    torch.testing.assert_close(value.double(), expected.detach(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("vector_bytes", [32, 64])
@pytest.mark.parametrize(("rows", "inner", "columns"), [(1, 8, 16), (5, 4, 24), (7, 3, 6)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_matrices_of_types(rows: int, inner: int, columns: int, accumulate: bool, vector_bytes: int) -> None:
    settings = KernelSettings(64, columns, vector_bytes=vector_bytes)
    generator = torch.Generator().manual_seed(0)
    types = torch.tensor([1, 0, 2, 1, 1])
    left = torch.randn(5, rows, inner, generator=generator, dtype=torch.float64)
    right = torch.randn(3, inner, columns, generator=generator, dtype=torch.float64)
    out = torch.randn(5, rows, columns, generator=generator, dtype=torch.float64)
    expected = out.clone()
    expected[1:4] = left[1:4] @ right[types[1:4]] + (out[1:4] if accumulate else 0)
    kernel = compiled_kernel(matmul_of_types("matrices", settings, (rows, inner, columns), accumulate=accumulate))
    kernel(1, 4, types.data_ptr(), left.data_ptr(), right.data_ptr(), out.data_ptr())
    torch.testing.assert_close(out, expected, rtol=1e-13, atol=1e-13)


def test_gates_of_blocks_of_different_width() -> None:
    """A gate of blocks of 2 and 6 columns: the code of both ways against torch's function of the step."""
    blocks = (Block(SCALAR, 2), Block(VECTOR, 6))
    functions = (ActivationFunction("tanh", 1.5), ActivationFunction("silu", 0.7))
    shapes = {"sums": blocks, "gates": (Block(SCALAR, 6),), "more": blocks}
    none = torch.zeros(3, dtype=torch.float64)
    pairs = active_edges(neighbour_graph(structures()[0][:3], 3.0), 3.0).pairs
    atoms = StepAtoms(shapes, weights(), torch.zeros(3, dtype=torch.int64), pairs, none, none, none)
    generator = torch.Generator().manual_seed(0)
    given = [
        torch.randn(3, block.irrep.dimension, block.columns, generator=generator, dtype=torch.float64).requires_grad_()
        for block in (*blocks, Block(SCALAR, 6))
    ]
    atoms.values = {"sums": given[:2], "gates": given[2:]}
    Activate("sums", "gates", "more", functions).forward(atoms)
    expected = atoms.values["more"]
    upstream = [torch.randn(made.shape, generator=generator, dtype=torch.float64) for made in expected]
    expected_gradients = torch.autograd.grad(expected, given, upstream)
    inputs = [tensor.data_ptr() for tensor in given]
    out = [torch.empty_like(made) for made in expected]
    kernel = compiled_kernel(gates("gates", SETTINGS, blocks, functions))
    kernel(0, 3, *inputs, *(made.data_ptr() for made in out))
    gradients = [torch.empty_like(tensor) for tensor in given]
    kernel = compiled_kernel(gate_gradients("gradients", SETTINGS, blocks, functions))
    kernel(0, 3, *inputs, *(u.data_ptr() for u in upstream), *(made.data_ptr() for made in gradients))
    for got, wanted in zip([*out, *gradients], [*expected, *expected_gradients], strict=True):
        torch.testing.assert_close(got, wanted.detach(), rtol=1e-12, atol=1e-12)
