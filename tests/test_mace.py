"""MACE: imported models give mace-torch's own numbers, contractions are covariant, and what cannot be is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from command_line import run_command
from wigner import REFLECTION, wigner

from ase_nbody.algebra import Irrep, natural_irreps
from ase_nbody.algebra.polynomials import PolynomialTable, basis, coefficients, monomials, terms
from ase_nbody.architectures import evaluation
from ase_nbody.architectures.mace import MaceNetwork
from ase_nbody.architectures.mace_radial import agnesi
from ase_nbody.architectures.mace_repulsion import repulsion_energies
from ase_nbody.architectures.mace_settings import MaceSettings
from ase_nbody.graph import edge_vectors
from ase_nbody.importers import mace
from ase_nbody.importers.exported import Exported, largest_difference, read_exported
from ase_nbody.importers.mace import imported_potential
from ase_nbody.math.zbl import zbl_energy
from ase_nbody.model_file import load_model
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.timings import Timings

TESTS = Path(__file__).parent
MODELS = ("residual", "plain", "density", "nonlinear")
SAME = 1e-8  # relative, in float64


def exported(name: str) -> Exported:
    """What mace's own environment wrote, benchmarks/mace/small_models.py."""
    return read_exported(TESTS / f"mace_{name}.npz")


def structure(found: Exported, number: int) -> Atoms:
    numbers, positions, cell, pbc = (
        found.arrays[f"structure{number}.{part}"] for part in ("numbers", "positions", "cell", "pbc")
    )
    return Atoms(numbers, positions=positions, cell=cell, pbc=pbc)


@pytest.mark.parametrize("name", MODELS)
def test_imported_models_give_the_numbers_of_mace(name: str) -> None:
    found = exported(name)
    potential = imported_potential(found)
    single = replace(potential, network=MaceNetwork(potential.network.settings, torch.Generator()))
    single.network.load_state_dict(potential.network.state_dict())
    for number in range(found.description["n_structures"]):
        atoms = structure(found, number)
        energy, forces = (found.arrays[f"structure{number}.{part}"] for part in ("energy", "forces"))
        largest = max(float(np.abs(forces).max()), 1e-3)
        for one, dtype, differentiable, tolerance in (
            (potential, torch.float64, True, SAME),
            (potential, torch.float64, False, SAME),
            (single, torch.float32, False, 1e-4),
        ):
            graph = neighbour_graph(atoms, one.cutoff, dtype=dtype)
            got = predict(one, graph, differentiable=differentiable)
            assert float(got.energy[0].detach()) == pytest.approx(float(energy), rel=tolerance)
            assert np.abs(got.forces.detach().numpy() - forces).max() < tolerance * largest
            if atoms.pbc.all():
                stress = found.arrays[f"structure{number}.stress"]
                assert np.abs(got.stress[0].detach().numpy() - stress).max() < tolerance * np.abs(stress).max()


def test_an_import_that_differs_is_not_made() -> None:
    found = exported("plain")
    wrong = dict(found.arrays) | {"layer1.after": found.arrays["layer1.after"] * 1.001}
    with pytest.raises(ValueError, match="the imported model differs from the original"):
        imported_potential(replace(found, arrays=wrong))


@pytest.mark.parametrize("part", ["energy", "forces", "stress"])
def test_each_number_of_each_structure_is_compared(part: str) -> None:
    found = exported("plain")
    wrong = dict(found.arrays) | {f"structure1.{part}": found.arrays[f"structure1.{part}"] * (1 + 1e-6)}
    with pytest.raises(ValueError, match=rf"differs from the original.*{part} by \d\.\de-0[1-7]"):
        imported_potential(replace(found, arrays=wrong))
    potential = imported_potential(found)
    assert (
        largest_difference(potential, found) < SAME < 1e-7 < largest_difference(potential, replace(found, arrays=wrong))
    )


def test_a_contraction_that_is_not_covariant_is_refused() -> None:
    found = exported("plain")
    name = "layer0.coupling.0e.2"
    coupling = found.arrays[name].copy()
    coupling[0, 1, 2] += 0.5
    with pytest.raises(ValueError, match="contraction of 2 factors to 0e is not covariant"):
        imported_potential(replace(found, arrays=dict(found.arrays) | {name: coupling}))


# --- the network -----------------------------------------------------------------------------------------------------

SMALL = {"elements": ("H", "O"), "cutoff": 3.5, "states": "8x0e+8x1o", "radial_widths": (7,), "bessel_functions": 4}


