"""`nbody meta-train`: a start that is made to be adapted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import ForceAfresh, ModelOutputOrConfig, Threads


@dataclass(frozen=True, kw_only=True)
class MetaTrainOptions:
    """What `nbody meta-train` is told; None where it is not."""

    config: Annotated[Path, typer.Argument(help="YAML file of settings by name.", show_default=False)]
    output: ModelOutputOrConfig = None
    minutes: Annotated[
        float | None, typer.Option(help="Budget on the wall clock, minutes.", show_default="the file's")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and episodes.", show_default="0")] = None
    threads: Threads = None
    force: ForceAfresh = False


def meta_train(options: MetaTrainOptions) -> None:
    """Meta-train a start on many systems: weights from which few structures of a new one suffice.

    CONFIG has the settings of nbody train, whose batches are of systems here, and under `inner` method (maml, fomaml or
    reptile), adapted (all, radial or readout), steps, rate, support and query. Ctrl-C writes a checkpoint, and the
    same command resumes.
    """
    try:
        from ase_nbody.cli.runs.training import run_meta_training
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs the package {error.name}: pip install 'ase_nbody[train]'") from error
    run_meta_training(vars(options))
