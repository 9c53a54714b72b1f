"""The loop: steps over shuffled batches until the budget is used up, with validations and checkpoints in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ase_nbody.potential import Potential
from ase_nbody.stopping import StopRequest
from ase_nbody.thread_count import using_threads
from ase_nbody.training.budget import Budget, Clock
from ase_nbody.training.checkpoint import checkpoint_step, save_checkpoint
from ase_nbody.training.display import Display
from ase_nbody.training.files import TrainingFiles
from ase_nbody.training.history import write_history
from ase_nbody.training.history_row import HistoryRow
from ase_nbody.training.objective import Objective
from ase_nbody.training.schedule import learning_rate_factor
from ase_nbody.training.settings import FittingSettings, TrainingSettings
from ase_nbody.training.state import TrainingState
from ase_nbody.training.stopping import TrainingDivergedError, TrainingStoppedError
from ase_nbody.training.validation import score

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Validations come after a pass over the data, but not closer than the first and not further apart than the second
# fraction of the budget.
CLOSEST_VALIDATIONS = 0.01
FURTHEST_VALIDATIONS = 0.1


@dataclass(frozen=True)
class Task:
    """What is trained on what; it does not change while training.

    Attributes:
        potential: holds the network that is trained.
        objective: what is learnt, on the potential's device and in its dtype.
        budget: when to end.
        settings: rates, decay and batch size.
        from_start: the weights are those of a model, which are validated before the first step.
        files: where the state is kept; None: nowhere.
    """

    potential: Potential
    objective: Objective
    budget: Budget
    settings: FittingSettings
    from_start: bool = False
    files: TrainingFiles | None = None


def fit(task: Task, state: TrainingState, clock: Clock, fabric: Fabric, display: Display, stop: StopRequest) -> None:
    """Train from a state until the budget is used up, one step at least; the state and its files are changed.

    The weights of a start are validated before the first step, and stay the best until others are better.

    Raises:
        TrainingStoppedError: a stop was requested; the checkpoint, if there is one, is written.
        TrainingDivergedError: the loss or a gradient is not finite.
        OSError: there is no room for the checkpoint of the first step.
    """
    counters, settings = state.counters, task.settings
    global_batch = settings.batch_size * fabric.world_size
    batches = task.objective.batches(global_batch, settings.seed, counters.epoch)
    n_batches = len(batches)
    saved = counters.seconds
    if task.from_start and counters.step == 0:
        validate(task, state, n_batches, 0.0, 0.0, display)
    while (progress := task.budget.progress(counters.step, counters.seconds)) < 1.0 or counters.step == 0:
        rate = settings.learning_rate * learning_rate_factor(progress, settings.warm_up, settings.final_learning_rate)
        chosen = batches[counters.batch].tensor_split(fabric.world_size)[fabric.global_rank]
        value = take_step(task, state, chosen, rate, fabric)
        counters.advance(value, n_batches)
        if counters.batch == 0:
            batches = task.objective.batches(global_batch, settings.seed, counters.epoch)

        counters.seconds, stopping = fabric.broadcast((clock.seconds(), stop.signal))
        progress = task.budget.progress(counters.step, counters.seconds)
        display.step(state, value, rate, progress)
        if validation_due(state, progress):
            validate(task, state, n_batches, rate, progress, display)
        if task.files is not None and fabric.is_global_zero:
            due = counters.step == 1 or counters.seconds - saved >= task.files.settings.checkpoint_seconds
            if stopping or due:
                keep_checkpoint(task.files, state, display)
                saved = counters.seconds
        if stopping:
            raise TrainingStoppedError(_how_to_resume(task.files, counters.step, progress), stopping)
    if task.files is not None and fabric.is_global_zero:
        keep_checkpoint(task.files, state, display)


def keep_checkpoint(files: TrainingFiles, state: TrainingState, display: Display) -> None:
    """Write the checkpoint; where that fails a training that has only begun ends, and a later one goes on.

    Raises:
        OSError: there is no room for the checkpoint of the first step.
    """
    try:
        save_checkpoint(files.checkpoint, state, files.origin)
    except OSError as error:
        if state.counters.step == 1:
            raise OSError(
                f"the checkpoint '{files.checkpoint}' cannot be written ({error}); the training ends here, "
                "after its first step. Free space (df, quota, ulimit -f), or choose another --output"
            ) from error
        display.warn(
            f"the checkpoint '{files.checkpoint}' could not be written ({error}). The training goes on and tries again "
            f"every {files.settings.checkpoint_seconds:g} seconds; free space on the disk"
        )


def take_step(task: Task, state: TrainingState, chosen: Tensor, rate: float, fabric: Fabric) -> float:
    """Change network and averaged weights by one step of the optimizer and return the loss before it.

    Args:
        task: what is trained.
        state: network and optimizer.
        chosen: numbers of the examples of this device, (batch,) int64.
        rate: learning rate.
        fabric: averages gradients over devices.

    Raises:
        TrainingDivergedError: the loss or its gradient is not finite; the network is left as it was.
    """
    state.zero_gradients()
    value = task.objective.gradient(task.potential, chosen, state.counters.epoch)
    if fabric.world_size > 1:
        average_gradients([parameter for _, parameter in state.learnt()], fabric)
    with using_threads(1):  # torch's threads would wait for their next work on the cores of those of a batch's parts
        update(task, state, rate, value)
    return value


def update(task: Task, state: TrainingState, rate: float, value: float) -> None:
    """Change network and averaged weights by the gradient of the loss, which has this value.

    Raises:
        TrainingDivergedError: the loss or its gradient is not finite; the network is left as it was.
    """
    norm = torch.nn.utils.clip_grad_norm_(list(state.network.parameters()), task.settings.gradient_clip).item()
    if not (math.isfinite(norm) and math.isfinite(value)):
        raise TrainingDivergedError(
            f"the training diverged in step {state.counters.step + 1}: loss {value}, gradient {norm}. "
            f"{_advice(task.settings)}, and look for structures with extreme forces; the last checkpoint is kept"
        )
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    state.average(task.settings.ema_decay)


def average_gradients(parameters: Sequence[Tensor], fabric: Fabric) -> None:
    """Replace the gradients by their mean over the devices, in one exchange."""
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    mean = fabric.all_reduce(torch.cat([g.flatten() for g in gradients]), reduce_op="mean")
    assert isinstance(mean, Tensor)
    for parameter, gradient in zip(parameters, torch.split(mean, [g.numel() for g in gradients]), strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter)


def validation_due(state: TrainingState, progress: float) -> bool:
    """Whether to validate after this step: at the end, after a pass, or when the last one is long ago."""
    since = progress - (state.history[-1].progress if state.history else 0.0)
    at_end_of_pass = state.counters.batch == 0
    return progress >= 1.0 or since >= (CLOSEST_VALIDATIONS if at_end_of_pass else FURTHEST_VALIDATIONS)


def validate(task: Task, state: TrainingState, n_batches: int, rate: float, progress: float, display: Display) -> None:
    """Add the errors of the averaged weights to the history, if there are any, and keep weights that are the best.

    Raises:
        TrainingDivergedError: an error is not finite.
    """
    counters = state.counters
    errors = task.objective.errors(task.potential, state.averaged)
    if errors is None:
        return
    row = HistoryRow(
        epoch=counters.epoch + counters.batch / n_batches,
        step=counters.step,
        seconds=counters.seconds,
        progress=progress,
        learning_rate=rate,
        training_loss=counters.loss_sum / counters.loss_count if counters.loss_count else math.nan,
        errors=tuple(errors.values()),
        score=score(errors, task.objective.weights),
    )
    if not math.isfinite(row.score):
        raise TrainingDivergedError(
            f"the training diverged: validation errors after step {row.step} are not finite. {_advice(task.settings)}"
        )
    display.validation(row, best=state.record(row))
    if task.files is None:
        return
    try:
        write_history(task.files.history, state.history)
    except OSError as error:
        display.warn(f"the history '{task.files.history}' could not be written ({error}); the training goes on")


def resume_words(settings: TrainingSettings) -> str:
    """What a user does to go on from the checkpoint of a training; a verb follows."""
    if not settings.force:
        return "the same command"
    moved = f"move the old '{settings.output}' away; " if settings.output.exists() else ""
    return f"{moved}the same command without --force"


def _how_to_resume(files: TrainingFiles | None, step: int, progress: float) -> str:
    stopped = f"stopped after {step} steps, {progress:.0%} of the budget"
    if files is None:
        return f"{stopped}; nothing of it is kept"
    kept = checkpoint_step(files.checkpoint)
    if kept is None:
        return f"{stopped}; no checkpoint could be written, so that the training is lost"
    earlier = "" if kept == step else f", which is of step {kept}: a later one could not be written"
    return f"{stopped}; {resume_words(files.settings)} resumes from '{files.checkpoint}'{earlier}"


def _advice(settings: FittingSettings) -> str:
    rate = settings.learning_rate
    return f"Lower the learning rate (now {rate:g}, try {rate / 3:.2g}) and start afresh with --force"
