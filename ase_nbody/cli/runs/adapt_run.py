"""What `nbody adapt` does with its options."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ase_nbody.cli.inputs import check_outputs, labelled_structures
from ase_nbody.cli.options import further_weights
from ase_nbody.cli.output import say, warn
from ase_nbody.data import Dataset, ErrorReport, error_words, evaluate, not_predicted
from ase_nbody.data.copies import learnt_words
from ase_nbody.data.evaluation import check_elements
from ase_nbody.data.levels import check_one_level
from ase_nbody.meta.adapt import Adaptation, adapt
from ase_nbody.meta.held_out import Row
from ase_nbody.meta.model import StartModel, adapted_model
from ase_nbody.meta.settings import AdaptationSettings
from ase_nbody.meta.start_level import nearest_start
from ase_nbody.model_file import Envelope, file_hash, load_model, save_model
from ase_nbody.model_information import SUFFIX
from ase_nbody.models_directory import find_model
from ase_nbody.potential import Potential
from ase_nbody.thread_count import using_threads
from ase_nbody.training.finish import without_folders


def run_adapt(options: Mapping[str, Any]) -> None:
    """Adapt as the options of the command say.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, a file cannot be read, or the model would be worse.
    """
    names = AdaptationSettings.model_fields.keys() & options.keys()
    given = {name: options[name] for name in names if options[name] is not None}
    settings = AdaptationSettings.model_validate({**given, "further_weights": further_weights(options["weight"])})
    output, path = Path(options["output"]), find_model(options["start"])
    if output.suffix != SUFFIX:
        raise ValueError(f"the output is a model file and must end in {SUFFIX}, not '{output}'")
    check_outputs([output], options["force"])
    potential, information = load_model(path, level=options["start_level"])
    read = partial(labelled_structures, options=options, further=potential.further_properties)
    data = read(options["data"])
    check_one_level(data, options["level"])
    if options["start_level"] is None:
        potential, information, words = nearest_start(path, data, settings)
        if words is not None:
            say(words)
    origin = StartModel(potential, information, file_hash(path), information.name)
    auxiliary = None if options["auxiliary"] is None else read(options["auxiliary"])
    others = {f"test {file.name}": read(file) for file in options["test"] or ()}
    remember = None if options["remember"] is None else read(options["remember"])
    _check_others(potential, data, list(others.values()), remember)
    with using_threads(options["threads"]):
        adaptation = adapt(potential, data, settings, say, auxiliary=auxiliary)
        _print_table(adaptation)
        command = shlex.join(without_folders(["nbody", *sys.argv[1:]]))
        adapted, written = adapted_model(
            adaptation,
            origin,
            data,
            name=output.stem,
            level=options["level"],
            command=command,
            auxiliary=auxiliary,
        )
        reports = {name: _report(adapted, dataset, name) for name, dataset in others.items()}
        if remember is not None:
            remembered = f"remembered {Path(remember.source).name}"
            reports[f"{remembered}, the start"] = evaluate(potential, remember)[0]
            reports[remembered] = _report(adapted, remember, remembered)
    for name, report in reports.items():
        say(f"errors on {name} ({report.n_structures} structures): {error_words(report)}")
    errors = {**written.errors, **{name: report.to_json_dict() for name, report in reports.items()}}
    _print_envelope(written.envelope, information.envelope)
    if adaptation.referenced.undetermined:
        warn(_undetermined_words(adaptation.referenced.undetermined))
    save_model(output, adapted, written.model_copy(update={"errors": errors}), force=options["force"])
    say(f"model written to {output} after {adaptation.seconds:.0f} s")


def _report(potential: Potential, dataset: Dataset, name: str) -> ErrorReport:
    """Errors on a dataset; a warning tells of labels that do not count."""
    report, evaluation = evaluate(potential, dataset)
    for words in not_predicted(evaluation):
        warn(f"{name}: {words}")
    return report


def _check_others(start: Potential, data: Dataset, tests: Sequence[Dataset], remember: Dataset | None) -> None:
    """What could not be evaluated at the end is refused before time is spent; tests that are learnt are told.

    Raises:
        ValueError: elements that the start, or for tests the adapted model, does not know.
    """
    if remember is not None:
        check_elements(start.elements, remember)
    known = tuple(dict.fromkeys((*start.elements, *data.elements)))
    for test in tests:
        check_elements(known, test, f"leave these structures out, or add labelled ones to {data.source}")
        if (words := learnt_words(test, data)) is not None:
            warn(words)


def _print_table(adaptation: Adaptation) -> None:
    n, n_folds = adaptation.n_held_out
    how = "one fold, the same for all" if n_folds == 1 else f"{n_folds} folds in turn"
    say(f"MAE on {n} held-out structures ({how}); the first row is before, the others are after:")
    forces, energies, *others = adaptation.rows[0].errors
    units = [forces.unit, energies.unit, *(f"{errors.kind.name}, {errors.unit}" for errors in others)]
    heads = ["candidate", *units, "score", "steps", "s"]
    line = "{:<42}" + "".join(f"{{:>{max(10, len(head) + 2)}}}" for head in heads[1:])
    say(line.format(*heads))
    for row in adaptation.rows:
        mark = " *" if row is adaptation.chosen else ""
        say(line.format(row.candidate.words + mark, *_cells(row)))
    if not all(row.compared for row in adaptation.rows):
        say("too few: so few steps in its part of --minutes that it is not ranked")
    say(f"* chosen: {adaptation.reason}; steps to fit all structures: {adaptation.steps}")


def _cells(row: Row) -> list[str]:
    errors = ["-" if errors.mae is None else f"{1000 * errors.mae:.2f}" for errors in row.errors]
    score = f"{row.score:.1f}" if row.compared else "too few"
    return [*errors, score, str(row.steps), f"{row.seconds:.0f}"]


def _print_envelope(ours: Envelope, starts: Envelope) -> None:
    words = ", ".join(f"{pair} {distance:.2f}" for pair, distance in ours.closest_distances.items())
    lost = [pair for pair in starts.closest_distances if pair not in ours.closest_distances]
    say(f"covered: the new structures alone; closest distances, Å: {words}")
    if ours.force_max is not None:
        say(f"covered: forces up to {ours.force_max:.3g} eV/Å")
    if ours.energy_per_atom_range is not None:
        low, high = ours.energy_per_atom_range
        say(f"covered: energies per atom beyond the reference energies, {low:.4f} to {high:.4f} eV")
    if lost:
        say(f"no longer covered: {', '.join(lost)}, which only the start's own data have; warnings will say so")


def _undetermined_words(elements: tuple[str, ...]) -> str:
    return (
        f"the structures do not determine the reference energies of {', '.join(elements)}: energies of other "
        "compositions are shifted by unknown constants; forces, and energies within a composition, are not"
    )
