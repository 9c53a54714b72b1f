"""The cuda back end: on a GPU where there is one, else in Triton's interpreter on the CPU; compiled for absent GPUs.

Triton decides when it is imported whether its functions are interpreted, so without a GPU the tests of numbers are run
by `test_without_a_gpu_the_kernels_pass_in_the_interpreter`, in a process of their own.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nbody_networks import NETWORKS, SKIN, potential, structures
from test_kernels import ALL_TABLES, DTYPES, TABLES, TOLERANCES, Case, derivatives, random_case, random_factors
from torch import Tensor

from ase_nbody.algebra import ProductTable, natural_irreps, product_table
from ase_nbody.algebra.tables import entries
from ase_nbody.architectures.nbody_splines import NBodySplines
from ase_nbody.cuda import backend as cuda
from ase_nbody.cuda import kernel_code
from ase_nbody.cuda.spline_messages import SplineWeights, spline_contract
from ase_nbody.cuda.triton_writer import Layout
from ase_nbody.cuda.weights import Splined
from ase_nbody.graph import edge_vectors
from ase_nbody.kernels import backends, contract, node_product, operations
from ase_nbody.kernels.sums import receiver_sums, sender_sums
from ase_nbody.math.splines import basis_polynomials
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import predict
from ase_nbody.timings import Timings

HAS_TRITON = cuda.has_triton()
HAS_GPU = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
computes = pytest.mark.skipif(
    not (HAS_TRITON and (HAS_GPU or INTERPRETED)),
    reason="needs Triton, and a GPU or Triton's interpreter, in which another test runs this",
)
DEVICE = "cuda" if HAS_GPU and not INTERPRETED else "cpu"

MEDIUM = {
    "first level": product_table(natural_irreps(0), natural_irreps(3), natural_irreps(3)),
    "second level": product_table(natural_irreps(1), natural_irreps(3), natural_irreps(3)),
}
MEDIUM_PRODUCT = product_table(natural_irreps(3), natural_irreps(3), natural_irreps(2), symmetric=True)
EDGE_KERNELS = {
    kernel_code.messages: cuda.Held(first=1, second=0, harmonics=1),
    kernel_code.tangent_messages: cuda.Held(first=2, second=0, harmonics=2),
    kernel_code.gradients: cuda.Held(first=2, second=1, harmonics=1),
    kernel_code.tangent_gradients: cuda.Held(first=3, second=1, harmonics=2),
}


@pytest.mark.slow
@pytest.mark.skipif(not HAS_TRITON, reason="Triton is not installed: pip install triton")
@pytest.mark.skipif(HAS_GPU or INTERPRETED, reason="the kernels are tested in this process")
def test_without_a_gpu_the_kernels_pass_in_the_interpreter():
    if tuple(int(n) for n in version("triton").split(".")[:2]) < (3, 8):
        pytest.skip("interpreters before Triton 3.8 fail with NumPy 2.4")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    folder = Path(__file__).parents[1]
    run = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", run.stdout)[1]) > 20


@pytest.fixture
def kernels(monkeypatch):
    """Lets the interpreter take tensors on the CPU."""
    if DEVICE == "cpu":
        for module in (backends, operations):
            monkeypatch.setattr(module, "of_device", lambda tensor: "cuda")


@pytest.fixture
def few_registers(monkeypatch):
    """Lets every table take several launches."""
    cuda.plan.cache_clear()
    monkeypatch.setattr(cuda, "PREFERRED_REGISTERS", 0)
    monkeypatch.setattr(cuda, "MOST_REGISTERS", 0)
    yield
    cuda.plan.cache_clear()


def device_case(table: ProductTable, channels: int = 3, n_edges: int = 12, dtype: torch.dtype = torch.float64) -> Case:
    case = random_case(table, channels, n_edges, dtype)
    arguments = (t.detach().to(DEVICE).requires_grad_() for t in case.arguments)
    return Case(*arguments, case.edges.to(DEVICE), table)


def oracle(case: Case) -> Case:
    """The same case in float64."""
    arguments = (t.detach().to("cpu", torch.float64).requires_grad_() for t in case.arguments)
    return Case(*arguments, case.edges.to("cpu"), case.table)


def assert_agree(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        one, other = one.detach(), other.detach()
        largest = float(other.abs().max()) if other.numel() else 1.0
        tolerance = TOLERANCES[one.dtype] * max(1.0, largest)
        torch.testing.assert_close(one.to("cpu", torch.float64), other, atol=tolerance, rtol=0)


def messages_and_gradients(case: Case, backend: str) -> list[Tensor]:
    return [case.messages(backend), *torch.autograd.grad(case.scalar(backend), case.arguments)]


# --- the contraction -------------------------------------------------------------------------------------------------


@computes
@DTYPES
@pytest.mark.parametrize("channels", [3, 96])
@ALL_TABLES
def test_messages_and_gradients_are_those_of_the_oracle(kernels, table, channels, dtype):
    case = device_case(table, channels, dtype=dtype)
    assert_agree(messages_and_gradients(case, "cuda"), messages_and_gradients(oracle(case), "reference"))


@computes
@pytest.mark.parametrize("name", ["scalars", "natural"])
def test_tables_that_take_several_launches_give_the_same(kernels, few_registers, name):
    table = TABLES[name]
    for held in EDGE_KERNELS.values():
        _, parts = cuda.plan(held, table, torch.float64, 40)
        assert len(parts) > 1 and [n for part in parts for n in part.paths] == list(range(table.n_paths))
    case = device_case(table, 40, n_edges=4)
    assert_agree(second_order(case, "cuda"), second_order(oracle(case), "reference"))


def second_order(case: Case, backend: str) -> list[Tensor]:
    return derivatives(case.messages(backend).square().mean() + case.scalar(backend), case.arguments, 2)


@computes
@DTYPES
@pytest.mark.parametrize("name", ["scalars", "one path"])
def test_derivatives_of_three_orders_are_those_of_the_oracle(kernels, name, dtype):
    case = device_case(TABLES[name], n_edges=4, dtype=dtype)

    def everything(case: Case, backend: str) -> list[Tensor]:
        # A square makes all mixed derivatives differ from zero beyond the fourth order of S itself.
        return derivatives(case.messages(backend).square().mean() + case.scalar(backend), case.arguments, 3)

    expected = everything(oracle(case), "reference")
    assert all(bool((e != 0).any()) for e in expected)
    assert_agree(everything(case, "cuda"), expected)


@computes
def test_receivers_without_edges_get_zero_and_senders_without_edges_no_gradient(kernels):
    case = device_case(TABLES["natural"])
    assert bool((case.messages("cuda")[[2, 6]] == 0).all())
    (gradient,) = torch.autograd.grad(case.scalar("cuda"), case.states)
    assert bool((gradient[4] == 0).all()) and bool((gradient[:4] != 0).any())


@computes
def test_no_edges_give_zero(kernels):
    case = device_case(TABLES["natural"], n_edges=0)
    found = messages_and_gradients(case, "cuda")
    assert [g.shape for g in found[1:]] == [t.shape for t in case.arguments]
    assert bool((found[0] == 0).all()) and bool((found[1] == 0).all())


@computes
def test_layout_in_memory_does_not_matter(kernels):
    case = device_case(TABLES["natural"])
    strided = case.strided()
    found = [t.detach() for t in messages_and_gradients(strided, "cuda")]
    assert all(torch.equal(f, e) for f, e in zip(found, messages_and_gradients(case, "cuda"), strict=True))


@computes
def test_results_are_the_same_from_run_to_run(kernels):
    case = device_case(TABLES["natural"], 64, n_edges=60, dtype=torch.float32)
    first, second = messages_and_gradients(case, "cuda"), messages_and_gradients(case, "cuda")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@computes
def test_derivatives_pass_gradcheck(kernels):
    case = device_case(TABLES["natural"], channels=1, n_edges=3)

    def messages(states: Tensor, harmonics: Tensor, radial: Tensor) -> Tensor:
        return contract(states, harmonics, radial, case.edges, case.table, "cuda")

    assert torch.autograd.gradcheck(messages, case.arguments[:3], fast_mode=True)
    assert torch.autograd.gradgradcheck(messages, case.arguments[:3], fast_mode=True)


# --- radial weights made of splines -----------------------------------------------------------------------------------


@computes
@DTYPES
@pytest.mark.parametrize("degree", [3, 7])
@pytest.mark.parametrize(("name", "channels"), [("scalars", 48), ("natural", 3)])
def test_spline_messages_and_gradients_are_those_of_the_oracle(kernels, name, channels, degree, dtype):
    table = TABLES[name]
    case = device_case(table, channels, dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    coefficients = torch.randn(degree + 6, table.n_paths * channels, generator=generator, dtype=dtype).to(DEVICE)
    rows = torch.randint(0, 6, (case.edges.n_edges,), generator=generator).to(DEVICE)
    places = torch.rand(case.edges.n_edges, generator=generator, dtype=dtype).to(DEVICE).requires_grad_()
    weights = SplineWeights(places, rows, coefficients, degree)
    messages = spline_contract(case.states, case.harmonics, weights, case.edges, table)
    arguments = (case.states, case.harmonics, places)
    found = [messages, *torch.autograd.grad((messages * case.upstream).sum(), arguments)]

    wanted = [t.detach().to("cpu", torch.float64).requires_grad_() for t in (*arguments, case.upstream)]
    powers = wanted[2].unsqueeze(1) ** torch.arange(degree + 1)
    basis = powers @ torch.from_numpy(basis_polynomials(degree)).T  # (E, degree + 1)
    taken = coefficients.cpu().double()[rows.cpu().unsqueeze(1) + torch.arange(degree + 1)]  # (E, degree + 1, P C)
    radial = torch.einsum("eq,eqf->ef", basis, taken).view(len(rows), table.n_paths, channels)
    expected = contract(wanted[0], wanted[1], radial, case.edges.to("cpu"), table, "reference")
    expected = [expected, *torch.autograd.grad((expected * wanted[3]).sum(), wanted[:3])]
    assert_agree(found, expected)


@computes
@pytest.mark.parametrize("settings", [{"max_degree_edges": 1}, *([] if INTERPRETED else NETWORKS)], ids=str)
def test_networks_by_radial_tables_are_those_of_autograd(settings):
    own = potential(torch.float64, **{"channels": 2, "radial_width": 6, **settings})
    own.network.to(DEVICE)
    for atoms in structures()[: 1 if INTERPRETED else None]:
        graph = neighbour_graph(atoms, own.cutoff + SKIN, device=DEVICE)
        found, wanted = NBodySplines()(own.network, graph, Timings()), predict(own, graph, differentiable=True)
        torch.testing.assert_close(-own.energy_scale * found.positions, wanted.forces.detach(), atol=1e-8, rtol=0)
        energies = own.energy_scale * found.energies + own.reference_energies_by_number()[graph.atomic_numbers]
        torch.testing.assert_close(energies, wanted.energies.detach(), atol=1e-8, rtol=0)
        vectors = NBodySplines()(own.network, replace(graph, vectors=edge_vectors(graph)), Timings()).vectors
        sums = sender_sums(vectors, graph.edges) - receiver_sums(vectors, graph.edges)
        torch.testing.assert_close(sums, found.positions, atol=1e-12, rtol=0)


# --- the node product ------------------------------------------------------------------------------------------------


@computes
@DTYPES
@pytest.mark.parametrize("channels", [3, 96])
@pytest.mark.parametrize("name", ["scalars", "natural", "one path"])
def test_products_are_those_of_the_oracle_to_the_third_derivative(kernels, name, channels, dtype):
    table = TABLES[name]
    factors = [t.detach().to(DEVICE).requires_grad_() for t in random_factors(table, channels, dtype=dtype)]
    doubles = [t.detach().to("cpu", torch.float64).requires_grad_() for t in factors]

    def everything(factors: list[Tensor], backend: str) -> list[Tensor]:
        product = node_product(factors[0], factors[1], table, backend)
        return derivatives(product.square().mean() + (product * factors[2]).mean(), tuple(factors), 3)

    assert_agree(everything(factors, "cuda"), everything(doubles, "reference"))


@computes
def test_products_of_no_nodes_are_empty(kernels):
    first, second, _ = (t.to(DEVICE) for t in random_factors(TABLES["natural"], nodes=0))
    assert node_product(first, second, TABLES["natural"], "cuda").shape == (0, TABLES["natural"].n_output, 3)


# --- source, compiled for GPUs that need not be there ---------------------------------------------------------------


def compiled_text(code, arguments: tuple, dtype: torch.dtype, capability: int, tmp_path: Path) -> tuple[str, int]:
    """PTX of a kernel, and bytes of a thread's stack, to which values that do not fit in registers go."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kernel = cuda.compiled(code, *arguments)
    number = {torch.float32: "*fp32", torch.float64: "*fp64"}[dtype]
    signature = {
        name: "*i64" if name in ("offsets", "senders", "order", "starts") else number for name in kernel.arg_names
    }
    made = triton.compile(ASTSource(kernel, signature), GPUTarget("cuda", capability, 32), cuda.OPTIONS)
    (tmp_path / "kernel.cubin").write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    usage = subprocess.run([tool, "-res-usage", tmp_path / "kernel.cubin"], capture_output=True, text=True, check=True)
    return made.asm["ptx"], int(re.search(r"STACK:(\d+)", usage.stdout)[1])


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    if not HAS_TRITON or INTERPRETED:
        pytest.skip("needs Triton, not interpreted")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    return lambda *arguments: compiled_text(*arguments, tmp_path)


