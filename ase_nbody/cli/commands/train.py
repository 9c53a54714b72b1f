"""`nbody train`: a potential from labelled structures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import (
    Device,
    Dtype,
    EnergyKey,
    ForceAfresh,
    ForcesKey,
    FurtherKeys,
    FurtherWeights,
    LabelLevel,
    ModelOutputOrConfig,
    StressKey,
    TestData,
    Threads,
)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `nbody train` is told; None where it is not."""

    config: Annotated[
        Path | None,
        typer.Argument(help="YAML file of settings by name; options go before it.", show_default=False),
    ] = None
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Labelled structures, any ASE format; repeat to merge files, or one file to learn it more often.",
            show_default=False,
        ),
    ] = None
    level: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=FILE in place of --data: labels of one level of theory; repeat for several levels, that of the "
            "model first, which one network learns.",
            show_default=False,
        ),
    ] = None
    own_parts: Annotated[
        str | None,
        typer.Option(help="What each level has for itself: readout, embedding or both.", show_default="readout"),
    ] = None
    valid: Annotated[
        Path | None, typer.Option(help="Validation structures; a part of the data if not given.", show_default=False)
    ] = None
    n_valid: Annotated[
        int | None,
        typer.Option(help="Structures set aside for validation without --valid.", show_default="a tenth, at most 200"),
    ] = None
    test: TestData = None
    output: ModelOutputOrConfig = None
    start: Annotated[
        str | None,
        typer.Option(
            help="Model file or shipped model to go on from: network, weights, reference energies and energy scale are "
            "its own, so --architecture, --preset, --set, --cutoff and --isolated-atoms cannot be given.",
            show_default="random weights",
        ),
    ] = None
    start_level: Annotated[
        str | None,
        typer.Option(help="Level of theory of the start, where it has several.", show_default="its first, or all"),
    ] = None
    architecture: Annotated[str | None, typer.Option(help="Architecture.", show_default="nbody")] = None
    preset: Annotated[str | None, typer.Option(help="small, medium or large network.", show_default="small")] = None
    cutoff: Annotated[
        float | None, typer.Option(help="Largest distance between neighbours, angstrom.", show_default="the preset's")
    ] = None
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE, a setting of the architecture; repeatable.", show_default=False),
    ] = None
    minutes: Annotated[float | None, typer.Option(help="Budget on the wall clock, minutes.", show_default="30")] = None
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data, in place of --minutes.", show_default=False)
    ] = None
    batch_size: Annotated[int | None, typer.Option(help="Structures per step.", show_default="5")] = None
    optimizer: Annotated[
        str | None,
        typer.Option(help="muon (mixing matrices; AdamW elsewhere) or adamw (all weights).", show_default="muon"),
    ] = None
    learning_rate: Annotated[float | None, typer.Option(help="Largest learning rate.", show_default="0.005")] = None
    ema_decay: Annotated[
        float | None, typer.Option(help="Decay per step of the averaged weights.", show_default="0.99")
    ] = None
    gradient_clip: Annotated[
        float | None, typer.Option(help="Largest norm of the gradient of the loss.", show_default="1")
    ] = None
    energy_weight: Annotated[
        float | None, typer.Option(help="Weight of squared errors of the energy per atom.", show_default="10")
    ] = None
    forces_weight: Annotated[
        float | None, typer.Option(help="Weight of squared errors of force components.", show_default="1")
    ] = None
    stress_weight: Annotated[
        float | None, typer.Option(help="Weight of squared errors of the virial per atom.", show_default="0.1")
    ] = None
    weight: FurtherWeights = None
    isolated_atoms: Annotated[
        Path | None, typer.Option(help="Labelled single atoms for the reference energies.", show_default=False)
    ] = None
    isolated_energy_key: Annotated[
        str | None, typer.Option(help="Name of the energies of --isolated-atoms.", show_default="--energy-key")
    ] = None
    energy_key: EnergyKey = None
    forces_key: ForcesKey = None
    stress_key: StressKey = None
    key: FurtherKeys = None
    method: LabelLevel = None
    repulsion: Annotated[
        bool | None,
        typer.Option(
            "--repulsion/--no-repulsion",
            help="Nuclear repulsion (ZBL) below the closest distances of the training structures.",
            show_default="repulsion",
        ),
    ] = None
    purpose: Annotated[
        str | None, typer.Option(help="What the model is for, in words, kept in the model file.", show_default=False)
    ] = None
    not_for: Annotated[str | None, typer.Option(help="What it is not for, in words, likewise.", show_default=False)] = (
        None
    )
    licence: Annotated[
        str | None, typer.Option(help="Licence of the model, kept in the model file.", show_default=False)
    ] = None
    seed: Annotated[int | None, typer.Option(help="Seed of weights, split and order.", show_default="0")] = None
    device: Annotated[Device | None, typer.Option(help="auto: a GPU where there is one.", show_default="auto")] = None
    devices: Annotated[int | None, typer.Option(help="Devices that share the work.", show_default="1")] = None
    dtype: Annotated[Dtype | None, typer.Option(help="Real numbers in training.", show_default="float32")] = None
    threads: Threads = None
    force: ForceAfresh = False


def train(options: TrainOptions) -> None:
    """Train a potential from --data into --output, or as CONFIG says.

    Ctrl-C writes a checkpoint, and the same command resumes. Beside OUTPUT.safetensors stand the history
    OUTPUT.history.csv and the plot OUTPUT.learning-curve.png.
    """
    try:
        from ase_nbody.cli.runs.training import run_training
    except ModuleNotFoundError as error:
        raise ValueError(f"training needs the package {error.name}: pip install 'ase_nbody[train]'") from error
    run_training(vars(options))
