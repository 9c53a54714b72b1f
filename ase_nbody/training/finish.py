"""The end of a training: the model file first, then what stands beside it, and only then the checkpoint goes."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ase_nbody.architectures.theory import at_level
from ase_nbody.data import (
    Dataset,
    ErrorReport,
    Statistics,
    energy_shifts,
    error_words,
    evaluate,
    not_predicted,
    shift_words,
)
from ase_nbody.model_file import Envelope, ModelInformation, load_model_with_levels, model_information, save_model
from ase_nbody.onsets import repulsion_onsets
from ase_nbody.repulsion import Repulsion
from ase_nbody.training.checkpoint import checkpoint_step
from ase_nbody.training.display import Display, printable
from ase_nbody.training.files import TrainingFiles
from ase_nbody.training.history import learning_curve_path, write_history, write_learning_curve
from ase_nbody.training.levels import by_level
from ase_nbody.training.loop import Task, resume_words
from ase_nbody.training.scale import learnt_nothing
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.start import Start
from ase_nbody.training.state import TrainingState
from ase_nbody.training.training_data import TrainingData
from ase_nbody.training.uncertain_levels import with_uncertainties

_ADVICE = "Mend that (df, quota and ulimit -f show space and limits)"


def finish(
    data: TrainingData,
    task: Task,
    files: TrainingFiles,
    state: TrainingState,
    statistics: Statistics,
    command: str | None,
    display: Display,
) -> None:
    """Write the best weights as a model file, with history and learning curve beside it, and print its errors.

    Raises:
        OSError: the model file could not be written or read back; the checkpoint stays.
        ValueError: the errors on some file could not be computed; the model is written without them.
    """
    output = files.settings.output
    state.take_best()
    envelope = _envelope(statistics, data.start)
    if files.settings.repulsion:
        onsets = repulsion_onsets(task.potential, envelope.closest_distances)
        task = replace(task, potential=replace(task.potential, repulsion=Repulsion(onsets)))
    reports, failures = _reports(task, data, display)
    potential, more = with_uncertainties(task.potential, data, display)
    task, failures = replace(task, potential=potential), failures + more
    errors = {name: report.to_json_dict() for name, report in reports.items()}
    training = _training_record(files.settings, data, state, statistics, command)
    write_model(task, files, _information(task, files, data, errors, training, envelope), state.counters.step)
    write_beside(files.history, "history", display, lambda path: write_history(path, state.history))
    curve = learning_curve_path(output)
    write_beside(curve, "learning curve", display, lambda path: write_learning_curve(path, state.history))
    files.checkpoint.unlink(missing_ok=True)
    for name, report in reports.items():
        display.say(f"errors on {name} ({report.n_structures} structures): {error_words(report)}")
    if "valid" in reports and (warning := learnt_nothing(reports["valid"], statistics)) is not None:
        display.warn(warning)
    display.say(f"model written to '{output}'")
    if failures:
        raise ValueError(
            f"the model '{output}' is written, but errors are missing in it: {'; '.join(failures)}. "
            f"nbody evaluate {shlex.quote(str(output))} --data FILE computes them"
        )


def write_model(task: Task, files: TrainingFiles, information: ModelInformation, step: int) -> None:
    """Write a training's model file and read it back.

    Raises:
        OSError: one of both failed; the message says where the weights are, and what to do.
    """
    output = files.settings.output
    try:
        save_model(output, task.potential, information, force=files.settings.force)
        _check_readable(task, files)
    except Exception as error:  # whatever it is, the weights must not be lost
        raise OSError(
            f"the model '{output}' could not be written ({error}). {_where_the_weights_are(files, step)}"
        ) from error


def write_beside(path: Path, what: str, display: Display, write: Callable[[Path], None]) -> None:
    """Write a file that a model can do without: where that fails, a warning is printed."""
    try:
        write(path)
    except Exception as error:  # a plot may fail in any way
        display.warn(f"the {what} '{path}' could not be written ({type(error).__name__}: {error})")


def _check_readable(task: Task, files: TrainingFiles) -> None:
    output = files.settings.output
    own = task.potential.network.state_dict()
    try:
        read = load_model_with_levels(output, device=task.potential.device, dtype=task.potential.dtype)[0]
        written = read.network.state_dict()
        damaged = [name for name in own if not torch.equal(own[name], written[name])]
        if damaged:
            raise OSError(f"read back, {', '.join(damaged[:3])} differ from what was written")
    except Exception:
        output.unlink(missing_ok=True)  # it would stand in the way of the next try
        raise


def _where_the_weights_are(files: TrainingFiles, step: int) -> str:
    kept = checkpoint_step(files.checkpoint)
    if kept is None:
        return f"There is no checkpoint that can be read either: the weights are lost. {_ADVICE}, and start again"
    how = "finishes from it without training again" if kept == step else f"goes on from its step {kept} of {step}"
    return (
        f"The weights are in the checkpoint '{files.checkpoint}'. {_ADVICE}, then {resume_words(files.settings)} {how}"
    )


def _reports(task: Task, data: TrainingData, display: Display) -> tuple[dict[str, ErrorReport], list[str]]:
    """Errors by name of the set, and what went wrong with the others."""
    sets: dict[str, Dataset] = {"valid": data.valid}
    for test in data.tests:
        name = f"test {printable(Path(test.source).name)}"
        same = sum(key == name or key.startswith(f"{name} (") for key in sets)
        sets[f"{name} ({same + 1})" if same else name] = test
    reports, failures = {}, []
    of_levels = {
        f"{name} {level}".strip(): of_level
        for name, dataset in sets.items()
        for level, of_level in by_level(dataset, data.levels).items()
    }
    for name, (number, dataset) in of_levels.items():
        try:
            with at_level(task.potential.network, number):
                reports[name], evaluation = evaluate(task.potential, dataset)
        except Exception as error:  # out of memory, or whatever it is: the weights must not be lost
            failures.append(f"{name}: {str(error) or type(error).__name__}")
            continue
        if (words := shift_words(energy_shifts(evaluation))) is not None:
            display.say(f"{name}: {words}")
        for words in not_predicted(evaluation):
            display.warn(f"{name}: {words}")
    return reports, failures


def _information(
    task: Task,
    files: TrainingFiles,
    data: TrainingData,
    errors: Mapping[str, dict[str, Any]],
    training: Mapping[str, Any],
    envelope: Envelope,
) -> ModelInformation:
    settings = files.settings
    return model_information(
        task.potential,
        name=printable(settings.output.stem),
        reference_energies_source=data.references_source,
        method=data.levels[0].name if data.levels else settings.method or data.train.level_of_theory,
        levels=data.levels,
        licence=settings.licence,
        purpose=settings.purpose,
        not_for=settings.not_for,
        label_source=data.label_source,
        data=data.files,
        errors=errors,
        envelope=envelope,
        training=training,
    )


def _envelope(statistics: Statistics, start: Start | None) -> Envelope:
    """What the training data cover, with those of the start."""
    own = envelope_of(statistics)
    return own if start is None else own.merged(start.information.envelope)


def envelope_of(statistics: Statistics) -> Envelope:
    """What data of these statistics cover."""
    return Envelope(
        closest_distances=statistics.closest_distances,
        force_max=statistics.force_max,
        energy_per_atom_range=statistics.energy_range_per_atom,
    )


def _training_record(
    settings: TrainingSettings, data: TrainingData, state: TrainingState, statistics: Statistics, command: str | None
) -> dict[str, Any]:
    best = min(state.history, key=lambda row: row.score)
    return {
        "settings": without_folders(settings.model_dump(mode="python")),
        "command": None if command is None else shlex.join(without_folders(shlex.split(command))),
        "start": None if data.start is None else data.start.to_json_dict(),
        "seconds": state.counters.seconds,
        "epochs": state.counters.epoch,
        "steps": state.counters.step,
        "best_epoch": best.epoch,
        "n_structures": statistics.n_structures,
        "force_rms": statistics.force_rms,
    } | ({"lessons": {name: parameter.tolist() for name, parameter in state.beside.items()}} if state.beside else {})


def without_folders(value: Any) -> Any:
    """Settings or words of a command in which no absolute path, also as --name=/path, tells of the machine."""
    if isinstance(value, Mapping):
        return {name: without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    if not isinstance(value, str | Path):
        return value
    option, equals, path = str(value).partition("=") if str(value).startswith("--") else ("", "", str(value))
    if not Path(path).is_absolute():
        return printable(str(value))
    below = Path(path).is_relative_to(Path.cwd())
    return printable(f"{option}{equals}{Path(path).relative_to(Path.cwd()) if below else Path(path).name}")
