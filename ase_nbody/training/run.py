"""train: from settings to a model file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from rich.console import Console

from ase_nbody.architectures import Network
from ase_nbody.data import Dataset, PackedSamples, Sample, Statistics, batches_of_samples, samples
from ase_nbody.data.evaluation import labels_left_out
from ase_nbody.files import temporary_path
from ase_nbody.potential import Potential
from ase_nbody.stopping import StopRequest, stop_on_signals
from ase_nbody.training.budget import Budget, Clock, EpochBudget, TimeBudget
from ase_nbody.training.checkpoint import checkpoint_path, load_checkpoint
from ase_nbody.training.display import Display, printable
from ase_nbody.training.files import TrainingFiles
from ase_nbody.training.finish import finish
from ase_nbody.training.history import history_path, learning_curve_path
from ase_nbody.training.loop import Task, fit
from ase_nbody.training.loss import loss_weights
from ase_nbody.training.objective import LabelledStructures, Objective
from ase_nbody.training.prepare import build_network, check_network, training_origin
from ase_nbody.training.scale import energy_scale, label_scales
from ase_nbody.training.settings import TrainingSettings
from ase_nbody.training.state import initial_state
from ase_nbody.training.training_data import DTYPES, TrainingData, check_files, read_training_data

ObjectiveOf = Callable[[TrainingData, Potential, torch.device], Objective]


def train(
    settings: TrainingSettings,
    *,
    command: str | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
    objective_of: ObjectiveOf | None = None,
) -> Path:
    """Train a potential and write its model file, with the history and a learning curve beside it.

    A checkpoint beside the output is resumed; it is removed when the model is written and can be read. Settings are
    checked before data are read.

    Args:
        settings: of the training.
        command: command line that asked for it, kept in the model file. Of absolute paths, there and among the
            settings, what lies below the working directory is kept, and of others the file's name.
        console: where to print; standard output if not given.
        stop: ends the training early when its signal is set; SIGINT and SIGTERM set it.
        objective_of: makes the objective from the data, a potential and a device; labelled structures if not given.

    Returns:
        The path of the model file.

    Raises:
        ValueError: wrong settings, data without labels, a checkpoint of another training, or a diverged loss.
        FileExistsError: the output is there and `force` is not set.
        OSError: there is no room for the first checkpoint, or for the model, whose weights then stay in the checkpoint.
        TrainingStoppedError: a signal asked to stop; the checkpoint is written.
    """
    clock = Clock()
    _check_output(settings)
    check_network(settings)
    check_files(settings)
    fabric = start_fabric(settings)
    display = Display(console if fabric.is_global_zero else Console(quiet=True))
    data = read_training_data(settings, display)
    potential, statistics = _untrained(settings, data, fabric, display)
    files = TrainingFiles(
        settings, training_origin(settings, data), checkpoint_path(settings.output), history_path(settings.output)
    )
    task = _task(files, data, potential, fabric, objective_of or partial(labelled_structures, settings))
    state = initial_state(potential.network, settings, task.objective.own_parameters(), potential.further_parameters)
    if settings.force:
        files.checkpoint.unlink(missing_ok=True)
    elif files.checkpoint.exists():
        load_checkpoint(files.checkpoint, state, files.origin)
        clock = Clock(earlier=state.counters.seconds, started=clock.started)
        display.say(f"resuming from '{files.checkpoint}' after step {state.counters.step}")
    request = stop or StopRequest()
    with stop_on_signals(request), display:
        fit(task, state, clock, fabric, display, request)
    if fabric.is_global_zero:
        finish(data, task, files, state, statistics, command, display)
    fabric.barrier()
    return settings.output


def _untrained(
    settings: TrainingSettings, data: TrainingData, fabric: Fabric, display: Display
) -> tuple[Potential, Statistics]:
    """The potential as it is before the first step, and the statistics that it is scaled by."""
    network, statistics = build_network(settings, data)
    scale = energy_scale(statistics) if data.start is None else data.start.potential.energy_scale
    others = () if data.start is None else data.start.potential.others
    potential = Potential(network.to(fabric.device), data.references, scale, others=others)
    display.say(_network_words(network, statistics, fabric))
    for words in labels_left_out(potential, data.train):
        display.warn(words)
    return potential, statistics


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


def _check_output(settings: TrainingSettings) -> None:
    output, checkpoint = settings.output, checkpoint_path(settings.output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder '{output.parent}' for the output; make it first")
    if printable(str(output)) != str(output):
        raise ValueError(
            f"the name of the output '{printable(str(output))}' is no UTF-8 text, and such files cannot be opened by "
            "safetensors; choose another name"
        )
    probe = temporary_path(checkpoint)  # the longest of the names
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"nothing can be written beside the output '{output}' ({error.strerror}); choose another folder, or a "
            "shorter name"
        ) from None
    for path in (output, checkpoint, history_path(output), learning_curve_path(output)):
        if path.is_dir():
            raise IsADirectoryError(
                f"'{path}' is a folder, and a file of this name is to be written; choose another name"
            )
    if output.exists() and not settings.force:
        raise FileExistsError(
            f"the output '{output}' is there already; choose another name, or overwrite it with --force"
        )


def labelled_structures(
    settings: TrainingSettings, data: TrainingData, potential: Potential, device: torch.device
) -> LabelledStructures:
    """The objective of an ordinary training."""

    def prepared(dataset: Dataset) -> list[Sample]:  # on the CPU: small tensors are made faster there
        return samples(dataset, potential.cutoff, dtype=DTYPES[settings.dtype])

    validation = batches_of_samples(prepared(data.valid), settings.validation_atoms)
    return LabelledStructures(
        samples=PackedSamples(prepared(data.train), device),
        validation=[batch.to(device) for batch in validation],
        weights=loss_weights(settings, potential.energy_scale, label_scales(data.train)),
    )


def _task(
    files: TrainingFiles, data: TrainingData, potential: Potential, fabric: Fabric, objective_of: ObjectiveOf
) -> Task:
    settings = files.settings
    if len(data.train) < fabric.world_size:
        raise ValueError(f"{len(data.train)} structures cannot be shared by {fabric.world_size} devices; take fewer")
    objective = objective_of(data, potential, fabric.device)
    steps = len(objective.batches(settings.batch_size * fabric.world_size, settings.seed, 0))
    return Task(
        potential=potential,
        objective=objective,
        budget=_budget(settings, steps),
        settings=settings,
        from_start=data.start is not None,
        files=files,
    )


def _budget(settings: TrainingSettings, steps_per_epoch: int) -> Budget:
    if settings.epochs is not None:
        return EpochBudget(settings.epochs, steps_per_epoch)
    assert settings.minutes is not None
    return TimeBudget(60.0 * settings.minutes)


def _network_words(network: Network, statistics: Statistics, fabric: Fabric) -> str:
    parameters = sum(p.numel() for p in network.parameters())
    neighbours = f"{statistics.average_neighbours:.1f} neighbours per atom within {network.settings.cutoff:g} Å"
    return f"{type(network).__name__} with {parameters} parameters on {fabric.device}; {neighbours}"