@pytest.mark.parametrize("code", EDGE_KERNELS, ids=lambda code: code.__name__)
@pytest.mark.parametrize("table", MEDIUM.values(), ids=MEDIUM)
def test_edge_kernels_of_the_medium_preset_stay_in_registers_and_use_no_atomics(compiler, code, table):
    layout, parts = cuda.plan(EDGE_KERNELS[code], table, torch.float32, 64)
    assert len(parts) == 1 and layout == Layout(64, 64)
    ptx, stack = compiler(code, (table, parts[0], layout), torch.float32, 90)
    assert stack == 0
    assert not re.search(r"\s(atom|red|bar)\.", ptx)
    assert "fma.rn.f32" in ptx and ".f64" not in ptx


@pytest.mark.parametrize("code", [kernel_code.messages, kernel_code.gradients], ids=lambda code: code.__name__)
def test_edge_kernels_with_splines_stay_in_registers(compiler, code):
    """The second level of the preset medium, whose states have degree 2."""
    table, degree = product_table(natural_irreps(2), natural_irreps(3), natural_irreps(3)), 3
    slopes = 1 if code is kernel_code.messages else 2
    held = EDGE_KERNELS[code]._replace(edge=slopes * (degree + 1))
    layout, parts = cuda.plan(held, table, torch.float32, 48)
    for part in parts:
        ptx, stack = compiler(code, (table, part, layout, Splined(degree)), torch.float32, 90)
        assert stack <= 64
        assert not re.search(r"\s(atom|red|bar)\.", ptx)


