"""A small start, a teacher that is near it, and labelled structures for tests of adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from ase_nbody.architectures import architectures
from ase_nbody.data import Dataset, labelled_dataset
from ase_nbody.meta.fitting import copied
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict

ELEMENTS = ("H", "C", "O")
REFERENCES = {"H": -15.0, "C": -1000.0, "O": -2000.0}


def start_potential(elements: tuple[str, ...] = ELEMENTS) -> Potential:
    """An untrained network with energies worth learning, in float64."""
    nbody = architectures()["nbody"]
    settings = nbody.settings(elements=elements, cutoff=4.0, channels=8, radial_width=8, max_degree_edges=2)
    network = nbody.network(settings, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        for readout in network.linear_readouts():
            readout *= 20.0  # forces of some tenths of eV/angstrom
    return Potential(network, {e: REFERENCES.get(e, -500.0) for e in elements}, energy_scale=0.3)


def teacher_of(start: Potential, readouts: float = 1.4, others: float = 0.2) -> Potential:
    """The start at another level of theory: other references, scaled readouts, and all other weights shaken."""
    own = copied(start)
    generator = torch.Generator().manual_seed(2)
    scaled = {id(readout) for readout in own.network.linear_readouts()}
    with torch.no_grad():
        for parameter in own.network.parameters():
            if id(parameter) in scaled:
                parameter *= readouts
            else:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter += others * parameter.std(correction=0) * noise
    return replace(own, reference_energies={e: v - 3.0 for e, v in start.reference_energies.items()})


def frames_of(teacher: Potential, n: int, name: str = "CH3CH2OH", seed: int = 0) -> list[Atoms]:
    """Rattled molecules with the teacher's energies and forces."""
    return [_labelled(_rattled(molecule(name), seed + number), teacher) for number in range(n)]


def crystals_of(teacher: Potential, n: int) -> list[Atoms]:
    """Rattled and strained crystals of carbon with the teacher's energies, forces and stresses."""
    crystals = []
    for number in range(n):
        atoms = bulk("C", "diamond", a=3.5 + 0.02 * number, cubic=False)
        atoms.set_cell(atoms.cell @ [[1, 0.02 * number, 0], [0, 1, 0], [0.01, 0, 1]], scale_atoms=True)
        crystals.append(_labelled(_rattled(atoms, number), teacher))
    return crystals


def dataset_of(teacher: Potential, n: int, name: str = "CH3CH2OH", seed: int = 0) -> Dataset:
    """`frames_of` as a dataset."""
    return labelled_dataset(frames_of(teacher, n, name, seed))


def forces_of(potential: Potential, structures: Sequence[Atoms]) -> torch.Tensor:
    """Forces of a potential one structure after another, (N, 3)."""
    graphs = [neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype) for atoms in structures]
    return torch.cat([predict(potential, graph).forces.detach() for graph in graphs])


def _rattled(atoms: Atoms, seed: int) -> Atoms:
    atoms.rattle(0.08, seed=seed)
    return atoms


def _labelled(atoms: Atoms, teacher: Potential) -> Atoms:
    found = predict(teacher, neighbour_graph(atoms, teacher.cutoff))
    results = {"energy": found.energy.item(), "forces": found.forces.detach().numpy()}
    if atoms.pbc.any():
        stress = found.stress[0].detach().numpy()
        results["stress"] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
