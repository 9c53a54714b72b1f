"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

STRUCTURE_HELP = (
    "File of any ASE format (FILE@INDEX takes one frame, else the last), or a molecule or crystal known to ASE, "
    "such as CH3CH2OH or Si, when there is no such file."
)


class Device(StrEnum):
    """Kind of device that training runs on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Dtype(StrEnum):
    """Real numbers of a model."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


Structure = Annotated[str, typer.Argument(help=STRUCTURE_HELP, show_default=False)]
ModelArgument = Annotated[str, typer.Argument(help="Name of a shipped model, or a model file.", show_default=False)]
Model = Annotated[
    str, typer.Option("--model", help="Name of a shipped model (nbody models), or a model file.", show_default=False)
]
Level = Annotated[
    str | None,
    typer.Option(
        "--level",
        help="Level of theory, where the model has several (nbody info lists them); its first if not given.",
        show_default=False,
    ),
]
AverageOverInversion = Annotated[
    bool,
    typer.Option(
        "--average-over-inversion",
        help="Mean over a structure and its mirror image, for models such as universal that tell them apart; "
        "twice as slow.",
    ),
]
Dispersion = Annotated[
    str | None,
    typer.Option(
        "--dispersion",
        metavar="FUNCTIONAL",
        help="Add D3(BJ) dispersion (pairs only) with the parameters of a functional, such as PBE: the one that the "
        "model learnt, and only where its labels have no dispersion yet. Needs the package dftd3.",
        show_default=False,
    ),
]
Output = Annotated[Path, typer.Option("--output", help="Trajectory to write, *.traj.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]
DeviceName = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, ...; auto: a GPU where there is one.")]
DtypeOption = Annotated[Dtype, typer.Option("--dtype", help="float32 is faster, float64 smoother.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="CPU threads; if not given, one for small structures and all for others.",
        show_default=False,
    ),
]
CalculatorOption = Annotated[
    list[str] | None, typer.Option(help="NAME=VALUE, an option of the calculator; repeatable.", show_default=False)
]
Processes = Annotated[int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one a core")]
ModelOutput = Annotated[Path, typer.Option("--output", help="Model file to write, *.safetensors.", show_default=False)]
ModelOutputOrConfig = Annotated[
    Path | None, typer.Option("--output", help="Model file to write, *.safetensors.", show_default=False)
]
TestData = Annotated[
    list[Path] | None, typer.Option(help="Structures evaluated at the end; repeatable.", show_default=False)
]
LabelLevel = Annotated[
    str | None, typer.Option(help="Level of theory of the labels, kept in the model file.", show_default=False)
]
EnergyKey = Annotated[str | None, typer.Option(help="Name of the energy label.", show_default="found")]
ForcesKey = Annotated[str | None, typer.Option(help="Name of the forces label.", show_default="found")]
StressKey = Annotated[str | None, typer.Option(help="Name of the stress label.", show_default="found")]
FurtherKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        help="NAME=KEY, the labels' name of a further property that terms of the model predict; repeatable.",
        show_default="found",
    ),
]
FurtherWeights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        help="NAME=WEIGHT of squared errors of a further property that terms of the start predict; repeatable.",
        show_default="1",
    ),
]
ForceAfresh = Annotated[bool, typer.Option("--force", help="Start afresh and overwrite the output.")]


@dataclass(frozen=True, kw_only=True)
class CalculatorOptions:
    """How a simulation evaluates its model."""

    level: Level = None
    average_over_inversion: AverageOverInversion = False
    dispersion: Dispersion = None
    device: DeviceName = "auto"
    dtype: DtypeOption = Dtype.FLOAT64
    threads: Threads = None


def calculator_options(pairs: Iterable[str]) -> dict[str, str]:
    """Options of a calculator by name, from words NAME=VALUE.

    Raises:
        ValueError: a word is not of this form.
    """
    return by_name(pairs, "--option accuracy=0.1")


def further_keys(pairs: Iterable[str] | None) -> dict[str, str]:
    """Names of labels by property, from `FurtherKeys`; ValueError as `by_name`."""
    return by_name(pairs or (), "--key dipole=REF_dipole")


def further_weights(pairs: Iterable[str] | None) -> dict[str, str]:
    """Weights by property, from `FurtherWeights`; ValueError as `by_name`."""
    return by_name(pairs or (), "--weight dipole=2")


def by_name(pairs: Iterable[str], example: str) -> dict[str, str]:
    """Values by name, from words NAME=VALUE.

    Args:
        pairs: the words.
        example: the option and such a word, for the error.

    Raises:
        ValueError: a word is not of this form.
    """
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ValueError(f"{example.split()[0]} takes NAME=VALUE, such as {example}, not '{pair}'")
        values[name] = value
    return values
