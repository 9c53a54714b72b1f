"""The physics list of DESIGN section 4, over every architecture and the variants of the N-body network.

The laws are those of `ase_nbody.simulation.laws`; deliberately broken networks at the end of this file show that each
of them notices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from broken_networks import (
    CUTOFF,
    REFERENCE_ENERGIES,
    broken,
    ends_at_the_cutoff,
    forgets_a_derivative,
    forgets_the_shifts,
    has_a_constant,
    sees_handedness,
    sees_the_batch,
    sees_the_order,
    sees_the_origin,
    sees_the_size,
    sees_the_x_axis,
)
from torch import Tensor
from wigner import INVERSION, REFLECTION, ROTATION, wigner

from ase_nbody.architectures import architectures
from ase_nbody.graph import Graph, batch_graphs
from ase_nbody.hessian import hessian
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict
from ase_nbody.predictions import Prediction
from ase_nbody.repulsion import Repulsion
from ase_nbody.scheme import bonded_groups
from ase_nbody.simulation import laws
from ase_nbody.simulation.laws import Evaluate, Results, largest

# Tolerances in eV, eV/angstrom and eV/angstrom^3. Seen at most: 1e-12 and, where forces are 20 eV/angstrom, 1.4e-4.
SYMMETRY_TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-4}
FORCE_TOLERANCE = 1e-6
STRESS_TOLERANCE = 1e-7
HESSIAN_TOLERANCE = 1e-5  # eV/angstrom^2
SUM_TOLERANCE = 1e-9  # eV, of 1e4 eV summed in float64
NVE_SCALE = 0.02  # eV: makes random networks so soft that 1 fs is a short time step
NVE_RATIO_TOLERANCE = 0.05  # of 4, seen within 0.01

SMALL = {
    **{"channels": 4, "radial_width": 6, "bessel_functions": 4, "max_degree_edges": 2},
    **{"features": 16, "filters": 16, "interactions": 2, "gaussians": 12},
    **{"blocks": 2, "triplet_width": 8, "output_width": 16, "radial_functions": 4, "angular_functions": 4},
}
BOTH_DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


# --- potentials ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """An architecture, the settings that differ from its tiny preset, and whether neighbours repel each other."""

    architecture: str
    settings: dict[str, object]
    repulsion: Repulsion | None = None

    @property
    def finite_systems_only(self) -> bool:
        return self.settings.get("scheme") == "fragments"

    def potential(self, dtype: torch.dtype = torch.float64, seed: int = 0, scale: float = 1.0) -> Potential:
        architecture = architectures()[self.architecture]
        tiny = {name: value for name, value in SMALL.items() if name in architecture.settings.model_fields}
        chosen = {**architecture.presets["small"], **tiny, **self.settings}
        settings = architecture.settings(elements=tuple(REFERENCE_ENERGIES), cutoff=CUTOFF, **chosen)
        network = architecture.network(settings, torch.Generator().manual_seed(seed))
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in network.named_parameters():
            if not parameter.any():  # trained networks have biases, new ones have zeros
                torch.nn.init.normal_(parameter, std=0.5, generator=generator)
            elif name.endswith("readout"):  # new ones are small
                parameter.data.mul_(10.0)
        return Potential(network.to(dtype), REFERENCE_ENERGIES, scale, self.repulsion)


# Most neighbours of the structures below are closer than this.
REPULSION = Repulsion({"C-C": 1.9, "C-H": 1.6, "C-O": 1.6, "H-H": 1.7, "H-O": 1.05, "O-O": 2.5})

VARIANTS = {name: Variant(name, {}) for name in architectures()} | {
    "nbody, strict": Variant("nbody", {"radial": "strict"}),
    "nbody, pairs": Variant("nbody", {"pairs": True, "body_order": 2}),
    "nbody, 2 bodies": Variant("nbody", {"body_order": 2}),
    "nbody, 3 bodies, 3 levels": Variant("nbody", {"body_order": 3, "levels": 3}),
    "nbody, quadrupoles": Variant("nbody", {"max_degree_states": 2}),
    "nbody, fragments": Variant("nbody", {"scheme": "fragments"}),
    "nbody, fragments, strict pairs": Variant("nbody", {"scheme": "fragments", "radial": "strict", "pairs": True}),
    "nequip, invariant": Variant("nequip", {"max_degree": 0}),
    "nequip, natural parity": Variant("nequip", {"max_degree": 2, "parity": False, "readout_depth": 1}),
    "mace, density": Variant(
        "mace",
        {
            **{"first_interaction": "density", "interaction": "density_residual", "states": "4x0e+4x1o"},
            **{"distance_transform": "agnesi", "repulsion": True, "correlation": 2},
        },
    ),
    "mace, nonlinear": Variant(
        "mace",
        {
            **{"first_interaction": "nonlinear", "interaction": "nonlinear", "envelope_of_weights": True},
            **{"states": "4x0e+4x1o", "correlation": 2, "contraction_by_element": False, "readout_depth": 2},
        },
    ),
    "nbody, repulsion": Variant("nbody", {}, REPULSION),
    "dimenet_pp, repulsion": Variant("dimenet_pp", {}, REPULSION),
    "nbody, fragments, repulsion": Variant("nbody", {"scheme": "fragments"}, REPULSION),
}
PERIODIC = {name: variant for name, variant in VARIANTS.items() if not variant.finite_systems_only}
EVERY = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
# NVE is followed with soft networks, and the repulsion is not soft.
SLOW_VARIANTS = [
    pytest.param(variant, id=name, marks=() if name in architectures() else pytest.mark.slow)
    for name, variant in VARIANTS.items()
    if variant.repulsion is None
]
EVERY_PERIODIC = pytest.mark.parametrize("variant", PERIODIC.values(), ids=PERIODIC)


def needs_groups(potential: Potential) -> bool:
    return getattr(potential.network.settings, "scheme", None) == "fragments"


def graph_of(potential: Potential, atoms: Atoms) -> Graph:
    """The structure's graph; groups, where the network needs them, are those stored in it, or its molecules."""
    groups = atoms.arrays.get("groups") if needs_groups(potential) else None
    return neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype, groups=groups)


