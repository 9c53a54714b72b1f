"""Trajectory and log of molecular dynamics."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from ase import Atoms, units
from ase.io import Trajectory

from ase_nbody.simulation.velocities import degrees_of_freedom
from ase_nbody.uncertainties import Uncertainty


@dataclass(frozen=True)
class Recording:
    """What is recorded.

    Attributes:
        ensemble: "nve", "nvt" or "npt": decides which velocities are thermal.
        timestep: fs.
        uncertainty: standard deviations too, by the calculator's `get_uncertainty`.
    """

    ensemble: str
    timestep: float
    uncertainty: bool = False


@dataclass(frozen=True)
class Frame:
    """A row of the log: step, time in fs, energies in eV, temperature in K; with a full cell, volume and pressure.

    The potential energy includes that of dispersion, which is there where the calculator adds it. Of uncertainties it
    has that of the energy and the largest of the forces on atoms.
    """

    step: int
    time: float
    potential_energy: float
    kinetic_energy: float
    temperature: float
    volume: float | None
    pressure: float | None
    dispersion_energy: float | None = None
    uncertainty: Uncertainty | None = None

    @classmethod
    def of(cls, atoms: Atoms, step: int, recording: Recording, freedom: int) -> Frame:
        """The state of a structure.

        Args:
            atoms: structure with momenta and calculator.
            step: number of the step.
            recording: what is recorded.
            freedom: number of thermal degrees of freedom.
        """
        kinetic = float(atoms.get_kinetic_energy())
        periodic = bool(atoms.pbc.all())
        stress = atoms.get_stress(include_ideal_gas=True) if periodic else None
        return cls(
            step=step,
            time=step * recording.timestep,
            potential_energy=float(atoms.get_potential_energy()),
            kinetic_energy=kinetic,
            temperature=2 * kinetic / (freedom * units.kB) if freedom else 0.0,
            volume=float(atoms.get_volume()) if periodic else None,
            pressure=None if stress is None else -float(np.mean(stress[:3])) / units.GPa,
            dispersion_energy=getattr(atoms.calc, "dispersion_energy", None),
            uncertainty=atoms.calc.get_uncertainty(atoms) if recording.uncertainty else None,
        )

    @property
    def total_energy(self) -> float:
        """Potential and kinetic energy, eV."""
        return self.potential_energy + self.kinetic_energy

    @staticmethod
    def columns(atoms: Atoms, recording: Recording) -> list[str]:
        """Names of the log's columns."""
        columns = ["step", "time_fs", "potential_energy_eV", "kinetic_energy_eV", "total_energy_eV", "temperature_K"]
        columns += ["volume_A3", "pressure_GPa"] if atoms.pbc.all() else []
        columns += ["dispersion_energy_eV"] if hasattr(atoms.calc, "dispersion_energy") else []
        return columns + (["energy_uncertainty_eV", "force_uncertainty_eV_A"] if recording.uncertainty else [])

    def row(self) -> dict[str, str]:
        """Values by column."""
        row = {
            "step": str(self.step),
            "time_fs": f"{self.time:.3f}",
            "potential_energy_eV": f"{self.potential_energy:.8f}",
            "kinetic_energy_eV": f"{self.kinetic_energy:.8f}",
            "total_energy_eV": f"{self.total_energy:.8f}",
            "temperature_K": f"{self.temperature:.3f}",
        }
        if self.volume is not None and self.pressure is not None:
            row |= {"volume_A3": f"{self.volume:.5f}", "pressure_GPa": f"{self.pressure:.5f}"}
        if self.dispersion_energy is not None:
            row["dispersion_energy_eV"] = f"{self.dispersion_energy:.8f}"
        if self.uncertainty is not None:
            row["energy_uncertainty_eV"] = f"{self.uncertainty.energy:.6f}"
            row["force_uncertainty_eV_A"] = f"{self.uncertainty.largest_force:.6f}"
        return row


def energy_drift(frames: Sequence[Frame], n_atoms: int) -> tuple[float, float]:
    """Slope of a line through the total energy, meV/atom/ps, and the spread around it, meV/atom."""
    energies = 1000 * np.array([f.total_energy for f in frames]) / n_atoms
    times = np.array([f.time for f in frames]) / 1000
    if len(frames) < 2:
        return 0.0, 0.0
    slope, offset = np.polyfit(times, energies - energies[0], 1)
    return float(slope), float(np.std(energies - energies[0] - slope * times - offset))


class Recorder:
    """Writes frames to trajectory and log.

    Frames are written at once under the final name, so that a run that is stopped can be continued.

    Args:
        atoms: structure with its calculator and velocities.
        recording: what is recorded.
        trajectory: file to write.
        log: table to write, comma-separated.

    Attributes:
        frames: rows of the log so far.
    """

    def __init__(self, atoms: Atoms, recording: Recording, trajectory: Path, log: Path) -> None:
        self.frames: list[Frame] = []
        self._atoms = atoms
        self._recording = recording
        self._freedom = degrees_of_freedom(atoms, recording.ensemble)
        self._trajectory = Trajectory(str(trajectory), "w", atoms)
        self._file = open(log, "w", newline="")
        self._rows = csv.DictWriter(self._file, Frame.columns(atoms, recording))
        self._rows.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._trajectory.close()
        self._file.close()

    def record(self, step: int) -> Frame:
        """Write the structure as it is; a step that is written already is not written again."""
        if self.frames and self.frames[-1].step == step:
            return self.frames[-1]
        frame = Frame.of(self._atoms, step, self._recording, self._freedom)
        self.frames.append(frame)
        self._trajectory.write()
        self._rows.writerow(frame.row())
        self._file.flush()
        return frame
