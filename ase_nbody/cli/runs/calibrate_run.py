"""What `nbody calibrate` does with its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ase_nbody.calibration.calibrate import calibrated, check_readouts
from ase_nbody.cli.inputs import check_outputs
from ase_nbody.cli.output import say, warn
from ase_nbody.data import (
    Dataset,
    default_validation_size,
    merge,
    read_dataset,
    split,
    without_isolated_atoms,
)
from ase_nbody.kernels.workers import torch_threads
from ase_nbody.model_file import load_model_with_levels, save_model
from ase_nbody.model_information import SUFFIX, ModelInformation
from ase_nbody.model_knowledge import stored_dtype
from ase_nbody.models_directory import find_model


def run_calibrate(options: Mapping[str, Any]) -> None:
    """Calibrate as the options of the command say.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, a file cannot be read, or the model has no linear readouts.
    """
    output, path = Path(options["output"]), find_model(options["model"])
    if output.suffix != SUFFIX:
        raise ValueError(f"the output is a model file and must end in {SUFFIX}, not '{output}'")
    check_outputs([output], options["force"])
    potential, information = load_model_with_levels(path, dtype=stored_dtype(path))
    check_readouts(potential)
    learnt, held_out = _structures(options, information)
    others = [_read(path, options) for path in options["also"] or ()]
    with torch_threads(options["threads"]):
        better = calibrated(potential, learnt, held_out, others)
    assert better.posterior is not None and better.surroundings is not None
    record, known = better.posterior.record, better.surroundings.record
    known_now = information.model_copy(update={"uncertainty": record, "surroundings": known})
    save_model(output, better, known_now, force=options["force"])
    say(f"structures      {record.n_learnt} that the model learnt and {record.n_held_out} that it did not")
    say(f"surroundings    of {known.n_learnt} structures")
    say(f"factors         {record.energy_factor:.3g} of energies, {record.forces_factor:.3g} of forces")
    say(f"model           {output}")


def _structures(options: Mapping[str, Any], information: ModelInformation) -> tuple[Dataset, Dataset]:
    """What the model learnt and what it did not, split as its training did."""
    several = [_read(path, options) for path in dict.fromkeys(options["data"])]
    files = {file.sha256 for file in information.data}
    for dataset in several:
        if files and dataset.sha256 not in files:
            warn(f"{Path(dataset.source).name} is not one of the files that {information.name} was made with")
    usable = without_isolated_atoms(merge(several))
    if options["valid"] is not None:
        return usable, without_isolated_atoms(_read(options["valid"], options))
    settings = information.training.get("settings", {})
    n_valid = settings.get("n_valid") or default_validation_size(len(usable))
    return split(usable, n_valid, settings.get("seed", 0))


def _read(path: Path, options: Mapping[str, Any]) -> Dataset:
    dataset = read_dataset(
        path, energy_key=options["energy_key"], forces_key=options["forces_key"], stress_key=options["stress_key"]
    )
    say(f"{dataset.source}: {len(dataset)} structures, {dataset.found}")
    for note in dataset.notes:
        warn(note)
    return dataset