def evaluated(potential: Potential, *structures: Atoms) -> Prediction:
    return predict(potential, batch_graphs([graph_of(potential, atoms) for atoms in structures]))


def evaluator(potential: Potential) -> Evaluate:
    """Results by autograd, as the laws want them; a structure without stress has none."""

    def evaluate(structures: Sequence[Atoms]) -> list[Results]:
        found = evaluated(potential, *structures)
        sizes = [len(atoms) for atoms in structures]
        parts = zip(found.energies.split(sizes), found.forces.split(sizes), strict=True)
        results: list[Results] = []
        for (energies, forces), energy, stress in zip(parts, found.energy, found.stress, strict=True):
            results.append({"energy": float(energy), "energies": energies.numpy(), "forces": forces.double().numpy()})
            if not stress.isnan().all():
                results[-1]["stress"] = full_3x3_to_voigt_6_stress(stress.double().numpy())
        return results

    return evaluate


class PotentialCalculator(Calculator):
    """Energy and forces of a potential, with a fresh neighbour list each time."""

    implemented_properties = ("energy", "forces")

    def __init__(self, potential: Potential) -> None:
        super().__init__()
        self.evaluate = evaluator(potential)

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        super().calculate(atoms, properties, system_changes)
        self.results = self.evaluate([atoms])[0]


# --- structures ------------------------------------------------------------------------------------------------------


def with_groups(atoms: Atoms) -> Atoms:
    """The same, with its molecules as groups that stay when atoms move."""
    atoms.set_array("groups", np.asarray(bonded_groups(neighbour_graph(atoms, 4.0))))
    return atoms


def rattled(atoms: Atoms, size: float = 0.05, seed: int = 0) -> Atoms:
    atoms.positions += np.random.default_rng(seed).normal(scale=size, size=atoms.positions.shape)
    return atoms


def water_dimer() -> Atoms:
    first, second = molecule("H2O"), molecule("H2O")
    second.rotate(50, "x")
    second.translate([0.4, 0.3, 2.2])
    return with_groups(rattled(first + second))


def methanol() -> Atoms:
    return with_groups(rattled(molecule("CH3OH")))


def crystal() -> Atoms:
    """Two atoms in a primitive cell, smaller than the cutoff."""
    atoms = bulk("C", "diamond", a=3.4)
    atoms.symbols[1] = "O"
    return rattled(atoms)


def triclinic() -> Atoms:
    atoms = crystal()
    atoms.set_cell(atoms.cell.array @ [[1.0, 0.08, -0.05], [0.03, 0.95, 0.1], [0.02, 0.0, 1.06]], scale_atoms=True)
    return atoms


def left_handed() -> Atoms:
    atoms = triclinic()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    assert np.linalg.det(atoms.cell.array) < 0
    return atoms


def slab() -> Atoms:
    atoms = fcc111("C", size=(1, 1, 3), a=3.0, vacuum=3.0)
    atoms.symbols[2] = "H"
    return rattled(atoms)