def crystal() -> Atoms:
    atoms = bulk("O", "fcc", a=3.4, cubic=True)
    atoms.symbols[1] = "H"
    atoms.rattle(0.1, seed=0)
    return atoms


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"first_interaction": "plain", "states": "8x0e", "layers": 3, "envelope_of_weights": True},
        {"first_interaction": "density", "interaction": "density_residual", "distance_transform": "agnesi"},
        {"layers": 1, "correlation": 1, "repulsion": True, "max_degree": 1},
        {
            **{"first_interaction": "nonlinear", "interaction": "nonlinear", "envelope_of_weights": True},
            **{"edge_states": ("3x0e", "2x0e+2x1o+2x2e"), "readout_depth": 2, "readout_of_all_layers": False},
            **{"contraction_by_element": False, "states": "8x0e+8x1o+8x2e"},
        },
    ],
    ids=str,
)
def test_compiled_evaluation_is_that_of_autograd(settings: dict[str, object]) -> None:
    chosen = MaceSettings(**{**SMALL, **settings})
    network = MaceNetwork(chosen, torch.Generator().manual_seed(0)).double()
    network.energy_scales.copy_(torch.tensor([0.7, 1.2]))
    graph = neighbour_graph(crystal(), 4.0, dtype=torch.float64)
    positions = graph.positions.clone().requires_grad_()
    energies = network(replace(graph, positions=positions))
    (slopes,) = torch.autograd.grad(energies.sum(), positions)
    found = network.gradients(graph, Timings())
    assert float(slopes.abs().max()) > 1e-3
    torch.testing.assert_close(found.energies, energies.detach(), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.positions, slopes, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("interaction", "without"),
    [("residual", {"ContractSymmetric"}), ("density_residual", {"ContractSymmetric", "Divide"})],
)
def test_it_is_trained_by_autograd_where_steps_have_no_tangents(interaction: str, without: set[str]) -> None:
    chosen = {**SMALL, "layers": 1, "first_interaction": interaction}
    network = MaceNetwork(MaceSettings(**chosen), torch.Generator().manual_seed(0))
    lacking = [step for step in network.description().steps if not step.has_tangents]
    assert {type(step).__name__ for step in lacking} == without
    assert network.trainable_gradients(neighbour_graph(crystal(), 3.5, dtype=torch.float32)) is None
    for step in lacking:
        with pytest.raises(NotImplementedError, match="has no tangents: train by autograd"):
            step.dual(None)


def test_tables_of_pairs_do_not_keep_all_elements_ever_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_MANY_KINDS", 2)
    chosen = {**SMALL, "distance_transform": "agnesi", "elements": ("H", "O", "C")}
    network = MaceNetwork(MaceSettings(**chosen), torch.Generator().manual_seed(0)).double()
    met = []
    for symbols in ("HH", "OO", "CC"):
        atoms = Atoms(symbols, [[0, 0, 0], [0, 0, 1.1]])
        network.gradients(neighbour_graph(atoms, 3.5, dtype=torch.float64), Timings())
        met.append(set(network._evaluation._loaded[False].types))
    assert met == [{0}, {0, 1}, {2}]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_tables_of_transformed_distances_are_small_and_the_same_whatever_was_met(dtype: torch.dtype) -> None:
    chosen = {**SMALL, "distance_transform": "agnesi", "elements": ("H", "He", "O", "Cs"), "cutoff": 6.0}
    first, other = (MaceNetwork(MaceSettings(**chosen), torch.Generator().manual_seed(0)).to(dtype) for _ in range(2))
    graphs = [
        neighbour_graph(Atoms(symbols, [[0, 0, 0], [0, 0, 0.7], [0.3, 2.1, 0.2]]), 6.0, dtype=dtype)
        for symbols in ("HeOH", "CsHO")
    ]
    alone = first.gradients(graphs[1], Timings())
    other.gradients(graphs[0], Timings())
    after = other.gradients(graphs[1], Timings())
    rounding = 20 * torch.finfo(dtype).eps
    for one, same in ((after.energies, alone.energies), (after.positions, alone.positions)):
        torch.testing.assert_close(one, same, rtol=0, atol=rounding)
    loaded = other._evaluation._loaded[False]
    assert loaded.kinds == 16
    assert loaded.program.dtype == dtype and loaded.arrays["tables"].max() < 15 * 400


def test_weights_for_some_elements_have_their_isolated_energies_only() -> None:
    settings = {**SMALL, "first_interaction": "plain", "readout_of_all_layers": False}
    network = MaceNetwork(MaceSettings(**settings), torch.Generator().manual_seed(0))
    network.embedding.data += 1.0
    whole, some = (network.step_weights(elements).vectors["isolated"][:, 0] for elements in (None, {1}))
    torch.testing.assert_close(some[1], whole[1], rtol=0, atol=0)
    assert some[0].isnan() and not whole.isnan().any()


