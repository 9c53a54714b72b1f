"""`nbody adapt`: a model of a few labelled structures, from a model that is there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import (
    EnergyKey,
    ForcesKey,
    FurtherKeys,
    FurtherWeights,
    LabelLevel,
    ModelArgument,
    ModelOutput,
    StressKey,
    TestData,
    Threads,
)


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """What `nbody adapt` is told; None where it is not."""

    start: ModelArgument
    data: Annotated[
        Path, typer.Option(help="Labelled structures, about 50: extended XYZ, .traj, .db, ...", show_default=False)
    ]
    output: ModelOutput
    test: TestData = None
    remember: Annotated[
        Path | None,
        typer.Option(
            help="Labelled structures of the start's own kind: what is forgotten of them.", show_default=False
        ),
    ] = None
    auxiliary: Annotated[
        Path | None,
        typer.Option(
            help="More structures of the same system, with forces by a cheap method, learnt beside.",
            show_default=False,
        ),
    ] = None
    auxiliary_weight: Annotated[
        float, typer.Option(help="Weight of squared errors of force components of --auxiliary.")
    ] = 0.5
    start_level: Annotated[
        str | None,
        typer.Option(
            help="Level of theory of the start, where it has several.", show_default="the nearest to the labels"
        ),
    ] = None
    level: LabelLevel = None
    method: Annotated[
        str,
        typer.Option(help="What is changed: start, readout, radial, low-rank or all; choose: by held-out errors."),
    ] = "choose"
    minutes: Annotated[float, typer.Option(help="Budget on the wall clock, minutes.")] = 5.0
    steps: Annotated[
        int | None, typer.Option(help="Steps of each training, in place of --minutes.", show_default=False)
    ] = None
    hold_out: Annotated[float, typer.Option(help="Share of the structures that is held out.")] = 0.2
    folds: Annotated[
        int | None,
        typer.Option(help="Parts that are held out in turn.", show_default="1, and 3 for less than 20 structures"),
    ] = None
    rank: Annotated[int, typer.Option(help="Rank of the updates of low-rank.")] = 16
    decay: Annotated[float, typer.Option(help="Decay of the distance to the start, per step and learning rate.")] = 0.1
    learning_rate: Annotated[
        float | None, typer.Option(help="Largest learning rate.", show_default="0.002, and 0.01 for low-rank")
    ] = None
    batch_size: Annotated[int, typer.Option(help="Structures per step.")] = 5
    energy_weight: Annotated[float, typer.Option(help="Weight of squared errors of the energy per atom.")] = 10.0
    forces_weight: Annotated[float, typer.Option(help="Weight of squared errors of force components.")] = 1.0
    stress_weight: Annotated[float, typer.Option(help="Weight of squared errors of the virial per atom.")] = 0.1
    weight: FurtherWeights = None
    energy_key: EnergyKey = None
    forces_key: ForcesKey = None
    stress_key: StressKey = None
    key: FurtherKeys = None
    seed: Annotated[int, typer.Option(help="Seed of what is held out, of the order and of random weights.")] = 0
    accept_worse: Annotated[
        bool, typer.Option("--accept-worse", help="Write the model also where the start or scratch is better.")
    ] = False
    threads: Threads = None
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False


def adapt(options: AdaptOptions) -> None:
    """Adapt START to a few labelled structures of your own, at your level of theory.

    Reference energies are fitted anew; then the readouts in closed form, the radial weights, low-rank updates and all
    weights are compared on held-out structures, and the best is fitted to all. Labels of stress, and of what terms of
    START predict, count where they are there. The output is written at the end, whole.
    """
    try:
        from ase_nbody.cli.runs.adapt_run import run_adapt
    except ModuleNotFoundError as error:
        raise ValueError(f"adaptation needs the package {error.name}: pip install 'ase_nbody[train]'") from error
    run_adapt(vars(options))