def far_water() -> Atoms:
    water = with_groups(rattled(molecule("H2O"), seed=3))
    water.translate([40.0, 10.0, -20.0])
    return water


# --- with what the laws are asked ------------------------------------------------------------------------------------

SHIFT = np.array([0.37, -1.21, 2.9])  # angstrom
REVERSED = np.arange(6)[::-1]
FAR_CELLS = np.array([[5, 4, 6], [-2, 0, 3]])


def net_force_and_torque(potential: Potential, atoms: Atoms) -> float:
    forces = evaluated(potential, atoms).forces.double().numpy()
    torque = np.cross(atoms.positions, forces).sum(axis=0)
    return largest(forces.sum(axis=0), torque if not atoms.pbc.any() else 0.0)


def roughness(potential: Potential) -> float:
    return largest(laws.roughness_at_cutoff(evaluator(potential), "COH", potential.cutoff))


def nve_ratio(potential: Potential) -> float:
    return laws.nve_ratio(PotentialCalculator(potential), water_dimer(), timestep=1.0, duration=40.0, seed=4)


# --- the laws hold ---------------------------------------------------------------------------------------------------


@BOTH_DTYPES
@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"])
@EVERY
def test_rotation_and_reflection(variant, matrix, dtype):
    potential = variant.potential(dtype)
    for atoms in (water_dimer(), *(() if variant.finite_systems_only else (triclinic(), slab()))):
        assert laws.change_under(evaluator(potential), atoms, matrix) < SYMMETRY_TOLERANCE[dtype]


@BOTH_DTYPES
@EVERY
def test_translation_and_permutation(variant, dtype):
    potential = variant.potential(dtype)
    evaluate = evaluator(potential)
    for atoms in (water_dimer(), *(() if variant.finite_systems_only else (triclinic(), slab()))):
        order = np.random.default_rng(1).permutation(len(atoms))
        assert laws.change_by_translation(evaluate, atoms, SHIFT) < SYMMETRY_TOLERANCE[dtype]
        assert laws.change_by_permutation(evaluate, atoms, order) < SYMMETRY_TOLERANCE[dtype]
        assert net_force_and_torque(potential, atoms) < SYMMETRY_TOLERANCE[dtype]


@EVERY
def test_potentials_are_worth_testing(variant):
    """Forces of the random networks are far above the tolerances and not above real ones."""
    assert 5e-3 < largest(evaluated(variant.potential(), water_dimer()).forces) < 100


@EVERY
def test_forces_are_the_slope_of_the_energy(variant):
    assert laws.force_error(evaluator(variant.potential()), water_dimer()) < FORCE_TOLERANCE


@pytest.mark.parametrize("structure", [slab, triclinic, left_handed])
@EVERY_PERIODIC
def test_forces_and_stress_of_periodic_structures(variant, structure):
    potential, atoms = variant.potential(), structure()
    assert laws.force_error(evaluator(potential), atoms) < FORCE_TOLERANCE
    assert largest(evaluated(potential, atoms).stress) > 1e-4
    assert laws.stress_error(evaluator(potential), atoms) < STRESS_TOLERANCE


@EVERY_PERIODIC
def test_stress_of_one_periodic_direction_is_the_slope_of_the_energy(variant):
    potential, wire = variant.potential(), triclinic()
    wire.pbc = (False, True, False)
    assert largest(evaluated(potential, wire).stress) > 1e-4
    assert laws.stress_error(evaluator(potential), wire) < STRESS_TOLERANCE


@EVERY_PERIODIC
def test_stress_of_a_slab_is_that_of_the_crystal_with_its_vacuum(variant):
    potential, atoms = variant.potential(), slab()
    atoms.center(vacuum=potential.cutoff, axis=2)
    periodic = atoms.copy()
    periodic.pbc = True
    difference = evaluated(potential, atoms).stress - evaluated(potential, periodic).stress
    assert largest(difference) < SYMMETRY_TOLERANCE[torch.float64]


@EVERY
def test_stress_needs_a_periodic_direction_and_a_volume(variant):
    potential, box, flat = variant.potential(), water_dimer(), slab()
    box.set_cell(10 * np.eye(3))
    flat.cell[2] = 0.0
    structures = [box] if variant.finite_systems_only else [box, flat]
    assert bool(evaluated(potential, *structures).stress.isnan().all())


@EVERY_PERIODIC
def test_energy_force_and_slope_are_smooth_through_the_cutoff(variant):
    assert roughness(variant.potential()) < 0.2


