"""train: from settings to a model file."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.console import Console

from ase_nbody.architectures import Network
from ase_nbody.data import Dataset, ErrorReport, Sample, Statistics, batch_samples, evaluate, samples
from ase_nbody.model_file import Envelope, model_information, save_model
from ase_nbody.potential import Potential
from ase_nbody.training.budget import Budget, Clock, EpochBudget, TimeBudget
from ase_nbody.training.checkpoint import checkpoint_path, load_checkpoint
from ase_nbody.training.display import Display
from ase_nbody.training.history import history_path, learning_curve_path, write_learning_curve
from ase_nbody.training.loop import Task, batches_per_epoch, fit
from ase_nbody.training.loss import LossWeights
from ase_nbody.training.prepare import DTYPES, TrainingData, build_network, read_training_data, training_origin
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.state import TrainingState, initial_state
from ase_nbody.training.stopping import StopRequest, stop_on_signals


def train(
    settings: TrainingSettings,
    *,
    command: str | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
) -> Path:
    """Train a potential and write its model file, with the history and a learning curve beside it.

    A checkpoint beside the output is resumed; it is removed when the model is written.

    Args:
        settings: of the training.
        command: command line that asked for it, kept in the model file. Of absolute paths, there and among the
            settings, what lies below the working directory is kept, and of others the file's name.
        console: where to print; standard output if not given.
        stop: ends the training early when its signal is set; SIGINT and SIGTERM set it.

    Returns:
        The path of the model file.

    Raises:
        ValueError: wrong settings, data without labels, a checkpoint of another training, or a diverged loss.
        FileExistsError: the output is there and `force` is not set.
        TrainingStoppedError: a signal asked to stop; the checkpoint is written.
    """
    clock = Clock()
    _check_output(settings)
    fabric = start_fabric(settings)
    display = Display(console if fabric.is_global_zero else Console(quiet=True))
    data = read_training_data(settings, display)
    network, found = build_network(settings, data)
    scale = energy_scale(found) if data.start is None else data.start.potential.energy_scale
    potential = Potential(network.to(fabric.device), data.references, scale)
    display.say(_network_words(network, found, fabric))
    task = _task(settings, data, potential, fabric)
    state = initial_state(network, settings)
    if task.checkpoint.exists():
        load_checkpoint(task.checkpoint, state, task.origin)
        clock = Clock(earlier=state.counters.seconds, started=clock.started)
        display.say(f"resuming from '{task.checkpoint}' after step {state.counters.step}")
    request = stop or StopRequest()
    with stop_on_signals(request), display:
        fit(task, state, clock, fabric, display, request)
    if fabric.is_global_zero:
        _finish(settings, data, task, state, found, command, display)
    fabric.barrier()
    return settings.output


def start_fabric(settings: TrainingSettings) -> Fabric:
    """Lightning Fabric on the device that the settings ask for; with several devices, one process each.

    Raises:
        ValueError: there is no such device.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise ValueError("device 'cuda' is not there: torch finds no CUDA device; give --device cpu or auto")
    accelerator = "cuda" if settings.device != "cpu" and available else "cpu"
    if accelerator == "cuda" and settings.devices > torch.cuda.device_count():
        raise ValueError(f"{settings.devices} devices were asked for, and {torch.cuda.device_count()} are there")
    fabric = Fabric(accelerator=accelerator, devices=settings.devices)
    fabric.launch()
    return fabric


def energy_scale(found: Statistics) -> float:
    """Scale of the network, eV: the root mean square of the force components, 1 where there are no forces."""
    return found.force_rms or 1.0


def _check_output(settings: TrainingSettings) -> None:
    if not settings.output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder '{settings.output.parent}' for the output; make it first")
    if settings.force:
        checkpoint_path(settings.output).unlink(missing_ok=True)
    elif settings.output.exists():
        raise FileExistsError(
            f"the output '{settings.output}' is there already; choose another name, or overwrite it with --force"
        )


def _task(settings: TrainingSettings, data: TrainingData, potential: Potential, fabric: Fabric) -> Task:
    def prepared(dataset: Dataset) -> list[Sample]:
        return samples(dataset, potential.cutoff, dtype=DTYPES[settings.dtype], device=fabric.device)

    training, validation = prepared(data.train), prepared(data.valid)
    global_batch = settings.batch_size * fabric.world_size
    if len(training) < fabric.world_size:
        raise ValueError(f"{len(training)} structures cannot be shared by {fabric.world_size} devices; take fewer")
    return Task(
        potential=potential,
        samples=training,
        validation=_batches(validation, settings.validation_atoms),
        weights=LossWeights(
            settings.energy_weight, settings.forces_weight, settings.stress_weight, potential.energy_scale
        ),
        budget=_budget(settings, batches_per_epoch(len(training), global_batch)),
        settings=settings,
        origin=training_origin(settings, data),
        checkpoint=checkpoint_path(settings.output),
        history=history_path(settings.output),
    )


