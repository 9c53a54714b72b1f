"""meta_train: a start whose weights are made to be adapted."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from ase_nbody.meta.episodes import Episodes, Systems, systems
from ase_nbody.meta.groups import parameter_groups
from ase_nbody.meta.inner_rates import inner_rates
from ase_nbody.meta.meta_settings import MetaTrainingSettings
from ase_nbody.potential import Potential
from ase_nbody.stopping import StopRequest
from ase_nbody.training.loss import loss_weights
from ase_nbody.training.objective import epoch_order
from ase_nbody.training.run import train
from ase_nbody.training.training_data import DTYPES, TrainingData

JUDGED_SHARE = 0.1
MOST_JUDGED = 20


def meta_train(
    settings: MetaTrainingSettings,
    *,
    command: str | None = None,
    console: Console | None = None,
    stop: StopRequest | None = None,
) -> Path:
    """Train weights so that a short adaptation to a few structures of a new system serves it best.

    Every step takes some systems, adapts to a few structures of each and lowers the errors on others of it. A tenth of
    the systems, at most 20, is not learnt: errors after the adaptation to them choose the best weights. Files, budget,
    checkpoints and history are those of `train`; a checkpoint is resumed with the same numbers.

    Args:
        settings: of the training and of the inner loop.
        command: as of `train`.
        console: as of `train`.
        stop: as of `train`.

    Returns:
        The path of the model file.

    Raises:
        ValueError: as `train`; or too few systems, or parameters that the architecture does not have.
        FileExistsError, OSError, TrainingStoppedError: as `train`.
    """
    return train(settings, command=command, console=console, stop=stop, objective_of=partial(episodes, settings))


def episodes(
    settings: MetaTrainingSettings, data: TrainingData, potential: Potential, device: torch.device
) -> Episodes:
    """The systems of the data, some of them set aside to be judged by.

    Raises:
        ValueError: fewer than two systems, or the network has no such parameters.
    """
    groups = parameter_groups(potential.network)
    if settings.inner.adapted not in groups:
        raise ValueError(
            f"{type(potential.network).__name__} has no group of parameters '{settings.inner.adapted}'; it has "
            f"{', '.join(groups)}: set inner.adapted to one of them"
        )
    names = tuple(name for name in groups[settings.inner.adapted] if not name.startswith("theory."))
    every = systems(data.train, potential.cutoff, DTYPES[settings.dtype], device)
    learnt, judged = _set_aside(every, settings.seed)
    rates = inner_rates(potential.network, names, settings.inner.rate, by_group=settings.inner.learned_rates)
    return Episodes(learnt, judged, loss_weights(settings, potential.energy_scale), settings.inner, names, rates)


def _set_aside(every: Systems, seed: int) -> tuple[Systems, Systems]:
    n = len(every.members)
    if n < 2:
        raise ValueError("the data have one system only; a meta-training needs two at least, tens are usual")
    n_judged = min(max(round(JUDGED_SHARE * n), 1), MOST_JUDGED)
    order = epoch_order(n, seed, 0).tolist()
    members = [every.members[number] for number in order]
    return Systems(every.samples, tuple(members[n_judged:])), Systems(every.samples, tuple(members[:n_judged]))
