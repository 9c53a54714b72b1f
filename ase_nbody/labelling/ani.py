"""ANI-1x and ANI-1ccx: committees of eight networks for molecules of H, C, N and O, in batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.units import Hartree
from numpy.typing import NDArray
from torch import Tensor

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
_BATCH = 256  # ethanols: more are no faster on a core
_ATOMS_PER_EVALUATION = 2304  # of a batch; 0.5 GB


class ANIReference(Reference):
    """Labels by one of the committees: means over its networks, and how far these disagree.

    Networks and environments are float32, as they were trained, and energies of atoms and constants are summed in
    float64: for ethanol that is within 0.01 meV and 0.05 meV/angstrom of float64 throughout, and takes less than half
    the time. A label carries the info `energy_spread`, eV, and
    the array `forces_spread`, (N,), eV/angstrom: standard deviations over the networks (n - 1), for forces of the
    vector. Structures that ANI was not made for (other elements, charges, unpaired electrons, periodic ones) are
    refused.

    Args:
        method: "ANI-1x" or "ANI-1ccx".

    Raises:
        ValueError: another method; torchani is not installed or has another version.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._networks = _networks(method)

    @property
    def level(self) -> LevelOfTheory:
        """What the labels are computed with."""
        settings = {"trained_on": ANI_METHODS[self._method][1], "networks": len(self._networks.neural_networks)}
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
            values = _evaluation([structures[number] for number in batch], self._networks)
            for column, number in enumerate(batch):
                labels[number] = _label(values, column, len(structures[number]))
        return labels


@dataclass(frozen=True)
class _Evaluation:
    """Energies of B structures by M networks, (M, B), eV, and forces, (M, B, most atoms, 3), eV/angstrom."""

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]


def _networks(method: str) -> Any:
    """A torchani model, its atoms by atomic number."""
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
        model = getattr(torchani.models, ANI_METHODS[method][0])(periodic_table_index=True)
    return model.requires_grad_(False)


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


def _evaluation(structures: Sequence[Atoms], model: Any) -> _Evaluation:
    most = max(len(atoms) for atoms in structures)
    numbers = torch.full((len(structures), most), -1)  # (B, A), padded
    positions = torch.zeros((len(structures), most, 3))
    for row, atoms in enumerate(structures):
        numbers[row, : len(atoms)] = torch.as_tensor(atoms.numbers)
        positions[row, : len(atoms)] = torch.as_tensor(atoms.positions - atoms.positions.mean(axis=0))
    positions.requires_grad_(True)
    species = model.species_converter((numbers, positions)).species
    environments = model.aev_computer((species, positions)).aevs  # (B, A, F)
    constant = model.energy_shifter.sae(species)  # (B,) float64
    energies, forces = [], []
    for network in model.neural_networks:
        # Through the environments in two steps: all networks share the first, which is the costly one.
        leaf = environments.detach().requires_grad_(True)
        atomic = _atomic_energies(network, species, leaf)  # (B, A)
        (slope,) = torch.autograd.grad(atomic.sum(), leaf)
        (gradient,) = torch.autograd.grad(environments, positions, slope, retain_graph=True)
        energies.append((atomic.detach().sum(dim=1) + constant) * Hartree)
        forces.append(-gradient.to(torch.float64) * Hartree)
    return _Evaluation(torch.stack(energies).numpy(), torch.stack(forces).numpy())


def _atomic_energies(network: Any, species: Tensor, environments: Tensor) -> Tensor:
    """Energies of atoms, (B, A), float64, Hartree; torchani sums them in float32, which costs 0.3 meV of ethanol."""
    inputs, elements = environments.flatten(0, 1), species.flatten()  # (B A, F), (B A,)
    atomic = torch.zeros(len(elements), dtype=torch.float64)
    for number, layers in enumerate(network.values()):  # in the order of the species
        chosen = (elements == number).nonzero().squeeze(-1)
        if len(chosen):
            energies = layers(inputs.index_select(0, chosen)).squeeze(-1)
            atomic = atomic.index_add(0, chosen, energies.to(torch.float64))
    return atomic.view(species.shape)


def _label(values: _Evaluation, column: int, n_atoms: int) -> Label | Failure:
    energies, forces = values.energies[:, column], values.forces[:, column, :n_atoms]  # (M,), (M, N, 3)
    if not (np.isfinite(energies).all() and np.isfinite(forces).all()):
        return Failure("energy or forces are not finite")
    spread = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=-1))  # (N,)
    extra_info = {"energy_spread": float(energies.std(ddof=1))}
    return Label(float(energies.mean()), forces.mean(axis=0), None, extra_info, {"forces_spread": spread})
