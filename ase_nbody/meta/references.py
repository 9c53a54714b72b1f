"""Reference energies fitted anew: what labelled structures leave of the total energies beside the network's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ase_nbody.data import Dataset, Sample, batches_of_samples, reference_energies
from ase_nbody.potential import Potential, predict

BATCH_ATOMS = 500


@dataclass(frozen=True)
class Referenced:
    """A potential with reference energies of its own.

    Attributes:
        potential: with the reference energies.
        source: a sentence that says where they come from.
        undetermined: elements whose values the structures leave open.
    """

    potential: Potential
    source: str
    undetermined: tuple[str, ...]


def with_reference_energies(potential: Potential, dataset: Dataset, samples: Sequence[Sample]) -> Referenced:
    """A potential whose reference energies are those of `reference_energies`, of energies less the network's.

    Elements that no structure has, and all of them where no energy is labelled, keep their values. What the
    compositions leave open is shared out in the proportions of the values before.

    Args:
        potential: of which the network's energies are taken.
        dataset: labelled structures.
        samples: the same, in the potential's dtype.
    """
    before = potential.reference_energies
    if all(labels.energy is None for labels in dataset.labels):
        return Referenced(potential, "kept from the start: no energy is labelled", potential.elements)
    with torch.no_grad():
        batches = [predict(potential, b.graph).energy for b in batches_of_samples(samples, BATCH_ATOMS)]
    totals = torch.cat(batches).tolist()
    labels = [
        label
        if label.energy is None
        else replace(label, energy=label.energy - total + sum(before[s] for s in atoms.symbols))
        for atoms, label, total in zip(dataset.structures, dataset.labels, totals, strict=True)
    ]
    fitted = reference_energies(replace(dataset, labels=tuple(labels)), dataset.elements, proportions=before)
    kept = [e for e in potential.elements if e not in dataset.elements]
    source = fitted.source + (f"; {', '.join(kept)}: kept from the start" if kept else "")
    return Referenced(
        replace(potential, reference_energies={**before, **fitted.energies}), source, (*fitted.undetermined, *kept)
    )
