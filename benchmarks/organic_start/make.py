"""What `organic-start` is for and what not, put into the file that its training wrote.

python benchmarks/organic_start/make.py TRAINED.safetensors models/organic-start.safetensors
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ase_nbody.model_file import load_model_with_levels, save_model

PURPOSE = (
    "starting `nbody adapt`: fifty structures of a molecule of H, C, N and O make it a model of that molecule; it has "
    "seen 641 molecules of at most five, and some of six, heavy atoms, their conformers, dimers and stretched bonds"
)
NOT_FOR = (
    "use by itself beyond a first look: molecules of more than five heavy atoms, rings of carbon above all, have "
    "errors of 100 to 350 meV/Å; charges, radicals, other elements, liquids and crystals"
)


def main() -> None:
    """Command line: the file of the training, and the file to write."""
    trained, output = (Path(name) for name in sys.argv[1:])
    potential, information = load_model_with_levels(trained, dtype=torch.float32)
    known = {"name": output.stem, "purpose": PURPOSE, "not_for": NOT_FOR}
    save_model(output, potential, information.model_copy(update=known), force=True)


if __name__ == "__main__":
    main()
