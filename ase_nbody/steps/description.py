"""What a network is: a list of steps on states of atoms, each state a list of blocks, one for each irrep.

A step reads states and adds to one, so states with several sources are sums. Steps are done in their order, and a step
that reads a state sees what the steps before it have added. The backward pass is the same list, from its end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.dual import DualAtoms, DualStep
from ase_nbody.steps.state_irreps import StateIrreps
from ase_nbody.steps.writer import StepWriter


class Step(ABC):
    """One thing that a network does.

    Attributes:
        out: state that it adds to; "" for energies and features.
    """

    out: str

    @property
    @abstractmethod
    def reads(self) -> tuple[str, ...]:
        """States whose values it needs in the forward pass."""

    @property
    def keeps(self) -> tuple[str, ...]:
        """Those of them whose values it needs in the backward pass too."""
        return ()

    @abstractmethod
    def forward(self, atoms: StepAtoms) -> None:
        """Do it with torch."""

    def dual(self, atoms: DualAtoms) -> DualStep:
        """Begin it with tangents.

        Raises:
            NotImplementedError: it has none; see `has_tangents`.
        """
        raise NotImplementedError(f"{self} has no tangents: train by autograd")

    @property
    def has_tangents(self) -> bool:
        """Whether it has a `dual` of its own."""
        return type(self).dual is not Step.dual

    @abstractmethod
    def write_forward(self, w: StepWriter) -> None:
        """Write the code that does it."""

    @abstractmethod
    def write_backward(self, w: StepWriter) -> None:
        """Write the code that adds to the cotangents of what it reads, from that of what it makes."""


class RadialStep(Step):
    """A step with radial weights.

    Attributes:
        radial: name of the weights.
        by_kind: they depend on the kind of edge.
    """

    radial: str
    by_kind: bool


@dataclass(frozen=True)
class Description:
    """A network.

    Attributes:
        states: irreps of all states, by their names.
        steps: in their order.
        n_types: elements of the network.
        max_degree: highest degree of the harmonics of edges.
        breaks: distances at which radial functions are not smooth, angstrom.
        single_tables: degree of the splines of radial functions in float32, and their largest error relative to the
            largest value, where others are wanted than usual.
        power: of the grid of radial tables, 2 for functions that change most at short distances: rows of distances that
            most pairs have are fewer then, and stay in the cache.
    """

    states: tuple[tuple[str, StateIrreps], ...]
    steps: tuple[Step, ...]
    n_types: int
    max_degree: int
    breaks: tuple[float, ...] = ()
    single_tables: tuple[int, float] | None = None
    power: Literal[1, 2] = 1

    @cached_property
    def irreps_of(self) -> Mapping[str, StateIrreps]:
        """Shapes by the names of states."""
        return dict(self.states)

    @cached_property
    def radial_by_kind(self) -> Mapping[str, bool]:
        """By the names of radial weights, whether they depend on the kind of edge."""
        return {step.radial: step.by_kind for step in self.steps if isinstance(step, RadialStep)}

    @property
    def has_tangents(self) -> bool:
        """Whether all steps have tangents; else the network is trained by autograd."""
        return all(step.has_tangents for step in self.steps)

    @property
    def has_shared_tables(self) -> bool:
        """Whether some radial weights are the same for all kinds of edges."""
        return not all(self.radial_by_kind.values())

    def check(self) -> None:
        """Check the names of states, and that no value that the backward pass needs is changed after it was read.

        Raises:
            ValueError: the irreps of a state are not given, or it is read before any step makes it, or changed too
                late.
        """
        made: set[str] = set()
        kept: dict[str, Step] = {}
        for step in self.steps:
            for name in (*step.reads, *[step.out] * bool(step.out)):
                if name not in self.irreps_of:
                    raise ValueError(
                        f"{step} uses state '{name}', whose irreps are not given; there are {', '.join(self.irreps_of)}"
                    )
            for name in step.reads:
                if name not in made:
                    raise ValueError(f"{step} reads state '{name}' before any step makes it")
            if step.out in kept:
                raise ValueError(
                    f"{step} changes state '{step.out}', whose value {kept[step.out]} needs in the backward pass"
                )
            kept |= dict.fromkeys(step.keeps, step)
            made.add(step.out)

    def replaced(self, steps: Iterable[Step]) -> Description:
        """With other steps, and only the states that they use."""
        steps = tuple(steps)
        used = {name for step in steps for name in (*step.reads, step.out)}
        kept = tuple((name, irreps) for name, irreps in self.states if name in used)
        return replace(self, states=kept, steps=steps)