def _batches(several: Sequence[Sample], largest: int) -> list[Sample]:
    groups: list[list[Sample]] = [[]]
    for sample in several:
        if groups[-1] and sum(s.graph.n_atoms for s in groups[-1]) + sample.graph.n_atoms > largest:
            groups.append([])
        groups[-1].append(sample)
    return [batch_samples(group) for group in groups]


def _budget(settings: TrainingSettings, steps_per_epoch: int) -> Budget:
    if settings.epochs is not None:
        return EpochBudget(settings.epochs, steps_per_epoch)
    assert settings.minutes is not None
    return TimeBudget(60.0 * settings.minutes)


def _finish(
    settings: TrainingSettings,
    data: TrainingData,
    task: Task,
    state: TrainingState,
    found: Statistics,
    command: str | None,
    display: Display,
) -> None:
    with torch.no_grad():
        for name, parameter in state.network.named_parameters():
            parameter.copy_(state.best[name])
    reports = {"valid": evaluate(task.potential, data.valid)[0]}
    for test in data.tests:
        reports[f"test {Path(test.source).name}"] = evaluate(task.potential, test)[0]
    information = model_information(
        task.potential,
        name=settings.output.stem,
        reference_energies_source=data.references_source,
        method=settings.method,
        licence=settings.licence,
        label_source=data.found,
        data=data.files,
        errors={name: report.to_json_dict() for name, report in reports.items()},
        envelope=_envelope(found),
        training=_training_record(settings, data, state, found, command),
    )
    save_model(settings.output, task.potential, information, force=settings.force)
    write_learning_curve(learning_curve_path(settings.output), state.history)
    task.checkpoint.unlink(missing_ok=True)
    for name, report in reports.items():
        display.say(f"errors on {name} ({report.n_structures} structures): {_error_words(report)}")
    if (warning := _learnt_nothing(reports["valid"], found)) is not None:
        display.say(warning)
    display.say(f"model written to '{settings.output}'")


def _envelope(found: Statistics) -> Envelope:
    return Envelope(
        closest_distances=found.closest_distances,
        force_max=found.force_max,
        energy_per_atom_range=found.energy_range_per_atom,
    )


def _training_record(
    settings: TrainingSettings, data: TrainingData, state: TrainingState, found: Statistics, command: str | None
) -> dict[str, Any]:
    best = min(state.history, key=lambda row: row.score)
    return {
        "settings": _without_folders(settings.model_dump(mode="json")),
        "command": None if command is None else shlex.join(_without_folders(shlex.split(command))),
        "start": None if data.start is None else data.start.to_json_dict(),
        "seconds": state.counters.seconds,
        "epochs": state.counters.epoch,
        "steps": state.counters.step,
        "best_epoch": best.epoch,
        "n_structures": found.n_structures,
        "force_rms": found.force_rms,
    }


def _without_folders(value: Any) -> Any:
    """Settings or words of a command in which no absolute path, also as --name=/path, tells of the machine."""
    if isinstance(value, dict):
        return {name: _without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    option, equals, path = value.partition("=") if str(value).startswith("--") else ("", "", value)
    if not isinstance(path, str) or not Path(path).is_absolute():
        return value
    below = Path(path).is_relative_to(Path.cwd())
    return f"{option}{equals}{Path(path).relative_to(Path.cwd()) if below else Path(path).name}"


def _network_words(network: Network, found: Statistics, fabric: Fabric) -> str:
    parameters = sum(p.numel() for p in network.parameters())
    neighbours = f"{found.average_neighbours:.1f} neighbours per atom within {network.settings.cutoff:g} Å"
    return f"{type(network).__name__} with {parameters} parameters on {fabric.device}; {neighbours}"


def _learnt_nothing(valid: ErrorReport, found: Statistics) -> str | None:
    """A warning where forces of zero would be as good."""
    rmse = valid.forces_rmse_mev_per_angstrom
    if rmse is None or found.force_rms is None or rmse < 1000 * found.force_rms:
        return None
    return (
        f"warning: on the validation structures errors of the forces (RMSE {rmse:.0f} meV/Å) are not below the forces "
        f"of the data themselves ({1000 * found.force_rms:.0f} meV/Å), so that nothing useful was learnt; give it more "
        "time or a lower --learning-rate, and look for wrong labels"
    )


def _error_words(report: ErrorReport) -> str:
    words = []
    if report.energy_mae_mev is not None:
        words.append(f"energy MAE {report.energy_mae_mev:.2f} meV, {report.energy_mae_mev_per_atom:.3f} meV/atom")
    if report.forces_mae_mev_per_angstrom is not None:
        mae, rmse = report.forces_mae_mev_per_angstrom, report.forces_rmse_mev_per_angstrom
        words.append(f"forces MAE {mae:.2f}, RMSE {rmse:.2f} meV/Å")
    if report.stress_mae_mev_per_cubic_angstrom is not None:
        words.append(f"stress MAE {report.stress_mae_mev_per_cubic_angstrom:.3f} meV/Å³")
    return "; ".join(words)
