"""What `nbody md` says at the end: figures of merit and the plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from ase_nbody.cli.output import new_figure, save_figure
from ase_nbody.simulation.recorder import Frame, energy_drift


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


def draw_dynamics(
    frames: Sequence[Frame], path: Path, target: float | None, marks: Sequence[tuple[float, str]] = ()
) -> bool:
    """Plot energies and temperature, and the volume where it changes; False without matplotlib.

    Args:
        frames: rows of the log.
        path: figure to write.
        target: temperature of the thermostat, drawn as a line, K; None without.
        marks: times, fs, that are marked with a word.
    """
    volumes = [f.volume for f in frames]
    panels = 3 if len(set(volumes)) > 1 else 2
    figure = new_figure(7.0, 2.4 * panels)
    if figure is None:
        return False
    axes = figure.subplots(panels, 1, sharex=True)
    times = [f.time / 1000 for f in frames]
    marker = "o" if len(frames) == 1 else None  # one point has no line
    potential = np.array([f.potential_energy for f in frames])
    total = np.array([f.total_energy for f in frames])
    axes[0].plot(times, potential - potential[0], marker=marker, label="potential")
    axes[0].plot(times, total - potential[0], marker=marker, label="total")
    axes[0].set_ylabel("energy (eV)")
    axes[1].plot(times, [f.temperature for f in frames], color="tab:red", marker=marker, label="temperature")
    axes[1].set_ylabel("temperature (K)")
    if target is not None:
        axes[1].axhline(target, color="black", linestyle=":", label=f"target {target:g} K")
    if panels == 3:
        axes[2].plot(times, volumes, color="tab:green", label="volume")
        axes[2].set_ylabel("volume (Å³)")
    for time, word in marks:
        for panel in axes:
            panel.axvline(time / 1000, color="tab:purple", linestyle="--", label=f"{word} at {time:g} fs")
    for panel in axes[:2]:
        panel.legend(frameon=False)
    axes[-1].set_xlabel("time (ps)")
    save_figure(figure, path)
    return True