@pytest.mark.parametrize(
    "code",
    [kernel_code.products, kernel_code.product_gradients, kernel_code.product_tangents],
    ids=lambda c: c.__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_products_of_the_medium_preset_stay_in_registers(compiler, code, dtype):
    layout = Layout(64, 64 if dtype == torch.float32 else 32)
    ptx, stack = compiler(code, (MEDIUM_PRODUCT, layout), dtype, 80)
    assert stack == 0
    assert f"fma.rn.f{torch.finfo(dtype).bits}" in ptx


def test_sums_over_nodes_compile(compiler):
    ptx, stack = compiler(kernel_code.sums, (Layout(256, 64),), torch.float64, 80)
    assert stack == 0 and "add.f64" in ptx


def test_coefficients_keep_float64_precision(compiler):
    """A coefficient that passed through float32 would have zeros in its last 29 bits."""
    ptx, _ = compiler(kernel_code.products, (TABLES["natural"], Layout(64, 32)), torch.float64, 80)
    values = [int(v, 16) for v in re.findall(r"0d([0-9A-F]{16})", ptx)]
    irrational = {e.value for e in entries(TABLES["natural"]) if e.value != 1}
    assert len(values) >= len(irrational) // 2 and any(v & 0x1FFFFFFF for v in values)


# --- which back end --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Somewhere:
    """Stands for a tensor on a device that this machine may not have."""

    device: torch.device


@pytest.mark.parametrize(
    ("device", "has_triton", "chosen"),
    [("cpu", True, "cpu"), ("cuda:1", True, "cuda"), ("cuda:1", False, "reference"), ("mps", True, "reference")],
)
def test_the_back_end_is_that_of_the_device(monkeypatch, device, has_triton, chosen):
    monkeypatch.setattr(cuda, "has_triton", lambda: has_triton)
    states = Somewhere(torch.device(device))
    assert backends.chosen("auto", states) == chosen
    assert backends.chosen(chosen, states) == chosen
    assert backends.chosen("reference", states) == "reference"


@pytest.mark.parametrize(
    ("backend", "device", "has_triton", "message"),
    [
        ("cuda", "cpu", True, "the cuda back end does not take tensors on cpu; choose auto, reference or cpu"),
        ("cpu", "cuda:0", True, "the cpu back end does not take tensors on cuda:0; choose auto, reference or cuda"),
        (
            "cuda",
            "cuda:0",
            False,
            "on cuda:0 without Triton 3.3 or newer .pip install triton.; choose auto or reference",
        ),
        ("gpu", "cuda:0", True, "back end 'gpu' is not there; choose auto, reference, cpu or cuda"),
    ],
)
def test_back_ends_that_do_not_fit_are_refused(monkeypatch, backend, device, has_triton, message):
    monkeypatch.setattr(cuda, "has_triton", lambda: has_triton)
    with pytest.raises(ValueError, match=message):
        backends.chosen(backend, Somewhere(torch.device(device)))


@pytest.mark.parametrize(("number", "enough"), [("3.2.0", False), ("3.3.0", True), ("3.10.1+git1", True)])
def test_triton_must_keep_float64_constants(monkeypatch, number, enough):
    monkeypatch.setattr(cuda, "find_spec", lambda name: name)
    monkeypatch.setattr(cuda, "import_module", lambda name: SimpleNamespace(__version__=number))
    assert cuda.has_triton.__wrapped__() == enough
