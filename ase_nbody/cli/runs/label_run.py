"""What `nbody label` does: reads, shows how far it is, and says what came of it."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from ase_nbody.cli.endings import end_stopped
from ase_nbody.cli.output import progress_bar, say, warn
from ase_nbody.data.reading import read_any_structures
from ase_nbody.labelling import LabellingStoppedError, LabelProgress, LabelReport, LabelSettings
from ase_nbody.labelling import label as labels_of
from ase_nbody.labelling.run import Observer
from ase_nbody.stopping import StopRequest, stop_on_signals

_LINE_EVERY = 60.0  # seconds between lines where there is no terminal


def run_label(path: Path, spec: str, output: Path, settings: LabelSettings) -> None:
    """Label the structures of a file.

    Raises:
        typer.Exit: with 128 + its number where a signal stopped it, with 1 where no structure has a label.
    """
    structures, notes = read_any_structures(path)
    for note in notes:
        warn(note)
    stop = StopRequest()
    try:
        with stop_on_signals(stop), _shown() as observer:
            report = labels_of(structures, spec, output, settings=settings, observer=observer, stop=stop)
    except LabellingStoppedError as stopped:
        say(f"{stopped.progress.done} of {stopped.progress.total} structures are done")
        raise end_stopped(stopped.signal, shlex.join(["nbody", *sys.argv[1:]])) from None
    except KeyboardInterrupt:  # a second Ctrl-C, which does not wait for what is in progress
        raise end_stopped(signal.SIGINT, shlex.join(["nbody", *sys.argv[1:]])) from None
    _print_report(report)
    if not report.n_labels:
        typer.echo("Error: no structure could be labelled", err=True)
        raise typer.Exit(1)


@contextmanager
def _shown() -> Iterator[Observer]:
    """An observer that moves a bar on a terminal, and else prints a line every minute."""
    if not Console(stderr=True).is_terminal:
        yield _Lines()
        return
    with progress_bar() as bar:
        task = bar.add_task("label", total=None, note="")

        def move(progress: LabelProgress) -> None:
            bar.update(task, total=progress.total, completed=progress.done, note=_words(progress))

        yield move


class _Lines:
    """Prints how far a run is, every minute."""

    def __init__(self) -> None:
        self._last: float | None = None

    def __call__(self, progress: LabelProgress) -> None:
        now = time.monotonic()
        if self._last is None and progress.resumed:
            say(f"going on: {progress.resumed} of {progress.total} structures were done before")
        if self._last is None:
            self._last = now
        if now - self._last >= _LINE_EVERY:
            self._last = now
            print(f"{progress.done}/{progress.total} · {_words(progress)}", file=sys.stderr, flush=True)


def _words(progress: LabelProgress) -> str:
    words = [f"{progress.failures} failed", f"{progress.rate:.3g}/s"]
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        words.append(f"{minutes // 60}:{minutes % 60:02}:{seconds:02} left")
    return " · ".join(words)


def _print_report(report: LabelReport) -> None:
    if report.dropped:
        say(f"left out of the output, as labels of the input or not writable: {', '.join(report.dropped)}")
    table = Table(title=f"{report.n_structures} structures", title_justify="left", show_header=False)
    table.add_row("labels", str(report.n_labels))
    for reason, count in report.failures.items():
        table.add_row("failed", f"{count}: {reason}")
    if report.progress.resumed:
        table.add_row("done before", str(report.progress.resumed))
    table.add_row("labels a second", f"{report.progress.rate:.3g} ({report.progress.computed} computed)")
    table.add_row("energies compared with forces", str(report.n_compared))
    table.add_row("level of theory", str(report.level))
    Console(highlight=False, markup=False).print(table)
    if report.n_labels:
        say(f"labels          {report.files.output}")
    if report.n_failures:
        say(f"failures        {report.files.failures}")
    say(f"level of theory {report.files.sidecar}")
