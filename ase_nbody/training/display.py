"""What a user sees of a running training: a bar on a terminal, lines in a log."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ase_nbody.training.history_row import HistoryRow
from ase_nbody.training.state import TrainingState


class Display:
    """Prints one line per validation and, on a terminal, keeps a bar with loss, learning rate and time left.

    Args:
        console: where to print; standard output if not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._progress = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:5.1f}% · {task.description}"),
            TimeElapsedColumn(),
            console=self.console,
            refresh_per_second=2,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._warnings: set[str] = set()
        self._task = self._progress.add_task("first step", total=1.0)

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bar away."""
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line; bytes of file names that are no text are shown as escapes."""
        self.console.print(printable(text), markup=False)

    def warn(self, text: str) -> None:
        """Print a warning; the same words only once."""
        if text not in self._warnings:
            self._warnings.add(text)
            self.say(f"warning: {text}")

    def step(self, state: TrainingState, loss: float, learning_rate: float, progress: float) -> None:
        """Move the bar after a step."""
        if self._progress.disable:
            return
        counters = state.counters
        left = counters.seconds * (1.0 - progress) / max(progress, 1e-9)
        words = f"epoch {counters.epoch + 1} · step {counters.step} · loss {loss:.2e} · rate {learning_rate:.1e}"
        self._progress.update(self._task, completed=progress, description=f"{words} · {_duration(left)} left ·")

    def validation(self, row: HistoryRow, best: bool) -> None:
        """Print the line of a validation; before the first step there is no loss, rate and time left."""
        words = [f"epoch {row.epoch:7.1f}", *_errors(row)]
        if row.step:
            left = max(row.seconds * (1.0 - row.progress) / max(row.progress, 1e-9), 0.0)
            words.insert(1, f"loss {row.training_loss:9.2e}")
            words += [f"rate {row.learning_rate:.1e}", f"{_duration(row.seconds)} done, {_duration(left)} left"]
        self.say(" · ".join(words) + (" · best" if best else ""))


def printable(text: str) -> str:
    """Words in which bytes of file names that are not UTF-8, which Python keeps as surrogates, are escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _errors(row: HistoryRow) -> list[str]:
    return [f"{e.kind.name} {1000 * e.mae:8.2f} {e.unit}" for e in row.errors if e.mae is not None]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