@BOTH_DTYPES
@EVERY
def test_an_atom_alone_has_its_reference_energy_and_no_force(variant, dtype):
    potential = variant.potential(dtype)
    periodic = not variant.finite_systems_only
    assert laws.lone_atoms_error(evaluator(potential), REFERENCE_ENERGIES, periodic=periodic) == 0.0


@BOTH_DTYPES
@EVERY
def test_far_fragments_add(variant, dtype):
    assert (
        laws.fragments_error(evaluator(variant.potential(dtype)), methanol(), far_water()) < SYMMETRY_TOLERANCE[dtype]
    )


@BOTH_DTYPES
@EVERY_PERIODIC
def test_supercell_is_as_many_cells(variant, dtype):
    assert laws.supercell_error(evaluator(variant.potential(dtype)), triclinic(), (2, 1, 3)) < SYMMETRY_TOLERANCE[dtype]


@BOTH_DTYPES
@EVERY_PERIODIC
def test_wrapping_and_whole_cells_change_nothing(variant, dtype):
    evaluate = evaluator(variant.potential(dtype))
    for atoms in (triclinic(), slab()):
        assert (
            laws.change_by_moving_cells(evaluate, atoms, np.resize(FAR_CELLS, (len(atoms), 3)))
            < SYMMETRY_TOLERANCE[dtype]
        )
        atoms.positions += 0.5 * atoms.cell.array[0]
        wrapped = atoms.copy()
        wrapped.wrap()
        assert laws.difference(*evaluate([wrapped, atoms])) < SYMMETRY_TOLERANCE[dtype]


@BOTH_DTYPES
@EVERY
def test_batch_is_its_structures_and_energies_sum_to_the_energy(variant, dtype):
    structures = [water_dimer(), Atoms("H"), methanol()]
    if not variant.finite_systems_only:
        structures += [triclinic(), slab(), left_handed()]
    evaluate = evaluator(variant.potential(dtype))
    assert laws.batch_error(evaluate, structures) < SYMMETRY_TOLERANCE[dtype]
    assert laws.sum_error(evaluate, structures) < SUM_TOLERANCE


@BOTH_DTYPES
@pytest.mark.parametrize("matrix", [ROTATION, INVERSION, REFLECTION], ids=["rotation", "inversion", "reflection"])
@EVERY
def test_states_turn_with_the_structure(variant, matrix, dtype):
    potential = variant.potential(dtype)
    if not hasattr(potential.network, "states"):
        pytest.skip("this architecture has no composition scheme")
    atoms = water_dimer() if variant.finite_systems_only else slab()
    before = potential.network.states(graph_of(potential, atoms))
    after = potential.network.states(graph_of(potential, laws.transformed(atoms, matrix)))
    degrees = set()
    for one, other in zip(before, after, strict=True):
        degrees |= {part.split("x")[1][0] for part in one.irreps.split("+")}
        turned = one.states @ wigner(one.irreps, matrix).numpy().T
        assert largest(other.states - turned) < SYMMETRY_TOLERANCE[dtype]
        assert largest(other.positions - one.positions @ matrix.T) < SYMMETRY_TOLERANCE[dtype]
        assert all(np.array_equal(a, b) for a, b in zip(one.atoms, other.atoms, strict=True))
        assert one.states.dtype == (np.float64 if dtype == torch.float64 else np.float32)
    assert largest(before[1].states) > 0.01 and "1" in degrees


@EVERY
def test_states_name_the_subsystems(variant):
    potential = variant.potential()
    if not hasattr(potential.network, "states"):
        pytest.skip("this architecture has no composition scheme")
    levels = potential.network.states(graph_of(potential, water_dimer()))
    assert [atoms.tolist() for atoms in levels[0].atoms] == [[n] for n in range(6)]
    if variant.finite_systems_only:
        assert [atoms.tolist() for atoms in levels[1].atoms] == [[0, 1, 2], [3, 4, 5]]
        assert [atoms.tolist() for atoms in levels[2].atoms] == [list(range(6))]
    for level in levels:
        dimension = sum(
            int(n) * (2 * int(irrep[0]) + 1) for n, irrep in (p.split("x") for p in level.irreps.split("+"))
        )
        assert level.states.shape == (len(level.atoms), dimension) and level.positions.shape == (len(level.atoms), 3)


@EVERY
def test_hessian_is_symmetric_and_the_slope_of_the_forces(variant):
    potential, atoms = variant.potential(), methanol()
    exact = hessian(potential, graph_of(potential, atoms)).numpy()
    assert largest(exact - exact.T) < SYMMETRY_TOLERANCE[torch.float64]
    assert laws.hessian_error(evaluator(potential), atoms, exact) < HESSIAN_TOLERANCE


