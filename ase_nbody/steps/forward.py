"""Steps done with torch: the meaning of a description, which foldings and compiled programs must keep."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ase_nbody.edges import EdgeList, edge_list
from ase_nbody.math import spherical_harmonics
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Description
from ase_nbody.steps.weights import StepWeights


def forward(description: Description, atoms: StepAtoms) -> Tensor:
    """Energies of the atoms by all steps, (N,)."""
    for step in description.steps:
        step.forward(atoms)
    return atoms.energies


def atomic_energies(
    description: Description, weights: StepWeights, types: Tensor, pairs: EdgeList, vectors: tuple[Tensor, Tensor]
) -> Tensor:
    """Energies of atoms by all steps, (N,).

    Args:
        description: of the steps.
        weights: of these.
        types: numbers of the elements, (N,).
        pairs: edges within the cutoff.
        vectors: distances of these, (E,), angstrom, and their directions, (E, 3).
    """
    return forward(description, atoms_before(description, weights, types, pairs, vectors))


def atoms_before(
    description: Description, weights: StepWeights, types: Tensor, pairs: EdgeList, vectors: tuple[Tensor, Tensor]
) -> StepAtoms:
    """Atoms of which no step is done; as `atomic_energies`."""
    distances, directions = vectors
    return StepAtoms(
        irreps_of=description.irreps_of,
        weights=weights,
        types=types,
        pairs=pairs,
        distances=distances,
        harmonics=spherical_harmonics(directions, description.max_degree),
        energies=distances.new_zeros(len(types)),
        breaks=description.breaks,
    )


def isolated_energies(
    description: Description, weights: StepWeights, like: Tensor, elements: Iterable[int] | None = None
) -> Tensor:
    """Energies by all steps of an atom of each element alone, (T,), NaN for elements that are not asked for.

    Args:
        description: of steps that give atoms alone an energy, so without `Shift`.
        weights: of these.
        like: a tensor of their dtype and device.
        elements: numbers of those that are asked for; None: all.
    """
    chosen = range(description.n_types) if elements is None else sorted(elements)
    types = torch.tensor(chosen, dtype=torch.int64, device=like.device)
    pairs = edge_list(types[:0], types[:0], len(types), len(types))
    energies = atomic_energies(description, weights, types, pairs, (like.new_zeros(0), like.new_zeros(0, 3)))
    return energies.new_full((description.n_types,), torch.nan).index_copy(0, types, energies)
