"""What molecular dynamics reports: rows of the log, figures of merit and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units

from ase_nbody.cli.output import new_figure, save_figure


@dataclass(frozen=True)
class Frame:
    """A row of the log: step, time in fs, energies in eV, temperature in K; with a full cell, volume and pressure."""

    step: int
    time: float
    potential_energy: float
    kinetic_energy: float
    temperature: float
    volume: float | None
    pressure: float | None

    @classmethod
    def of(cls, atoms: Atoms, step: int, timestep: float, freedom: int) -> Frame:
        """The state of a structure.

        Args:
            atoms: structure with momenta and calculator.
            step: number of the step.
            timestep: fs.
            freedom: number of thermal degrees of freedom.
        """
        kinetic = float(atoms.get_kinetic_energy())
        periodic = bool(atoms.pbc.all())
        stress = atoms.get_stress(include_ideal_gas=True) if periodic else None
        return cls(
            step=step,
            time=step * timestep,
            potential_energy=float(atoms.get_potential_energy()),
            kinetic_energy=kinetic,
            temperature=2 * kinetic / (freedom * units.kB) if freedom else 0.0,
            volume=float(atoms.get_volume()) if periodic else None,
            pressure=None if stress is None else -float(np.mean(stress[:3])) / units.GPa,
        )

    @property
    def total_energy(self) -> float:
        """Potential and kinetic energy, eV."""
        return self.potential_energy + self.kinetic_energy

    @staticmethod
    def columns(atoms: Atoms) -> list[str]:
        """Names of the log's columns."""
        columns = ["step", "time_fs", "potential_energy_eV", "kinetic_energy_eV", "total_energy_eV", "temperature_K"]
        return columns + (["volume_A3", "pressure_GPa"] if atoms.pbc.all() else [])

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
        return row


def energy_drift(frames: Sequence[Frame], n_atoms: int) -> tuple[float, float]:
    """Slope of a line through the total energy, meV/atom/ps, and the spread around it, meV/atom."""
    energies = 1000 * np.array([f.total_energy for f in frames]) / n_atoms
    times = np.array([f.time for f in frames]) / 1000
    if len(frames) < 2:
        return 0.0, 0.0
    slope, offset = np.polyfit(times, energies - energies[0], 1)
    return float(slope), float(np.std(energies - energies[0] - slope * times - offset))


def summary(atoms: Atoms, frames: Sequence[Frame], ensemble: str, seconds: float, steps: int) -> str:
    """Speed, temperature and, by ensemble, energy drift or volume; means over the second half."""
    second_half = frames[len(frames) // 2 :]
    temperatures = [f.temperature for f in second_half]
    lines = [
        f"structure       {atoms.get_chemical_formula()}, {len(atoms)} atoms",
        f"simulated       {frames[-1].time / 1000:g} ps {ensemble.upper()} in {seconds:.1f} s",
        f"speed           {1000 * seconds / max(steps, 1):.2f} ms/step",
        f"temperature     {np.mean(temperatures):.0f} ± {np.std(temperatures):.0f} K (mean and spread, second half)",
    ]
    if ensemble == "nve":
        drift, spread = energy_drift(frames, len(atoms))
        lines.append(f"energy drift    {drift:+.4f} meV/atom/ps, spread {spread:.4f} meV/atom")
    if ensemble == "npt":
        volume = np.mean([f.volume for f in second_half if f.volume is not None])
        pressure = np.mean([f.pressure for f in second_half if f.pressure is not None])
        lines.append(f"volume          {volume:.2f} Å³ at {pressure:+.3f} GPa (means, second half)")
    return "\n".join(lines)


def draw_dynamics(frames: Sequence[Frame], path: Path) -> bool:
    """Plot energies and temperature, and the volume where it changes; False without matplotlib."""
    volumes = [f.volume for f in frames]
    panels = 3 if len(set(volumes)) > 1 else 2
    figure = new_figure(7.0, 2.4 * panels)
    if figure is None:
        return False
    axes = figure.subplots(panels, 1, sharex=True)
    times = [f.time / 1000 for f in frames]
    potential = np.array([f.potential_energy for f in frames])
    total = np.array([f.total_energy for f in frames])
    axes[0].plot(times, potential - potential[0], label="potential")
    axes[0].plot(times, total - potential[0], label="total")
    axes[0].set_ylabel("energy (eV)")
    axes[0].legend(frameon=False)
    axes[1].plot(times, [f.temperature for f in frames], color="tab:red")
    axes[1].set_ylabel("temperature (K)")
    if panels == 3:
        axes[2].plot(times, volumes, color="tab:green")
        axes[2].set_ylabel("volume (Å³)")
    axes[-1].set_xlabel("time (ps)")
    save_figure(figure, path)
    return True
