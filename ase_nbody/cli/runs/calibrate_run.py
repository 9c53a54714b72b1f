"""What `nbody calibrate` does with its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ase_nbody.calibration.calibrate import covered_surroundings, posterior_of_held_out, posterior_of_others
from ase_nbody.calibration.errors import check_readouts
from ase_nbody.cli.inputs import check_outputs, labelled_structures
from ase_nbody.cli.output import say, warn
from ase_nbody.data import Dataset, default_validation_size, merge, split, without_isolated_atoms
from ase_nbody.levels import with_posterior
from ase_nbody.model_file import level_number, load_model, load_model_with_levels, save_model
from ase_nbody.model_information import SUFFIX, ModelInformation
from ase_nbody.model_knowledge import knowledge_records, stored_dtype
from ase_nbody.model_records import UncertaintyRecord
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential
from ase_nbody.readout_posterior import ReadoutPosterior
from ase_nbody.thread_count import using_threads
from ase_nbody.training.levels import level_of


def run_calibrate(options: Mapping[str, Any]) -> None:
    """Calibrate as the options of the command say.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, a file cannot be read, or the model has no linear readouts or no such level.
    """
    output, path = Path(options["output"]), find_model(options["model"])
    if output.suffix != SUFFIX:
        raise ValueError(f"the output is a model file and must end in {SUFFIX}, not '{output}'")
    check_outputs([output], options["force"])
    whole, information = load_model_with_levels(path, dtype=stored_dtype(path))
    check_readouts(whole)
    number = _number(options, information)
    alone, _ = load_model(path, dtype=stored_dtype(path), level=options["level"])
    read = partial(labelled_structures, options=options, unread=alone.further_properties)
    data = [read(path) for path in dict.fromkeys(options["data"])]
    _check_levels(data, number, information)
    others = [read(path) for path in options["also"] or ()]
    valid = None if options["valid"] is None else read(options["valid"])
    with using_threads(options["threads"]):
        posterior, learnt = _posterior(alone, data, valid, information)
        surroundings = whole.surroundings if number else covered_surroundings(alone, [learnt, *others])
    better = replace(with_posterior(whole, number, posterior), surroundings=surroundings)
    save_model(output, better, information.model_copy(update=knowledge_records(better)), force=options["force"])
    _report(better, posterior.record)
    say(f"model           {output}")


def _number(options: Mapping[str, Any], information: ModelInformation) -> int:
    """Of the level of theory that is calibrated.

    Raises:
        ValueError: the model has no such level, or surroundings are given to one that has none of its own.
    """
    number = level_number(information, options["level"])
    if number and options["also"]:
        raise ValueError(
            f"--also is for surroundings, which are of the level '{information.level_names[0]}'; leave it out with "
            f"--level '{options['level']}'"
        )
    return number


def _check_levels(data: Sequence[Dataset], number: int, information: ModelInformation) -> None:
    """Refuse labels that state another level of theory of the model.

    Raises:
        ValueError: the file and its level are named.
    """
    for dataset in data:
        stated = level_of(dataset, information.levels)
        if stated not in (0, number):
            name = information.levels[stated].name
            raise ValueError(f"{dataset.source} states the level of theory '{name}'; take --level '{name}'")


def _posterior(
    potential: Potential, data: Sequence[Dataset], valid: Dataset | None, information: ModelInformation
) -> tuple[ReadoutPosterior, Dataset]:
    """What the data leave open, and those of them that the model learnt, or all where it learnt none."""
    if valid is None and not _learnt(data, information):
        say(f"{information.name} has learnt none of these files: structures are held out in turn")
        return posterior_of_others(potential, merge(data)), merge(data)
    learnt, held_out = _split(merge(data), valid, information)
    return posterior_of_held_out(potential, learnt, held_out), learnt


def _report(potential: Potential, record: UncertaintyRecord) -> None:
    """What was found, of the level that was calibrated."""
    say(f"structures      {record.n_learnt} that say what is left open, {record.n_held_out} held out")
    if potential.surroundings is not None:
        say(f"surroundings    of {potential.surroundings.record.n_learnt} structures")
    energies, forces = f"{record.energy_factor:.3g} of energies", f"{record.forces_factor:.3g} of forces"
    say(f"factors         {energies}, {forces}, {record.stress_factor:.3g} of stress")


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
