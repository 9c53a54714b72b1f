"""sample: structures around molecules and crystals, over processes, into one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ase.io import iread

import ase_nbody
from ase_nbody.labelling.named_references import reference as reference_of
from ase_nbody.labelling.pool import ProcessFailure, outcomes
from ase_nbody.labelling.references import LevelOfTheory
from ase_nbody.labelling.sampling.files import Parts, output_files, write_report, write_structures, write_table
from ase_nbody.labelling.sampling.picture import distance_picture
from ase_nbody.labelling.sampling.settings import SPREAD, PickSettings, SampleSettings
from ase_nbody.labelling.sampling.system import System
from ase_nbody.labelling.sampling.system_sample import (
    KindCounts,
    SystemSample,
    SystemTask,
    system_sample,
    total_counts,
)
from ase_nbody.labelling.sampling.systems import read_systems
from ase_nbody.simulation.errors import SimulationStoppedError
from ase_nbody.stopping import StopRequest

if TYPE_CHECKING:
    from ase_nbody.labelling.sampling.picking import Picker

Observer: TypeAlias = Callable[[SystemSample, int, int], None]
"""Is told each sample of a system as it comes, how many there are, and how many there will be."""


@dataclass(frozen=True)
class SampleReport:
    """What was sampled, and where it is.

    Attributes:
        samples: of each system, in the order given; their structures are in the output.
        level: of theory of energies and forces that guided the sampling.
        output: structures, extended XYZ; None where none was kept, and then there is no other file either.
        table: what was made, left out and kept, CSV.
        report: the same and the settings, JSON.
        picture: distances covered, PNG; None where there is no matplotlib, too.
        spreads: of the structures that were picked of the samples, eV/angstrom; None where all are in the output.
    """

    samples: tuple[SystemSample, ...]
    level: LevelOfTheory
    output: Path | None = None
    table: Path | None = None
    report: Path | None = None
    picture: Path | None = None
    spreads: tuple[float, ...] | None = None

    @property
    def counts(self) -> dict[str, KindCounts]:
        """What became of the candidates of each kind, over all systems."""
        return total_counts(self.samples)

    @property
    def n_structures(self) -> int:
        """Structures in the output."""
        return self.n_kept if self.spreads is None else len(self.spreads)

    @property
    def n_kept(self) -> int:
        """Structures of all samples."""
        return sum(count.kept for count in self.counts.values())

    @property
    def failed(self) -> dict[str, str]:
        """Why systems were not sampled, by their names."""
        return {sample.name: sample.failure for sample in self.samples if sample.failure}


def sample(
    systems: Sequence[System | str],
    output: str | Path,
    reference: str = "tblite:GFN2-xTB",
    *,
    options: Mapping[str, str] | None = None,
    settings: SampleSettings | None = None,
    seed: int = 0,
    processes: int = 1,
    partners: Sequence[System | str] = (),
    time_limit: float | None = 1800.0,
    pick: PickSettings | None = None,
    force: bool = False,
    observer: Observer | None = None,
    stop: StopRequest | None = None,
) -> SampleReport:
    """Sample structures around molecules and crystals, to be labelled.

    The same seed gives the same structures, whatever the number of processes and the other systems. What is done stays
    in a folder OUTPUT.parts until all is: the same call goes on after an interruption. Energies are not written: they
    guided the sampling and are no labels. Where no structure is kept, no file is written.

    Args:
        systems: what to sample: System, or what `read_systems` takes: files, "smiles:C=C=O", "CH3CH2OH", "Si".
        output: STEM.xyz; the table (STEM-sampled.csv), the report (.json) and the picture (.png) stand beside it.
        reference: calculator for relaxations, dynamics and limits, as `ase_nbody.labelling.reference` takes it.
        options: of the reference, by name.
        settings: what is sampled and how densely.
        seed: of all numbers.
        processes: of one thread each.
        partners: molecules that dimers are made with, besides each molecule itself.
        time_limit: for one system, seconds; None: no limit.
        pick: of all samples only those are written on which readouts of a model disagree most, the first most.
        force: overwrite files that are there.
        observer: is told of each system that is done.
        stop: once it is filled in, no system is begun.

    Raises:
        ValueError: a system, reference or name of a file is not one; a system that cannot be sampled is no error but
            stands in the report.
        FileExistsError: a file is there.
        SimulationStoppedError: a stop was asked for.
    """
    output, settings = Path(output), settings or SampleSettings()
    _check_files((output, *output_files(output).values()), force)
    level = reference_of(reference, options).level
    picker = None if pick is None else _picker(pick, settings)
    others = tuple(_systems(partners)) if partners else ()
    tasks = [SystemTask(one, others, reference, options or {}, settings, seed) for one in _systems(systems)]
    parts = Parts(output, str(level))
    samples = _samples(tasks, parts, processes, time_limit, observer, stop or StopRequest())
    report = SampleReport(tuple(samples), level)
    if report.n_kept:
        done = [task for task, one in zip(tasks, samples, strict=True) if not one.failure]
        report = replace(report, spreads=_write(parts, done, output, picker))
        report = _written(report, output, _origin(tasks[0], level) | _picked(pick, report.spreads))
    parts.remove()
    return report


def _written(report: SampleReport, output: Path, says: Mapping[str, Any]) -> SampleReport:
    """Table, report and picture beside the structures; what the report says beyond the samples is given."""
    files = output_files(output)
    write_table(report.samples, files["table"])
    write_report(report.samples, says, files["report"])
    drawn = files["picture"] if _draw(output, files["picture"]) else None
    return replace(report, output=output, table=files["table"], report=files["report"], picture=drawn)


def _picker(pick: PickSettings, settings: SampleSettings) -> Picker:
    """Made before anything is sampled, so that what is missing is said early; torch is loaded where it is wanted."""
    from ase_nbody.labelling.sampling.picking import picker

    return picker(pick, settings.resolution)


def _write(parts: Parts, done: Sequence[SystemTask], output: Path, picker: Picker | None) -> tuple[float, ...] | None:
    """Write all structures, or those that are picked; the spreads of these."""
    if picker is None:
        parts.join(done, output)
        return None
    sampled = parts.all_structures(done)
    picked = picker.picked(sampled)
    if not picked:
        raise ValueError(
            f"all {len(sampled)} sampled structures are as good as among the labelled ones, and none is left to pick; "
            "take another --seed, a higher --temperature or other --kinds"
        )
    write_structures(picked, output)
    return tuple(atoms.info[SPREAD] for atoms in picked)


def _picked(pick: PickSettings | None, spreads: tuple[float, ...] | None) -> dict[str, Any]:
    """What the report says about what was picked."""
    if pick is None or spreads is None:
        return {}
    return {"picked": {"model": pick.model, "known": str(pick.known), "number": pick.number, "spreads": spreads}}


def _origin(task: SystemTask, level: LevelOfTheory) -> dict[str, Any]:
    """What the report says about how structures were made, as JSON takes it."""
    return {
        "program": f"ase_nbody {ase_nbody.__version__}",
        "reference": task.reference,
        "options": dict(task.options),
        "level_of_theory": {**vars(level), "settings": dict(level.settings)},
        "seed": task.seed,
        "settings": task.settings.model_dump(),
        "partners": [partner.name for partner in task.partners],
    }


def _systems(given: Sequence[System | str]) -> list[System]:
    systems = [system for system in given if isinstance(system, System)]
    names = [text for text in given if isinstance(text, str)]
    return systems + (read_systems(names) if names or not systems else [])


def _check_files(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(
                f"{path} is there already; choose another output, or allow it to be overwritten (--force)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)


def _samples(
    tasks: Sequence[SystemTask],
    parts: Parts,
    processes: int,
    time_limit: float | None,
    observer: Observer | None,
    stop: StopRequest,
) -> list[SystemSample]:
    """Samples of all tasks, in their order, those that are there already and those that are made now."""
    samples = {number: done for number, task in enumerate(tasks) if (done := parts.read(task)) is not None}
    missing = [number for number in range(len(tasks)) if number not in samples]
    results = outcomes(
        system_sample, (tasks[n] for n in missing), processes=processes, time_limit=time_limit, stop=stop
    )
    for position, result in results:
        number = missing[position]
        if isinstance(result, ProcessFailure):
            if stop.signal:
                continue
            result = SystemSample(tasks[number].system.name, failure=result.reason.removeprefix("ValueError: "))
        else:
            parts.write(tasks[number], result)
        samples[number] = replace(result, structures=())
        if observer is not None:
            observer(samples[number], len(samples), len(tasks))
    if len(samples) < len(tasks):
        raise SimulationStoppedError(stop.signal)
    return [samples[number] for number in range(len(tasks))]


def _draw(output: Path, path: Path) -> bool:
    """Whether a picture could be drawn: it is no reason to lose a sample."""
    try:
        distance_picture(iread(output, ":"), path)
    except ValueError:
        return False
    return True