def test_repulsion_is_screened_more_than_zbl_and_ends_at_the_covalent_radii() -> None:
    distances = np.array([0.01, 0.1, 0.8, 1.3, 1.33, 1.6])  # twice the radius of oxygen is 1.32 angstrom
    energies = []
    for distance in distances:
        graph = neighbour_graph(Atoms("OO", [[0, 0, 0], [0, 0, distance]]), 3.0, dtype=torch.float64)
        energies.append(float(repulsion_energies(graph, 5).sum()))
    eight = torch.full((2,), 8.0, dtype=torch.float64)
    zbl = zbl_energy(torch.as_tensor(distances[:2]), eight, eight).tolist()
    assert 0.9 * zbl[0] < energies[0] < zbl[0] and energies[1] < zbl[1]
    assert energies[2] > energies[3] > 0 and energies[4:] == [0, 0]


def test_repulsion_belongs_to_the_energies_whose_gradients_are_compiled() -> None:
    settings = MaceSettings(**{**SMALL, "layers": 1, "repulsion": True})
    network = MaceNetwork(settings, torch.Generator().manual_seed(0)).double()
    graph = neighbour_graph(Atoms("OH", [[0, 0, 0], [0.1, 0.2, 0.8]]), 4.0, dtype=torch.float64)
    without = MaceNetwork(settings.model_copy(update={"repulsion": False}), torch.Generator().manual_seed(0)).double()
    more = network.gradients(graph, Timings()).energies - without.gradients(graph, Timings()).energies
    torch.testing.assert_close(more, repulsion_energies(graph, settings.envelope_power))
    assert float(more[0]) == pytest.approx(float(more[1])) and float(more[0]) > 1e-2


def test_repulsion_has_forces_and_stress() -> None:
    settings = MaceSettings(**{**SMALL, "layers": 1, "correlation": 1, "max_degree": 1, "repulsion": True})
    network = MaceNetwork(settings, torch.Generator().manual_seed(0)).double()
    potential = Potential(network, {"H": 0.0, "O": 0.0}, 1.0)
    cell = [[3.3, 0.1, 0.0], [0.4, 3.5, -0.2], [0.1, 0.3, 3.4]]
    atoms = Atoms("OHO", [[0, 0, 0], [0.1, 0.2, 0.8], [1.0, 0.3, -0.4]], cell=cell, pbc=True)
    graph = neighbour_graph(atoms, 3.5, dtype=torch.float64)
    exact, compiled = (predict(potential, graph, differentiable=differentiable) for differentiable in (True, False))
    torch.testing.assert_close(compiled.forces, exact.forces.detach(), rtol=0, atol=1e-7)
    torch.testing.assert_close(compiled.stress, exact.stress.detach(), rtol=0, atol=1e-8)
    vectors = edge_vectors(graph).requires_grad_()
    given = replace(graph, vectors=vectors)
    (slopes,) = torch.autograd.grad(network(given).sum(), vectors)
    found = network.gradients(replace(graph, vectors=vectors.detach()), Timings())
    torch.testing.assert_close(found.vectors, slopes, rtol=0, atol=1e-7)
    assert float(slopes.abs().max()) > 0.5  # eV/angstrom; without the repulsion 0.03


