"""Auxiliary labels: forces of a cheap level of theory, by the hundred, beside the few labels that are adapted to.

What all levels of theory share learns from both; each has readouts of its own, and those of the auxiliary level are
dropped in the end. This is multi-fidelity training (Kim et al. 2025, doi 10.1021/jacs.4c14455) of one system.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import Parameter
from typing_extensions import override

from ase_nbody.architectures.base import Network
from ase_nbody.architectures.theory import add_levels, own_parameters
from ase_nbody.data import Dataset, Sample, samples, without_isolated_atoms
from ase_nbody.data.dataset import Labels
from ase_nbody.data.levels import check_one_level
from ase_nbody.potential import Potential
from ase_nbody.training.objective import LabelledStructures, epoch_order

LEVEL = 1
"""Number of the auxiliary level while a network is adapted."""


def auxiliary_samples(dataset: Dataset, potential: Potential) -> list[Sample]:
    """Structures with forces of the auxiliary level; other labels are not used, and atoms alone are left out.

    Energies of two methods differ by constants that say nothing.

    Args:
        dataset: labels of one level of theory.
        potential: that is adapted, with all elements of what it is adapted to.

    Raises:
        ValueError: labels of several levels, a structure without forces, an unknown element, or a network that has no
            readouts of a level.
    """
    check_one_level(dataset, None)
    own_parameters(potential.network, "readout")
    unknown = [symbol for symbol in dataset.elements if symbol not in potential.elements]
    if unknown:
        raise ValueError(
            f"the auxiliary structures of {dataset.source} have {', '.join(unknown)}, which neither the start nor the "
            f"structures that it is adapted to have ({', '.join(potential.elements)}); leave them out"
        )
    usable = without_isolated_atoms(dataset)
    without = [number for number, labels in enumerate(usable.labels) if labels.forces is None]
    if without or not len(usable):
        which = f"structure {without[0]} and {len(without) - 1} more have none" if without else "it has no structures"
        raise ValueError(f"auxiliary labels are forces, and of {dataset.source} {which}; label them (nbody label)")
    labels = tuple(Labels(forces=labels.forces, level=LEVEL) for labels in usable.labels)
    return samples(replace(usable, labels=labels), potential.cutoff, dtype=potential.dtype)


def add_auxiliary_level(network: Network) -> None:
    """Give a network of one level readouts of the auxiliary one, which begin as its own are."""
    add_levels(network, LEVEL + 1, own_parameters(network, "readout"))


def auxiliary_readouts(network: Network) -> Mapping[str, Parameter]:
    """Readouts of the auxiliary level, by their names in the network; none where there is no such level."""
    theory = network.theory
    return {} if theory is None else {f"theory.{name}": value for name, value in theory.named_parameters()}


@dataclass(frozen=True)
class WithAuxiliary(LabelledStructures):
    """Labelled structures, and beside each batch half as many of the auxiliary ones, drawn at random.

    Attributes:
        auxiliary: structures with forces at the auxiliary level, and the weight of these.
        seed: of what is drawn.
    """

    auxiliary: LabelledStructures
    seed: int

    @override
    def gradient(self, potential: Potential, chosen: Tensor, epoch: int) -> float:
        """Of both losses; returns that of the structures themselves."""
        value = super().gradient(potential, chosen, epoch)
        self.auxiliary.gradient(potential, self._beside(chosen, epoch), epoch)
        return value

    def _beside(self, chosen: Tensor, epoch: int) -> Tensor:
        """Numbers of auxiliary structures; nothing but the arguments decides them."""
        order = epoch_order(len(self.auxiliary.samples.levels), self.seed + int(chosen[0]), epoch)
        return order[: max(1, len(chosen) // 2)]
