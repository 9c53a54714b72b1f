"""ANI-1x and ANI-1ccx: committees of eight networks for molecules of H, C, N and O, in batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from importlib import metadata

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.ani_networks import ANICommittee, stacked_committee
from ase_nbody.labelling.electrons import electronic_state
from ase_nbody.labelling.references import Failure, Label, LevelOfTheory, Reference
from ase_nbody.structures import check_structure

ANI_METHODS = {
    "ANI-1x": ("ANI1x", "ωB97X/6-31G(d), Smith 2018, doi 10.1063/1.5023802"),
    "ANI-1ccx": ("ANI1ccx", "CCSD(T)*/CBS, Smith 2019, doi 10.1038/s41467-019-10827-4"),
}
"""Class of torchani and the level of theory it was trained on."""

_VERSION = "2.0"  # the last with weights in its wheel
_INSTALL = "pip install --no-deps torchani==2.0 && pip install lark-parser 'setuptools<81'"
_ELEMENTS = (1, 6, 7, 8)  # in the order of the networks
_BATCH = 256  # ethanols: more are no faster on a core
_ATOMS_PER_EVALUATION = 576  # of a batch: more are no faster


class ANIReference(Reference):
    """Labels by one of the committees: means over its networks, and how far these disagree.

    Networks and environments are float32, as they were trained, and energies of atoms and constants are summed in
    float64: for ethanol that is within 0.01 meV and 0.05 meV/angstrom of float64 throughout. A label carries the info
    `energy_spread`, eV, and the array `forces_spread`, (N,), eV/angstrom: standard deviations over the networks
    (n - 1), for forces of the vector. Structures that ANI was not made for (other elements, charges, unpaired
    electrons, periodic ones) are refused.

    Args:
        method: "ANI-1x" or "ANI-1ccx".

    Raises:
        ValueError: another method; torchani is not installed or has another version.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._committee = ani_committee(method)

    @property
    def level(self) -> LevelOfTheory:
        """What the labels are computed with."""
        settings = {"trained_on": ANI_METHODS[self._method][1], "networks": self._committee.size}
        return LevelOfTheory(self._method, "torchani", _VERSION, {**settings, "dtype": "float32, sums float64"})

    @property
    def batch_size(self) -> int:
        """How many structures are best labelled together."""
        return _BATCH

    def label(self, structures: Sequence[Atoms]) -> list[Label | Failure]:
        """Labels in the order of the structures; a structure that fails costs the others nothing."""
        labels: list[Label | Failure] = [_refusal(atoms, self._method) or Failure("") for atoms in structures]
        accepted = [number for number, label in enumerate(labels) if label == Failure("")]
        for batch in _batches(structures, accepted):
            of_batch = _labels([structures[number] for number in batch], self._committee)
            for number, label in zip(batch, of_batch, strict=True):
                labels[number] = label
        return labels


def ani_committee(method: str) -> ANICommittee:
    """The networks of a method, in float32 on the CPU.

    Args:
        method: "ANI-1x" or "ANI-1ccx".

    Raises:
        ValueError: another method; torchani is not installed or has another version.
    """
    if method not in ANI_METHODS:
        raise ValueError(f"there is no method '{method}' of ANI here; there are {', '.join(ANI_METHODS)}")
    try:
        version = metadata.version("torchani")
    except metadata.PackageNotFoundError:
        raise ValueError(f"torchani is not installed; {_INSTALL}") from None
    if version != _VERSION:
        raise ValueError(f"torchani is version {version}, and only {_VERSION} has weights in its wheel; {_INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pkg_resources, which torchani 2.0 imports
        try:
            import torchani
        except ImportError as error:
            raise ValueError(f"torchani cannot be loaded ({error}); {_INSTALL}") from error
        return stacked_committee(getattr(torchani.models, ANI_METHODS[method][0])())


def _refusal(atoms: Atoms, method: str) -> Failure | None:
    try:
        check_structure(atoms)
        state = electronic_state(atoms)
    except ValueError as error:
        return Failure(str(error))
    unknown = sorted(set(atoms.get_chemical_symbols()) - set("HCNO"))
    if unknown:
        return Failure(f"{method} knows H, C, N and O, and not {', '.join(unknown)}")
    if atoms.pbc.any():
        return Failure(f"{method} is for molecules, and pbc is {atoms.pbc.tolist()}")
    if state.charge or state.multiplicity != 1:
        return Failure(
            f"{method} is for neutral singlets, and this has charge {state.charge}, multiplicity {state.multiplicity}"
        )
    return None


def _batches(structures: Sequence[Atoms], numbers: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of structures to evaluate together, alike in size: they are padded to the largest."""
    batch: list[int] = []
    for number in sorted(numbers, key=lambda number: len(structures[number])):
        if batch and (len(batch) + 1) * len(structures[number]) > _ATOMS_PER_EVALUATION:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _labels(structures: Sequence[Atoms], networks: ANICommittee) -> list[Label | Failure]:
    """Labels of structures, evaluated together."""
    most = max(len(atoms) for atoms in structures)
    species = torch.full((len(structures), most), -1)  # (B, A), padded
    positions = torch.zeros((len(structures), most, 3))
    for row, atoms in enumerate(structures):
        species[row, : len(atoms)] = torch.from_numpy(np.searchsorted(_ELEMENTS, atoms.numbers))
        positions[row, : len(atoms)] = torch.from_numpy(atoms.positions - atoms.positions.mean(axis=0))
    values = networks.values(species, positions)
    mean, deviation = values.energies.mean(dim=0).tolist(), values.energies.std(dim=0).tolist()
    forces = values.forces.to(torch.float64)  # (M, B, A, 3)
    mean_forces = forces.mean(dim=0).numpy()
    spreads = forces.var(dim=0).sum(dim=2).sqrt().numpy()  # (B, A)
    return [
        _label(mean[row], deviation[row], mean_forces[row, : len(atoms)], spreads[row, : len(atoms)])
        for row, atoms in enumerate(structures)
    ]


def _label(
    energy: float, deviation: float, forces: NDArray[np.float64], spread: NDArray[np.float64]
) -> Label | Failure:
    """Mean energy and standard deviation, eV; mean forces, (N, 3), and their spread, (N,), eV/angstrom."""
    if not (math.isfinite(energy) and np.isfinite(forces).all()):
        return Failure("energy or forces are not finite")
    return Label(energy, forces, None, {"energy_spread": deviation}, {"forces_spread": spread})