@pytest.mark.parametrize("variant", SLOW_VARIANTS)
def test_nve_energy_fluctuates_with_the_square_of_the_time_step(variant):
    ratio = nve_ratio(variant.potential(scale=NVE_SCALE))
    assert ratio == pytest.approx(4.0, rel=NVE_RATIO_TOLERANCE)


@pytest.mark.parametrize("name", architectures())
def test_nve_energy_does_not_drift(name):
    """Over 150 fs the line through the energy rises by less than its fluctuation, itself below 1 meV."""
    calculator = PotentialCalculator(VARIANTS[name].potential(scale=0.1))
    energies = laws.total_energies(calculator, water_dimer(), timestep=0.5, duration=150.0, seed=4)
    slope = np.polyfit(np.linspace(0, 1, len(energies)), energies, 1)[0]
    assert abs(slope) < energies.std() < 1e-3


# --- the laws notice -------------------------------------------------------------------------------------------------


FAULTS: list[tuple[Callable[[Graph, Tensor], Tensor], Callable[[Potential], float], float]] = [
    (sees_the_x_axis, lambda p: laws.change_under(evaluator(p), water_dimer(), ROTATION), 1e-10),
    (sees_the_x_axis, lambda p: net_force_and_torque(p, water_dimer()), 1e-10),
    (sees_handedness, lambda p: laws.change_under(evaluator(p), methanol(), REFLECTION), 1e-10),
    (sees_the_origin, lambda p: laws.change_by_translation(evaluator(p), water_dimer(), SHIFT), 1e-10),
    (sees_the_order, lambda p: laws.change_by_permutation(evaluator(p), water_dimer(), REVERSED), 1e-10),
    (sees_the_size, lambda p: laws.fragments_error(evaluator(p), methanol(), far_water()), 1e-10),
    (sees_the_size, lambda p: laws.supercell_error(evaluator(p), triclinic(), (2, 1, 3)), 1e-10),
    (sees_the_batch, lambda p: laws.batch_error(evaluator(p), [water_dimer(), methanol()]), 1e-10),
    (ends_at_the_cutoff(0), roughness, 0.2),
    (ends_at_the_cutoff(1), roughness, 0.2),
    (ends_at_the_cutoff(2), roughness, 0.2),
    (has_a_constant, lambda p: laws.lone_atoms_error(evaluator(p), REFERENCE_ENERGIES, periodic=True), 1e-10),
    (forgets_a_derivative, lambda p: laws.force_error(evaluator(p), water_dimer()), FORCE_TOLERANCE),
    (forgets_a_derivative, lambda p: laws.stress_error(evaluator(p), triclinic()), STRESS_TOLERANCE),
    (forgets_the_shifts, lambda p: laws.change_by_moving_cells(evaluator(p), triclinic(), FAR_CELLS), 1e-10),
]


@pytest.mark.parametrize(("fault", "law", "tolerance"), FAULTS)
def test_broken_networks_are_found(fault, law, tolerance):
    assert law(broken(fault)) > 10 * tolerance if tolerance < 0.1 else law(broken(fault)) > 2 * tolerance


def test_a_sound_network_passes_every_one_of_these_laws():
    sound = broken(lambda graph, energies: energies)
    for _, law, tolerance in FAULTS:
        assert law(sound) < tolerance


def test_a_number_that_is_none_breaks_every_law():
    assert np.isnan(largest(1.0, np.array([0.0, np.nan]), 2.0))


def test_handedness_is_no_fault_of_rotation():
    """The laws are separate: this network turns as it should and fails in the mirror alone."""
    assert (
        laws.change_under(evaluator(broken(sees_handedness)), methanol(), ROTATION) < SYMMETRY_TOLERANCE[torch.float64]
    )


def test_non_conservative_forces_are_found_by_nve():
    """With forces ten percent too small the fluctuation no longer falls with the time step."""

    def slightly(graph: Graph, energies: Tensor) -> Tensor:
        return 0.9 * energies + 0.1 * energies.detach()

    found = nve_ratio(replace(broken(slightly), energy_scale=NVE_SCALE))
    assert found == pytest.approx(1.0, rel=0.1)
    sound = nve_ratio(replace(broken(lambda _, energies: energies), energy_scale=NVE_SCALE))
    assert sound == pytest.approx(4.0, rel=NVE_RATIO_TOLERANCE)
