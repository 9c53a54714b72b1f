"""What molecular dynamics was asked for, and the trajectory and log it writes."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from ase import Atoms
from ase.io import Trajectory

from ase_nbody.cli.envelope import closer_than
from ase_nbody.cli.md_report import Frame
from ase_nbody.cli.output import warn


@dataclass(frozen=True)
class DynamicsSettings:
    """What `nbody md` was asked for; units as in its help: K, fs, 1/fs, GPa."""

    ensemble: Literal["nve", "nvt", "npt"]
    temperature: float
    timestep: float
    steps: int
    friction: float
    pressure: float
    barostat_time: float
    flexible_cell: bool
    interval: int
    seed: int
    stop_outside_envelope: bool

    def __post_init__(self) -> None:
        positive = {k: v for k, v in asdict(self).items() if k in ("timestep", "friction", "barostat_time")}
        wrong = {k: v for k, v in positive.items() if not 0 < v < np.inf}
        if wrong or not np.isfinite([self.temperature, self.pressure]).all():
            raise ValueError(
                f"temperature and pressure must be finite, and {', '.join(positive)} positive; not {wrong}"
            )


class Recorder:
    """Writes frames to trajectory and log, and watches the model's training envelope.

    Frames are written at once under the final name, so that a run that is stopped can be continued.

    Args:
        atoms: structure with its NBodyCalculator and velocities.
        settings: time step, ensemble and what to do outside the envelope.
        output: trajectory; the log has the suffix .csv.

    Attributes:
        frames: rows of the log so far.
        log: the log file.
    """

    def __init__(self, atoms: Atoms, settings: DynamicsSettings, output: Path) -> None:
        self.frames: list[Frame] = []
        self.log = output.with_suffix(".csv")
        self._atoms = atoms
        self._settings = settings
        self._freedom = degrees_of_freedom(atoms, settings.ensemble)
        self._closest = atoms.calc.information.envelope.closest_distances
        self._warned: set[str] = set()
        self._trajectory = Trajectory(str(output), "w", atoms)
        self._file = open(self.log, "w", newline="")
        self._rows = csv.DictWriter(self._file, Frame.columns(atoms))
        self._rows.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._trajectory.close()
        self._file.close()

    def record(self, step: int) -> Frame:
        """Write the structure as it is.

        Raises:
            ValueError: atoms are closer than in the training data, and that was to stop the run.
        """
        frame = Frame.of(self._atoms, step, self._settings.timestep, self._freedom)
        self.frames.append(frame)
        self._trajectory.write()
        self._rows.writerow(frame.row())
        self._file.flush()
        self._check_envelope(step)
        return frame

    def _check_envelope(self, step: int) -> None:
        for pair, distance in closer_than(self._atoms, self._closest).items():
            known = self._closest[pair]
            text = f"step {step}: {pair} {distance:.2f} Å is closer than in the training data ({known:.2f} Å)"
            if self._settings.stop_outside_envelope:
                raise ValueError(f"{text}; stopped. The trajectory ends with this frame")
            if pair not in self._warned:
                self._warned.add(pair)
                warn(f"{text}; forces are extrapolated. Said once for {pair}; --stop-outside-envelope stops there")


def degrees_of_freedom(atoms: Atoms, ensemble: str) -> int:
    """Number of momenta that are thermal.

    In NVE those of the whole are conserved, and are not counted where they are zero: 3 of translation and, without
    periodicity, up to 3 of rotation. A Langevin thermostat acts on all.
    """
    freedom = int(atoms.get_number_of_degrees_of_freedom())
    if ensemble != "nve" or atoms.constraints:
        return freedom
    scale = np.abs(atoms.get_momenta()).sum() + 1e-12
    if np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-8 * scale:
        freedom -= 3
    if not atoms.pbc.any() and np.abs(atoms.get_angular_momentum()).max() < 1e-6 * scale:
        freedom -= int(np.sum(atoms.get_moments_of_inertia() > 1e-3))
    return max(freedom, 0)
