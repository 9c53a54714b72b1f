"""What `nbody distill` does with its options."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ase_nbody.cli.endings import end_stopped
from ase_nbody.cli.options import calculator_options
from ase_nbody.cli.output import say
from ase_nbody.cli.runs.training import architecture_settings
from ase_nbody.distillation import DistillationReport, DistillationSettings
from ase_nbody.distillation import distill as student_of
from ase_nbody.distillation.rounds import Round
from ase_nbody.labelling import LabellingStoppedError
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest, stop_on_signals
from ase_nbody.thread_count import using_threads
from ase_nbody.training.finish import without_folders
from ase_nbody.training.stopping import TrainingStoppedError

_HEADER = ("round", "learnt", "labels", "minutes", "meV/Å", "of force", "meV/atom", "meV/Å³", "outside", "dynamics")
_WIDTH = 10


def run_distill(options: Mapping[str, Any]) -> None:
    """Make a student as the options of the command say.

    Args:
        options: by name, None where not given.

    Raises:
        ValueError: an option is wrong, the system cannot be sampled, or the student is refused.
        typer.Exit: with 128 + its number where a signal stopped it.
    """
    settings = distillation_settings(options)
    stop = StopRequest()
    words = ["nbody", *sys.argv[1:]]
    again = shlex.join(word for word in words if word != "--force")  # which would start afresh
    try:
        with stop_on_signals(stop), using_threads(options["threads"]):
            report = student_of(
                options["structure"],
                options["teacher"],
                Path(options["output"]),
                settings=settings,
                command=shlex.join(without_folders(words)),
                say=say,
                stop=stop,
            )
    except (LabellingStoppedError, SimulationStoppedError, TrainingStoppedError) as stopped:
        raise end_stopped(stopped.signal, again) from None
    except KeyboardInterrupt:  # a second Ctrl-C, which does not wait for what is in progress
        raise end_stopped(signal.SIGINT, again) from None
    _print_end(report)


def distillation_settings(options: Mapping[str, Any]) -> DistillationSettings:
    """Settings from the options of the command.

    Raises:
        ValueError: one of them is wrong.
    """
    names = DistillationSettings.model_fields.keys() & options.keys()
    values = {name: options[name] for name in names if options[name] is not None}
    if options["temperature"]:
        values["temperatures"] = tuple(options["temperature"])
    values |= {"options": calculator_options(options["option"] or []), "device": options["device"].value}
    return DistillationSettings(**values, model=architecture_settings(options["set_"] or []))


def _print_end(report: DistillationReport) -> None:
    say("MAE beside the teacher on the student's own dynamics; learnt and labels are numbers of structures:")
    for cells in (_HEADER, *(_cells(row) for row in report.rounds)):
        say("".join(f"{cell:>{_WIDTH}}" for cell in cells))
    say(f"chosen          round {report.chosen.number + 1}: the smallest error of those whose dynamics was whole")
    say(f"speed           {report.speed}")
    say(f"student         {report.output}")
    say(f"labels, rounds  {report.folder}")


def _cells(row: Round) -> Sequence[str]:
    energy, stress = (row.errors[name] for name in ("energy_mae_mev_per_atom", "stress_mae_mev_per_cubic_angstrom"))
    return (
        str(row.number + 1),
        str(row.n_train),
        str(row.n_labels),
        f"{row.seconds / 60:.1f}",
        f"{row.error:.2f}",
        f"{row.relative_error:.1%}",
        "-" if energy is None else f"{energy:.3f}",
        "-" if stress is None else f"{stress:.3f}",
        str(row.n_outside),
        "stopped" if row.failure else "whole",
    )
