"""What `nbody md` says at the end: figures of merit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

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
    if frames[-1].dispersion_energy is not None:
        share = np.mean([f.dispersion_energy for f in second_half if f.dispersion_energy is not None])
        lines.append(f"dispersion      {atoms.calc.dispersion_name}, {share:.4f} eV of the energy (mean, second half)")
    return "\n".join(lines)
