"""What `organic-start` is for and what not, and errors on test files, put into the file that its training wrote.

    python benchmarks/organic_start/make.py TRAINED.safetensors models/organic-start.safetensors \
        --within FIRST.safetensors --test ethanol_test.xyz ...

`--within` keeps the closest distances, and so the repulsion, of another model where they are longer, and its largest
force where it is smaller: atoms that were displaced at random came closer than in any dynamics, and GFN2-xTB gives them
forces there that no other level has. Files of `--learnt` were learnt beside the files of the settings, of which they
take the place by name: the envelope covers them. Of each test file a hundred structures, evenly spaced, are evaluated
at the level of theory that it states, else at the first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from ase_nbody.data import Dataset, evaluate, read_dataset, statistics
from ase_nbody.model_file import DataFile, load_model, load_model_with_levels, save_model
from ase_nbody.onsets import repulsion_onsets
from ase_nbody.repulsion import Repulsion
from ase_nbody.training.finish import envelope_of
from ase_nbody.training.levels import level_of

STRUCTURES = 100
PURPOSE = "starting `nbody adapt`: fifty structures make it a model of a molecule of H, C, N and O"
NOT_FOR = (
    "results by itself: forces of new molecules are off by 15 to 90 meV/Å; charges, radicals, reactions, liquids, "
    "crystals"
)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--learnt", type=Path, nargs="*", default=[])
    parser.add_argument("--test", type=Path, nargs="*", default=[])
    parser.add_argument("--within", type=Path, help="model whose envelope is not to be left")
    chosen = parser.parse_args()
    potential, information = load_model_with_levels(chosen.trained, dtype=torch.float32)
    errors, envelope = dict(information.errors), information.envelope
    files = {file.name: file for file in information.data}
    for path in chosen.learnt:
        dataset = read_dataset(path)
        level = information.levels[level_of(dataset, information.levels)]
        envelope = envelope.merged(envelope_of(statistics(dataset, level.reference_energies, potential.cutoff)))
        files[path.name] = data_file(path, "train", dataset)
    if chosen.within is not None:
        other = load_model(chosen.within)[1].envelope
        near = {pair: max(other.closest_distances.get(pair, 0.0), d) for pair, d in envelope.closest_distances.items()}
        force = min(envelope.force_max, other.force_max)
        envelope = envelope.model_copy(update={"closest_distances": near, "force_max": force})
    onsets = repulsion_onsets(load_model(chosen.trained)[0], envelope.closest_distances)
    for path in chosen.test:
        dataset = read_dataset(path)
        some = dataset.subset(range(0, len(dataset), max(1, len(dataset) // STRUCTURES)))
        level = information.levels[level_of(dataset, information.levels)]
        report, _ = evaluate(load_model(chosen.trained, level=level.name)[0], some)
        errors[f"test {path.name} {level.name}"] = report.to_json_dict()
        files[path.name] = data_file(path, "test", some)
    known = {"name": chosen.output.stem, "purpose": PURPOSE, "not_for": NOT_FOR, "errors": errors, "envelope": envelope}
    known |= {"data": tuple(files.values()), "repulsion": onsets}
    with_onsets = replace(potential, repulsion=Repulsion(onsets))
    save_model(chosen.output, with_onsets, information.model_copy(update=known), force=True)


def data_file(path: Path, role: Literal["train", "test"], dataset: Dataset) -> DataFile:
    """A file in the header of a model."""
    return DataFile(name=path.name, sha256=dataset.sha256, role=role, n_structures=len(dataset))


if __name__ == "__main__":
    main()
