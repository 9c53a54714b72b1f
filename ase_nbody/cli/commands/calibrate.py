"""`nbody calibrate`: how uncertain a model is, from labelled structures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import EnergyKey, Force, ForcesKey, Level, ModelArgument, ModelOutput, StressKey, Threads


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """What `nbody calibrate` is told; None where it is not."""

    model: ModelArgument
    data: Annotated[
        list[Path],
        typer.Option(help="Labelled structures that the model learnt, or your own; repeatable.", show_default=False),
    ]
    output: ModelOutput
    valid: Annotated[
        Path | None,
        typer.Option(
            help="Labelled structures of the same kind that it did not learn.",
            show_default="those of DATA that its training set aside; a fifth in turn where it learnt none",
        ),
    ] = None
    also: Annotated[
        list[Path] | None,
        typer.Option(
            help="Structures that the model learnt at other levels of theory than its first; repeatable. "
            "Their surroundings count.",
            show_default=False,
        ),
    ] = None
    level: Level = None
    energy_key: EnergyKey = None
    forces_key: ForcesKey = None
    stress_key: StressKey = None
    threads: Threads = None
    force: Force = False


def calibrate(options: CalibrateOptions) -> None:
    """Write MODEL with uncertainties, and with the surroundings of atoms that DATA cover.

    Weights stay as they are. Trained, adapted and distilled models have both already; this is for imported and older
    ones. A model then warns where the surroundings of an atom are unlike those of the data. Of several levels of theory
    one is calibrated, and the others keep what they have; surroundings are of the first. Labels of what terms of MODEL
    predict are not used: there are no uncertainties of them.
    """
    from ase_nbody.cli.runs.calibrate_run import run_calibrate

    run_calibrate(vars(options))
