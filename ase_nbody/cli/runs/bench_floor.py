"""The machine's floor: the shortest time in which this machine could do what an evaluation must do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ase_nbody.cli.runs.bench_figures import Dynamics
from ase_nbody.compiler.machine import Machine


class CountedWork(Protocol):
    """What a part of an evaluation must do, as architectures count it."""

    @property
    def multiply_adds(self) -> float:
        """Of numbers."""

    @property
    def bytes(self) -> float:
        """Read from memory and written to it."""


@dataclass(frozen=True)
class Floor:
    """What one evaluation must do, and the shortest time in which this machine could.

    Attributes:
        multiply_adds_per_step: of numbers.
        bytes_per_step: read from and written to memory.
        floor_ms_per_step: the larger of the times of both.
        parts_floor_ms_per_step: the same for each part that the architecture counts.
        evaluation_over_floor: mean time of an evaluation by the floor.
        step_over_floor: mean time of a step by the floor.
    """

    multiply_adds_per_step: float
    bytes_per_step: float
    floor_ms_per_step: float
    parts_floor_ms_per_step: dict[str, float]
    evaluation_over_floor: float
    step_over_floor: float


def floor_of_step(work: Mapping[str, CountedWork], machine: Machine, dynamics: Dynamics) -> Floor:
    """The machine's floor of one evaluation.

    Args:
        work: of each part.
        machine: its rates.
        dynamics: what was reached.
    """
    multiply_adds = float(sum(part.multiply_adds for part in work.values()))
    n_bytes = float(sum(part.bytes for part in work.values()))
    floor = _shortest_ms(multiply_adds, n_bytes, machine)
    return Floor(
        multiply_adds_per_step=multiply_adds,
        bytes_per_step=n_bytes,
        floor_ms_per_step=floor,
        parts_floor_ms_per_step={n: _shortest_ms(p.multiply_adds, p.bytes, machine) for n, p in work.items()},
        evaluation_over_floor=dynamics.parts_ms_per_step["evaluation"] / floor,
        step_over_floor=dynamics.mean_ms_per_step / floor,
    )


def _shortest_ms(multiply_adds: float, n_bytes: float, machine: Machine) -> float:
    return 1000 * max(multiply_adds / machine.multiply_adds_per_s, n_bytes / machine.copy_bytes_per_s)
