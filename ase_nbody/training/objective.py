"""The objective of a training: batches of examples, the gradient of their loss, and errors on validation data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.theory import at_level
from ase_nbody.data.graph_samples import Sample
from ase_nbody.data.packed_samples import PackedSamples
from ase_nbody.potential import Potential, trainable_prediction
from ase_nbody.training.loss import LossWeights, loss
from ase_nbody.training.validation import ValidationErrors, validation_errors


class Objective(ABC):
    """What a training minimises.

    Attributes:
        weights: of the loss.
    """

    weights: LossWeights

    @abstractmethod
    def batches(self, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
        """Examples of each step of one pass, numbers, (batch,) int64 each; nothing but the arguments decides them."""

    @abstractmethod
    def gradient(self, potential: Potential, chosen: Tensor, epoch: int) -> float:
        """Add the gradient of the mean loss of some examples to the parameters' gradients; returns the loss."""

    @abstractmethod
    def errors(self, potential: Potential, parameters: Mapping[str, Tensor]) -> ValidationErrors | None:
        """Errors on what is not learnt, with other values of the network's parameters; None where there is none."""

    @abstractmethod
    def own_parameters(self) -> dict[str, Parameter]:
        """What is learnt beside the network, by name; `gradient` adds to its gradients too."""


@dataclass(frozen=True)
class LabelledStructures(Objective):
    """Structures with labels, each an example; every batch is of one level of theory.

    Attributes:
        samples: structures to learn, on the potential's device and in its dtype.
        validation: batches of validation structures; without, nothing is validated.
        weights: of the loss.
    """

    samples: PackedSamples
    validation: Sequence[Sample]
    weights: LossWeights

    def batches(self, batch_size: int, seed: int, epoch: int) -> list[Tensor]:
        """All structures in a new order; levels of theory take turns."""
        return epoch_batches(self.samples.levels, batch_size, seed, epoch)

    def gradient(self, potential: Potential, chosen: Tensor, epoch: int) -> float:
        """Of the loss of a batch, by the architecture's own way where it has one."""
        batch = self.samples.batch(chosen)
        with at_level(potential.network, batch.level):
            prediction = trainable_prediction(potential, batch.graph)
            value = loss(prediction, batch.targets, batch.graph, self.weights)
            value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    def errors(self, potential: Potential, parameters: Mapping[str, Tensor]) -> ValidationErrors | None:
        """Of the validation structures."""
        return validation_errors(potential, self.validation, parameters) if self.validation else None

    def own_parameters(self) -> dict[str, Parameter]:
        """None."""
        return {}


def epoch_batches(levels: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[Tensor]:
    """Structures of each batch of one pass, each batch of one level of theory; it depends on nothing but the arguments.

    Args:
        levels: number of the level of each structure.
        batch_size: most structures of a batch; batches of a level differ in size by at most one.
        seed: of the training.
        epoch: passes before this one.

    Returns:
        Numbers of the structures, (batch,) int64 each.
    """
    order = epoch_order(len(levels), seed, epoch)
    counts = Counter(levels)
    if len(counts) == 1:
        return list(order.tensor_split(math.ceil(len(levels) / batch_size)))
    level_of = torch.tensor(levels)[order]
    batches = [
        batch
        for level, count in sorted(counts.items())
        for batch in order[level_of == level].tensor_split(math.ceil(count / batch_size))
    ]
    turns = torch.randperm(len(batches), generator=torch.Generator().manual_seed(1_000_003 * seed + epoch))
    return [batches[turn] for turn in turns.tolist()]


def epoch_order(n_examples: int, seed: int, epoch: int) -> Tensor:
    """Order of the examples in one pass, (n_examples,) int64; it depends on nothing but the arguments."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
    return torch.randperm(n_examples, generator=generator)
