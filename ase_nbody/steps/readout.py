"""Energies of atoms: invariants times vectors of the atom's element, and numbers of elements."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.edges import EdgeList
from ase_nbody.kernels import node_code
from ase_nbody.kernels.dual import COTANGENT_TANGENTS, VALUES
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import DualAtoms, DualStep
from ase_nbody.steps.radial import ParameterGradients, add_gradient
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class AtomFeatures:
    """What a step makes energies of atoms of, or how that changes.

    Attributes:
        scalars: derivatives of what it adds to each atom's energy by the vector of the atom's element, (N, C).
        state: blocks of its `EnergyStep.state`, (N, 2l + 1, columns) each; none where it has none.
    """

    scalars: Tensor
    state: tuple[Tensor, ...] = ()


class EnergyStep(Step):
    """A step that adds to the energies what is linear in its vectors.

    Attributes:
        weights: name of the vectors, (T, C).
    """

    weights: str
    out = ""

    @property
    def state(self) -> str:
        """State that it, or the hidden layers before it, begin with; "" where it depends on the element only."""
        return ""

    @abstractmethod
    def features(self, atoms: StepAtoms) -> AtomFeatures:
        """What it makes energies of, where its turn comes."""


@dataclass(frozen=True)
class Readout(EnergyStep):
    """Adds the scalar product of the first block of a state with a vector to the energies.

    Attributes:
        source: state whose first block is invariant.
        weights: name of the vectors, (T, columns).
        hidden_from: state that the hidden layers begin with whose last one is the source; "" where there are none.
    """

    source: str
    weights: str
    hidden_from: str = ""

    @property
    @override
    def state(self) -> str:
        return self.hidden_from or self.source

    @override
    def features(self, atoms: StepAtoms) -> AtomFeatures:
        return AtomFeatures(atoms.values[self.source][0][:, 0], tuple(atoms.values[self.state]))

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def forward(self, atoms: StepAtoms) -> None:
        scalars = atoms.values[self.source][0][:, 0]
        atoms.energies = atoms.energies + (scalars * atoms.weights.vectors[self.weights][atoms.types]).sum(dim=1)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualReadout(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        length = w.irreps(self.source)[0].length
        settings = w.settings(length)
        function = w.function("dots", length, lambda n: node_code.dots(n, settings, length))
        vectors, types = w.vectors(self.weights), w.phase.block_of("types")
        w.call(function, types=types, rows=w.block(self.source, 0), vectors=vectors, out=w.phase.block_of("energies"))

    @override
    def write_backward(self, w: StepWriter) -> None:
        w.add_rows_of_types(self.weights, f"d_{self.source}", 0)


@dataclass(frozen=True)
class Shift(EnergyStep):
    """Adds a number of the atom's element to the energies, and makes them zero where an atom has no neighbours.

    The numbers are minus the energies that the other steps give to isolated atoms, up to rounding.

    Attributes:
        weights: name of the numbers, (T, 1).
    """

    weights: str

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return ()

    @override
    def features(self, atoms: StepAtoms) -> AtomFeatures:
        return AtomFeatures(have_neighbours(atoms.pairs, atoms.energies))

    @override
    def forward(self, atoms: StepAtoms) -> None:
        shifted = atoms.energies + atoms.weights.vectors[self.weights][atoms.types, 0]
        has_neighbours = atoms.pairs.receiver_offsets.diff() > 0
        atoms.energies = torch.where(has_neighbours, shifted, 0.0)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return DualShift(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        settings = w.settings(1)
        function = w.function("shifted", 0, lambda n: node_code.shifted_energies(n, settings))
        given = w.phase.wholes("types", "offsets", "ends", "energies")
        w.call_on_nodes(function, **given, vectors=w.vectors(self.weights))

    @override
    def write_backward(self, w: StepWriter) -> None:
        """Nothing: it does not depend on positions."""


class DualEnergies(DualStep):
    """An `EnergyStep` with tangents."""

    @abstractmethod
    def features(self, part: int) -> AtomFeatures:
        """What it makes energies of, or the tangents of that."""


class _DualReadout(DualEnergies):
    """`Readout` with tangents."""

    def __init__(self, step: Readout, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.of_atoms = atoms.one_hot @ self.vectors  # (N, C)
        self.state = atoms.states.complete(step.state)
        self.scalars = atoms.states.full(step.source, 0).parts  # (N, C) each

    @override
    def features(self, part: int) -> AtomFeatures:
        n_atoms = len(self.atoms.types)
        blocks = tuple(rows.view(n_atoms, -1, rows.shape[1]) for rows in self.state.parts[part])
        return AtomFeatures(self.scalars[part], blocks)

    @override
    def forward(self, part: int) -> None:
        if part == VALUES:
            self.atoms.energies = self.atoms.energies + (self.scalars[VALUES] * self.of_atoms).sum(dim=1)

    @override
    def begin_backward(self) -> None:
        self.d_scalars = self.atoms.gradients.accumulator(self.step.source, 0)

    @override
    def backward(self, part: int) -> None:
        if part == COTANGENT_TANGENTS:
            self.d_energies = self.atoms.d_energies
            self.d_scalars.add(part, self.of_atoms * self.d_energies.unsqueeze(1))
        else:
            self.d_scalars.add(part, self.of_atoms)

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        values, tangents = self.scalars
        by_atom = torch.addcmul(tangents, values, self.d_energies.unsqueeze(1))
        add_gradient(gradients, self.vectors, self.atoms.one_hot.t() @ by_atom)


class DualShift(DualEnergies):
    """`Shift` with tangents, of which there are none."""

    def __init__(self, step: Shift, atoms: DualAtoms) -> None:
        self.atoms = atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.has_neighbours = atoms.pairs.receiver_offsets.diff() > 0

    @override
    def features(self, part: int) -> AtomFeatures:
        ones = have_neighbours(self.atoms.pairs, self.atoms.energies)
        return AtomFeatures(ones if part == VALUES else torch.zeros_like(ones))

    @override
    def forward(self, part: int) -> None:
        if part == VALUES:
            shifted = self.atoms.energies + (self.atoms.one_hot @ self.vectors)[:, 0]
            self.atoms.energies = torch.where(self.has_neighbours, shifted, 0.0)

    @override
    def begin_backward(self) -> None:
        """Nothing: it does not depend on positions."""

    @override
    def backward(self, part: int) -> None:
        if part == COTANGENT_TANGENTS:
            self.atoms.d_energies = torch.where(self.has_neighbours, self.atoms.d_energies, 0.0)

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        add_gradient(gradients, self.vectors, self.atoms.one_hot.t() @ self.atoms.d_energies.unsqueeze(1))


def have_neighbours(pairs: EdgeList, like: Tensor) -> Tensor:
    """1 for atoms with neighbours and 0 for others, (N, 1), in the dtype of a tensor."""
    return (pairs.receiver_offsets.diff() > 0).to(like.dtype).unsqueeze(1)
