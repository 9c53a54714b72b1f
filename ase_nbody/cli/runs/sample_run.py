"""What `nbody sample` does: shows how far it is, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from ase_nbody.cli.output import progress_bar, say, warn
from ase_nbody.labelling.sampling.filters import REASONS
from ase_nbody.labelling.sampling.sample import Observer, SampleReport
from ase_nbody.labelling.sampling.settings import KINDS, TEMPERATURES, PickSettings, SampleSettings
from ase_nbody.labelling.sampling.system_sample import SystemSample
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest, stop_on_signals


def sample_settings(number: int, temperatures: Sequence[float] | None, kinds: str | None) -> SampleSettings:
    """Settings from what the command line says.

    Args:
        number: of structures of each system.
        temperatures: K; None: the usual ones.
        kinds: with commas; None: all.

    Raises:
        ValueError: there is no such kind, or a number is out of its range.
    """
    return SampleSettings(
        number=number,
        temperatures=tuple(temperatures or TEMPERATURES),
        kinds=tuple(kind.strip() for kind in kinds.split(",")) if kinds else KINDS,
    )


def guide(reference: str | None, model: str | None) -> str:
    """The calculator that guides the sampling: what is named, else the model, else tight binding."""
    if reference is not None:
        return reference
    return "tblite:GFN2-xTB" if model is None else f"model:{model}"


def pick_settings(number: int | None, model: str | None, known: Path | None) -> PickSettings | None:
    """What is picked of the samples; None where all of them are wanted.

    Raises:
        ValueError: --pick, --model and --known do not come together.
    """
    if number is None:
        if known is not None:
            raise ValueError("--known is for --pick N, which says how many structures are picked; give both or none")
        return None
    if model is None:
        raise ValueError("--pick needs --model MODEL, the model whose readouts are asked")
    if known is None:
        raise ValueError(
            "--pick needs --known FILE, the labelled structures that the model was fitted to, such as the --data of "
            "nbody adapt: what it knows decides what it disagrees on"
        )
    return PickSettings(number, model, known)


def run_sample(sampling: Callable[..., SampleReport]) -> None:
    """Sample with a bar, until a signal says otherwise, and say what came of it.

    Args:
        sampling: takes an observer and a request to stop.

    Raises:
        typer.Exit: with 128 + its number where a signal stopped it, with 1 where no structure was kept.
    """
    stop = StopRequest()
    with stop_on_signals(stop), _bar() as observer:
        try:
            report = sampling(observer=observer, stop=stop)
        except SimulationStoppedError as stopped:
            typer.echo(f"Stopped by signal {stopped.signal}; the same command goes on with what is missing.", err=True)
            raise typer.Exit(128 + stopped.signal) from None
    _print_counts(report)
    _print_files(report)
    if report.output is None:
        typer.echo("Error: no structure was kept, and nothing is written", err=True)
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[Observer]:
    """A bar of systems, with the time left."""
    with progress_bar() as bar:
        task = bar.add_task("systems", total=None, note="")

        def observe(one: SystemSample, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=one.name)
            if one.failure:
                warn(f"{one.name}: {one.failure}")
            for note in one.notes:
                warn(f"{one.name}: {note}")

        yield observe


def _print_counts(report: SampleReport) -> None:
    """The table of kinds, with the reasons that occur."""
    counts = report.counts
    reasons = [reason for reason in REASONS if any(count.broken.get(reason) for count in counts.values())]
    header = ["made", *reasons, "duplicates", "spare", "kept"]
    say("".join(["kind          ", *(f"{name:>13}" for name in header)]))
    for kind, count in counts.items():
        numbers = [count.made, *(count.broken.get(reason, 0) for reason in reasons)]
        numbers += [count.duplicates, count.spare, count.kept]
        say("".join([f"{kind:<14}", *(f"{number:>13}" for number in numbers)]))


def _print_files(report: SampleReport) -> None:
    """Systems that were sampled and that were not, and where things are."""
    sampled = len(report.samples) - len(report.failed)
    say(f"systems       {sampled} sampled, {len(report.failed)} not, with {report.level}")
    for name, reason in report.failed.items():
        say(f"not sampled   {name}: {reason}")
    if report.output is None:
        return
    say(f"structures    {report.n_structures} in {report.output}")
    if report.spreads:
        first, last = report.spreads[0], report.spreads[-1]
        say(f"picked        of {report.n_kept}; spread of forces {first:.3g} eV/Å, down to {last:.3g} for the last")
    if report.picture is None:
        warn("no picture is drawn: matplotlib is not installed (pip install matplotlib)")
    others = [str(path) for path in (report.table, report.report, report.picture) if path is not None]
    say(f"beside it     {', '.join(others)}")
