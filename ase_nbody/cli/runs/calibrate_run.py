"""What `nbody calibrate` does with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase_nbody.calibration.calibrate import calibrated, calibrated_on_others
from ase_nbody.calibration.errors import check_readouts
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
from ase_nbody.model_file import load_model_with_levels, save_model
from ase_nbody.model_information import SUFFIX, ModelInformation
from ase_nbody.model_knowledge import stored_dtype
from ase_nbody.models_directory import find_model
from ase_nbody.thread_count import using_threads


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
    data = [_read(path, options) for path in dict.fromkeys(options["data"])]
    valid = None if options["valid"] is None else _read(options["valid"], options)
    others = [_read(path, options) for path in options["also"] or ()]
    with using_threads(options["threads"]):
        if valid is None and not _learnt(data, information):
            say(f"{information.name} has learnt none of these files: structures are held out in turn")
            better = calibrated_on_others(potential, merge([*data, *others]))
        else:
            better = calibrated(potential, *_split(merge(data), valid, information), others)
    assert better.posterior is not None and better.surroundings is not None
    record, known = better.posterior.record, better.surroundings.record
    known_now = information.model_copy(update={"uncertainty": record, "surroundings": known})
    save_model(output, better, known_now, force=options["force"])
    say(f"structures      {record.n_learnt} that say what is left open, {record.n_held_out} held out")
    say(f"surroundings    of {known.n_learnt} structures")
    say(f"factors         {record.energy_factor:.3g} of energies, {record.forces_factor:.3g} of forces")
    say(f"model           {output}")


def _learnt(data: Sequence[Dataset], information: ModelInformation) -> bool:
    """Whether the model was made with any of these files; a warning names the others."""
    files = {file.sha256 for file in information.data}
    foreign = [Path(dataset.source).name for dataset in data if dataset.sha256 not in files]
    if len(foreign) == len(data):
        return False
    if foreign:
        warn(f"{', '.join(foreign)}: not among the files that {information.name} was made with")
    return True


def _split(data: Dataset, valid: Dataset | None, information: ModelInformation) -> tuple[Dataset, Dataset]:
    """What the model learnt and what it did not, as its training split it where nothing else is given."""
    usable = without_isolated_atoms(data)
    if valid is not None:
        return usable, valid
    settings = information.training.get("settings", {})
    n_valid = settings.get("n_valid") or default_validation_size(len(usable))
    return split(usable, n_valid, settings.get("seed", 0))


def _read(path: Path, options: Mapping[str, Any]) -> Dataset:
    dataset = read_dataset(
        path, energy_key=options["energy_key"], forces_key=options["forces_key"], stress_key=options["stress_key"]
    )
    say(f"{dataset.source}: {len(dataset)} structures, {dataset.label_source}")
    for note in dataset.notes:
        warn(note)
    return dataset
