"""Energies of atoms: invariants times vectors of the atom's element, and numbers of elements."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import override

from ase_nbody.kernels import node_code
from ase_nbody.kernels.dual import CHANGES, VALUES
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import DualAtoms, DualStep
from ase_nbody.steps.radial import Found, add_gradient
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class Readout(Step):
    """Adds the scalar product of the first block of a state with a vector to the energies.

    Attributes:
        source: state whose first block is invariant.
        weights: name of the vectors, (T, columns).
    """

    source: str
    weights: str
    out = ""

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
    def up(self, w: StepWriter) -> None:
        length = w.shape(self.source)[0].length
        settings = w.settings(length)
        function = w.function("dots", length, lambda n: node_code.dots(n, settings, length))
        vectors, types = w.vectors(self.weights), w.phase.block_of("types")
        w.call(function, types=types, rows=w.block(self.source, 0), vectors=vectors, out=w.phase.block_of("energies"))

    @override
    def down(self, w: StepWriter) -> None:
        w.add_rows_of_types(self.weights, f"d_{self.source}", 0)


@dataclass(frozen=True)
class Shift(Step):
    """Adds a number of the atom's element to the energies, and makes them zero where an atom has no neighbours.

    The numbers are minus the energies that the other steps give to isolated atoms, up to rounding.

    Attributes:
        weights: name of the numbers, (T, 1).
    """

    weights: str
    out = ""

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return ()

    @override
    def forward(self, atoms: StepAtoms) -> None:
        shifted = atoms.energies + atoms.weights.vectors[self.weights][atoms.types, 0]
        has_neighbours = atoms.pairs.receiver_offsets.diff() > 0
        atoms.energies = torch.where(has_neighbours, shifted, 0.0)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return DualShift(self, atoms)

    @override
    def up(self, w: StepWriter) -> None:
        settings = w.settings(1)
        function = w.function("shifted", 0, lambda n: node_code.shifted_energies(n, settings))
        given = w.phase.wholes("types", "offsets", "ends", "energies")
        w.call_on_nodes(function, **given, vectors=w.vectors(self.weights))

    @override
    def down(self, w: StepWriter) -> None:
        """Nothing: it does not depend on positions."""


class DualEnergies(DualStep):
    """A step with tangents that adds to the energies what is linear in its vectors.

    Attributes:
        vectors: of the elements, (T, C).
    """

    vectors: Tensor

    @abstractmethod
    def derivatives(self, part: int) -> Tensor:
        """Of each atom's energy by the vector of its element, or the tangents of these, (N, C)."""


class _DualReadout(DualEnergies):
    """`Readout` with tangents."""

    def __init__(self, step: Readout, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.of_atoms = atoms.one_hot @ self.vectors  # (N, C)
        self.scalars = atoms.states.full(step.source, 0).parts  # (N, C) each

    @override
    def derivatives(self, part: int) -> Tensor:
        return self.scalars[part]

    @override
    def fill(self, part: int) -> None:
        if part == VALUES:
            self.atoms.energies = self.atoms.energies + (self.scalars[VALUES] * self.of_atoms).sum(dim=1)

    @override
    def turn(self) -> None:
        self.d_scalars = self.atoms.gradients.target(self.step.source, 0)

    @override
    def back(self, part: int) -> None:
        if part == CHANGES:
            self.d_energies = self.atoms.d_energies
            self.d_scalars.add(part, self.of_atoms * self.d_energies.unsqueeze(1))
        else:
            self.d_scalars.add(part, self.of_atoms)

    @override
    def gradients(self, found: Found) -> None:
        values, tangents = self.scalars
        by_atom = torch.addcmul(tangents, values, self.d_energies.unsqueeze(1))
        add_gradient(found, self.vectors, self.atoms.one_hot.t() @ by_atom)


class DualShift(DualEnergies):
    """`Shift` with tangents, of which there are none."""

    def __init__(self, step: Shift, atoms: DualAtoms) -> None:
        self.atoms = atoms
        self.vectors = atoms.weights.vectors[step.weights]
        self.has_neighbours = atoms.pairs.receiver_offsets.diff() > 0

    @override
    def derivatives(self, part: int) -> Tensor:
        return torch.full_like(self.atoms.energies, float(part == VALUES)).unsqueeze(1)

    @override
    def fill(self, part: int) -> None:
        if part == VALUES:
            shifted = self.atoms.energies + (self.atoms.one_hot @ self.vectors)[:, 0]
            self.atoms.energies = torch.where(self.has_neighbours, shifted, 0.0)

    @override
    def turn(self) -> None:
        """Nothing: it does not depend on positions."""

    @override
    def back(self, part: int) -> None:
        if part == CHANGES:
            self.atoms.d_energies = torch.where(self.has_neighbours, self.atoms.d_energies, 0.0)

    @override
    def gradients(self, found: Found) -> None:
        add_gradient(found, self.vectors, self.atoms.one_hot.t() @ self.atoms.d_energies.unsqueeze(1))
