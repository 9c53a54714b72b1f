"""What `organic-start` is for and what not, and errors on test files, put into the file that its training wrote.

    python benchmarks/organic_start/make.py TRAINED.safetensors models/organic-start.safetensors ethanol_test.xyz ...

Of each test file a hundred structures, evenly spaced, are evaluated at the level of theory that it states, else at the
first.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ase_nbody.data import evaluate, read_dataset
from ase_nbody.model_file import DataFile, load_model, load_model_with_levels, save_model
from ase_nbody.training.levels import level_of

STRUCTURES = 100
PURPOSE = (
    "starting `nbody adapt`: fifty structures of a molecule of H, C, N and O make it a model of that molecule; it has "
    "seen 620 molecules of at most five, and some of six, heavy atoms, their conformers, dimers and stretched bonds"
)
NOT_FOR = (
    "use by itself beyond a first look: molecules of more than five heavy atoms, rings of carbon above all, have "
    "errors of 100 to 350 meV/Å; charges, radicals, other elements, liquids and crystals"
)


def main() -> None:
    """Command line: the file of the training, the file to write, and test files."""
    trained, output, *tests = (Path(name) for name in sys.argv[1:])
    potential, information = load_model_with_levels(trained, dtype=torch.float32)
    errors, files = dict(information.errors), list(information.data)
    for path in tests:
        dataset = read_dataset(path)
        some = dataset.subset(range(0, len(dataset), max(1, len(dataset) // STRUCTURES)))
        level = information.levels[level_of(dataset, information.levels)].name
        report, _ = evaluate(load_model(trained, level=level)[0], some)
        errors[f"test {path.name} {level}"] = report.to_json_dict()
        files.append(DataFile(name=path.name, sha256=dataset.sha256, role="test", n_structures=len(some)))
    known = {"name": output.stem, "purpose": PURPOSE, "not_for": NOT_FOR, "errors": errors, "data": tuple(files)}
    save_model(output, potential, information.model_copy(update=known), force=True)


if __name__ == "__main__":
    main()