def test_agnesis_function_falls_from_one() -> None:
    settings = MaceSettings(**{**SMALL, "distance_transform": "agnesi"})
    r = torch.tensor([0.0, 0.5, 1.0, 2.0, 5.0], dtype=torch.float64)[:, None, None]
    values = agnesi(r, [0, 1, 3], settings)[..., 0]  # H-H, H-O, O-O
    assert (values[0] == 1).all() and (values.diff(dim=0) < 0).all()
    assert (values[2].diff() > 0).all()  # larger atoms see shorter distances
    half = 0.66 * torch.ones(1, 1, 1, dtype=torch.float64)  # at the mean radius of two oxygen atoms
    assert float(agnesi(half, [3], settings)) == pytest.approx(1 / (1 + 1.0805 / 2))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"states": "8x1o"}, "states must be 0e, 1o, 2e"),
        ({"states": "8x0e+4x1o"}, "with equal channels"),
        ({"edge_states": ("8x0e",)}, "edge_states must be one for each of 2 layers"),
        ({"interaction": "nonlinear"}, "set envelope_of_weights"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        MaceSettings(**{**SMALL, **settings})


# --- polynomials -----------------------------------------------------------------------------------------------------

IRREPS = natural_irreps(2)


def values(polynomials: np.ndarray, components: np.ndarray, factors: int) -> np.ndarray:
    """Of a state of one channel, (polynomials, 2l + 1)."""
    products = np.array([np.prod(components[list(m)]) for m in monomials(len(components), factors)])
    return polynomials @ products


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("result", [Irrep(0, 1), Irrep(1, -1), Irrep(2, 1), Irrep(1, 1)], ids=str)
def test_polynomials_turn_as_their_irrep(factors: int, result: Irrep) -> None:
    polynomials = basis(IRREPS, factors, result)
    components = np.random.default_rng(0).normal(size=9)
    turned = wigner("0e+1o+2e", REFLECTION).numpy() @ components
    expected = values(polynomials, components, factors) @ wigner(str(result), REFLECTION).numpy().T
    assert np.allclose(values(polynomials, turned, factors), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("result", [Irrep(0, 1), Irrep(1, -1), Irrep(2, 1)], ids=str)
def test_there_are_as_many_polynomials_as_characters_say(result: Irrep) -> None:
    """The multiplicity of an irrep in the symmetric powers of 0e+1o+2e+3o, from averages of characters over O(3)."""
    degrees = np.arange(4)
    angles = np.linspace(0, np.pi, 2001)
    density = (1 - np.cos(angles)) / np.pi

    def character(angle: np.ndarray, irrep_degrees: np.ndarray, parity: int) -> np.ndarray:
        m = np.arange(-4, 5)[:, None, None]
        inside = np.abs(m) <= irrep_degrees[None, :, None]
        signs = np.where(irrep_degrees % 2 == 1, parity, 1)[None, :, None]
        return (np.cos(m * angle[None, None]) * inside * signs).sum(axis=(0, 1))

    for factors in (1, 2, 3):
        averages = []
        for parity in (1, -1):
            powers = [character(n * angles, degrees, parity**n) for n in (1, 2, 3)]
            x, y, z = powers
            symmetric = (x, (x**2 + y) / 2, (x**3 + 3 * x * y + 2 * z) / 6)[factors - 1]
            own = character(angles, np.array([result.degree]), parity)
            averages.append(np.trapezoid(symmetric * own * density, angles))
        assert len(basis(natural_irreps(3), factors, result)) == round(np.mean(averages)), factors


def test_polynomials_are_independent_and_all_terms_have_coefficients() -> None:
    table = PolynomialTable(IRREPS, (Irrep(0, 1), Irrep(1, -1)), 3)
    first = number = 0
    for result in table.results:
        for factors in table.orders:
            polynomials, of_terms = basis(IRREPS, factors, result), coefficients(table, result, factors)
            assert np.linalg.matrix_rank(of_terms) == len(of_terms) == len(polynomials)
            places = {name: place for place, name in enumerate(monomials(9, factors))}
            made = np.zeros_like(polynomials)
            for term, of_polynomials in zip(terms(table)[number:], of_terms.T, strict=False):
                made[:, term.output - first, places[term.monomial]] = of_polynomials
            np.testing.assert_array_equal(made, polynomials)
            number += of_terms.shape[1]
        first += result.dimension
    assert number == len(terms(table))


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_imports_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found, asked = exported("density"), []
    monkeypatch.setattr(mace, "exported_model", lambda path, python, head: asked.append(head) or found)
    theirs, ours = tmp_path / "theirs.model", tmp_path / "ours.safetensors"
    theirs.write_bytes(b"never opened here")
    python = ("--python", sys.executable)
    for wrong, sentence in (
        (["mace", theirs], "opened by its own package: name its interpreter"),
        (["mace", theirs, *python, "--modality", "PBE"], "models of mace have no modalities"),
        (["sevennet", theirs, "--head", "PBE"], "models of sevennet have no heads"),
    ):
        status, _, error = run_command(monkeypatch, capsys, "import", *wrong, "--output", ours)
        assert status != 0 and sentence in " ".join(error.split()) and not ours.exists()
    status, out, error = run_command(
        monkeypatch, capsys, "import", "mace", theirs, *python, "--head", "other", "--output", ours
    )
    assert status == 0, error
    assert asked == ["other"] and "mace-torch 0.3.16" in out
    potential, information = load_model(ours)
    assert information.architecture == "mace" and information.method == "other"
    graph = neighbour_graph(structure(found, 0), potential.cutoff, dtype=potential.dtype)
    expected = float(found.arrays["structure0.energy"])
    assert float(predict(potential, graph).energy[0]) == pytest.approx(expected, rel=1e-8)
