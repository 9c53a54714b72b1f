"""Draws docs/figures/md_*.png: the plots of `nbody md` for a run that goes well, one that is stopped, one outside."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from boxes import FIGURES
from PIL import Image

RUNS = {
    "md_ethanol": "--temperature 300 --steps 1000",
    "md_stopped": "--timestep 3 --interval 1",
    "md_outside": "--temperature 2500 --steps 500",
}
WIDTH = 1100  # pixels


def main() -> None:
    """Run the commands and keep their plots, smaller."""
    for name, options in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "ethanol.traj"
            words = f"md CH3CH2OH --model organic {options} --output".split()
            command = [sys.executable, "-c", "from ase_nbody.cli import main; main()", *words, str(output)]
            subprocess.run(command, check=False, capture_output=True)  # the last two end with a status of their own
            picture = Image.open(output.with_suffix(".png")).convert("RGB")
            smaller = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
            smaller.quantize(64).save(FIGURES / f"{name}.png", optimize=True)
            print(f"figure written to {FIGURES / name}.png")


if __name__ == "__main__":
    main()
