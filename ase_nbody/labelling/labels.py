"""Labels for many structures: over processes, journalled, checked, and written in the order of the input."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from ase_nbody.labelling.checks import Checks
from ase_nbody.labelling.frames import dropped_names, kept_frame, labelled_frame
from ase_nbody.labelling.inputs import Inputs
from ase_nbody.labelling.journal import Journal
from ase_nbody.labelling.labelled_files import LabelledFiles, check_files, write_frames, write_values
from ase_nbody.labelling.named_references import reference
from ase_nbody.labelling.references import Failure, LevelOfTheory
from ase_nbody.labelling.report import LabelProgress, LabelReport, counted_reasons
from ase_nbody.labelling.run import Observer, Run
from ase_nbody.labelling.tasks import ReferenceCall, computed, tasks_of
from ase_nbody.stopping import StopRequest


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class LabelSettings(BaseModel):
    """How structures are labelled.

    Attributes:
        options: of the reference, by name.
        processes: how many compute, one thread each.
        time_limit: for a structure, seconds; None: as long as it takes.
        checks: what labels must satisfy.
        force: overwrite files, and the journal of another run.
        retry_failures: try structures again that failed before the run was interrupted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: Mapping[str, str] = Field(default_factory=dict)
    processes: int = Field(default_factory=available_cores, ge=1)
    time_limit: float | None = Field(default=None, gt=0)
    checks: Checks = Checks()
    force: bool = False
    retry_failures: bool = False


class LabellingStoppedError(RuntimeError):
    """A signal stopped a run; what is done is in its journal, and the same call goes on.

    Attributes:
        signal: its number.
        progress: how far it was.
    """

    def __init__(self, signal: int, progress: LabelProgress) -> None:
        super().__init__(f"stopped by signal {signal}; {progress.done} of {progress.total} structures are done")
        self.signal, self.progress = signal, progress


def label(
    structures: Sequence[Atoms],
    spec: str,
    output: str | Path,
    *,
    settings: LabelSettings | None = None,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
) -> LabelReport:
    """Label structures with a reference, and write them with their labels.

    Each label is in OUTPUT.journal as soon as it is made: a run that was interrupted, by whatever, goes on when it is
    called again. Equal structures are computed once. Structures that fail stand in OUTPUT-failures.xyz, with the reason
    in their info, and the level of theory in OUTPUT.json.

    Args:
        structures: they are only read; charge and multiplicity stand in their info. Other labels that they have, and
            constraints, are left out of the output; the rest of info and arrays is kept.
        spec: name of the reference, see `named_references.reference`.
        output: extended XYZ or a database of ASE, by its ending.
        settings: how.
        observer: is told how far the run is.
        stop: once it is filled in, the run ends.

    Raises:
        ValueError: there are no structures, no such reference, or the journal is that of another run.
        FileExistsError: the output is there already.
        BlockingIOError: another process makes this output.
        InconsistentLabelsError: energies of the reference do not fit its forces; what was computed is kept.
        LabellingStoppedError: a stop was asked for; likewise.
    """
    chosen, request = settings or LabelSettings(), stop or StopRequest()
    files = LabelledFiles(Path(output))
    if not structures:
        raise ValueError("there are no structures to label")
    if not files.journal.exists():
        check_files(files, force=chosen.force)
    source = reference(spec, chosen.options)
    inputs = Inputs(structures)
    with Journal(files.journal) as journal:
        origin = {"reference": spec, "options": dict(chosen.options), "level_of_theory": asdict(source.level)}
        journal.claim(origin, inputs.distinct, force=chosen.force)
        check_files(files, force=chosen.force or journal.is_finished)
        if chosen.retry_failures:
            journal.drop_failures()
        run = Run(inputs, journal, chosen.checks, observer or (lambda progress: None))
        tasks = tasks_of(structures, run.todo, source.batch_size, chosen.checks)
        call = ReferenceCall(spec, chosen.options)
        results = computed(tasks, call, processes=chosen.processes, time_limit=chosen.time_limit, stop=request)
        with closing(results):  # processes end before an error is shown
            for task, entries in results:
                run.receive(task, entries)
        if run.progress.done < len(structures):
            raise LabellingStoppedError(request.signal, run.progress)
        journal.finish()
        report = _written(structures, run, source.level, files, chosen, origin)
        journal.remove()
    return report


def _written(
    structures: Sequence[Atoms],
    run: Run,
    level: LevelOfTheory,
    files: LabelledFiles,
    settings: LabelSettings,
    origin: Mapping[str, Any],
) -> LabelReport:
    """Write the output, the failures and the level of theory."""
    failed: dict[int, str] = {}

    def labelled() -> Iterator[Atoms]:
        for n, atoms in enumerate(structures):
            outcome = run.outcome(n)
            if isinstance(outcome, Failure):
                failed[n] = outcome.reason
            else:
                yield labelled_frame(atoms, outcome, level)

    write_frames(labelled(), files.output, origin)
    write_frames(_failures(structures, failed), files.failures, {})
    report = LabelReport(
        level=level,
        n_structures=len(structures),
        n_labels=len(structures) - len(failed),
        failures=counted_reasons(failed.values()),
        n_compared=run.n_compared,
        progress=run.progress,
        dropped=tuple(dropped_names(structures)),
        files=files,
    )
    write_values({**origin, **_figures(report, settings)}, files.sidecar)
    return report


def _failures(structures: Sequence[Atoms], reasons: Mapping[int, str]) -> Iterator[Atoms]:
    for n, reason in reasons.items():
        frame = kept_frame(structures[n])
        frame.info |= {"reason": reason, "number": n}
        yield frame


def _figures(report: LabelReport, settings: LabelSettings) -> dict[str, Any]:
    from ase_nbody import __version__

    return {
        "n_structures": report.n_structures,
        "n_labels": report.n_labels,
        "failures": dict(report.failures),
        "checks": settings.checks.model_dump(),
        "n_compared": report.n_compared,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "ase_nbody": __version__,
    }
