"""`nbody sample`: structures around molecules and crystals, to be labelled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ase_nbody.cli.options import Force, calculator_options

if TYPE_CHECKING:
    from ase_nbody.labelling.sampling.sample import Observer, SampleReport


def sample(
    molecules: Annotated[
        list[str],
        typer.Argument(
            help="Files of geometries in any ASE format; lists of SMILES (*.smi: SMILES NAME; *.csv with columns "
            "smiles, name, family); smiles:C=C=O; molecules and crystals known to ASE, such as CH3CH2OH or Si.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="Structures to write, *.xyz.", show_default=False)],
    reference: Annotated[
        str,
        typer.Option(
            "--with",
            help="Calculator that guides the sampling, as for nbody label: tblite:GFN2-xTB, model:NAME, ase:EMT, ...",
        ),
    ] = "tblite:GFN2-xTB",
    option: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, an option of the calculator; repeatable.", show_default=False)
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="Structures kept of each system, at most.")] = 100,
    temperature: Annotated[
        list[float] | None,
        typer.Option(help="Of dynamics and normal modes, K; may be given again; 300, 600 and 1000 if not given."),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            help="Of conformers, md, normal-modes, torsions, stretches, rattle, dimers (molecules), strains, vacancies "
            "(crystals), with commas; all if not given.",
            show_default=False,
        ),
    ] = None,
    partner: Annotated[
        list[str] | None,
        typer.Option(help="A molecule that dimers are made with, besides each molecule itself; may be given again."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same structures.")] = 0,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one a core")
    ] = None,
    time_limit: Annotated[float, typer.Option(min=1.0, help="For one system, seconds.")] = 1800.0,
    force: Force = False,
) -> None:
    """Sample structures: conformers, dynamics, normal modes, torsions, broken bonds, dimers; of crystals strains, too.

    Broken structures and near-duplicates are left out. OUTPUT.csv and .json say what was kept and why, OUTPUT.png shows
    the distances covered. Ctrl-C keeps the systems that are done; the same command goes on. Energies are not written:
    nbody label makes the labels.
    """
    from ase_nbody.labelling.labels import available_cores
    from ase_nbody.labelling.sampling.sample import sample as sample_systems
    from ase_nbody.labelling.sampling.settings import KINDS, TEMPERATURES, SampleSettings
    from ase_nbody.simulation.errors import SimulationStoppedError
    from ase_nbody.stopping import StopRequest, stop_on_signals

    settings = SampleSettings(
        number=number,
        temperatures=tuple(temperature or TEMPERATURES),
        kinds=tuple(kind.strip() for kind in kinds.split(",")) if kinds else KINDS,
    )
    stop = StopRequest()
    with stop_on_signals(stop), _bar() as observer:
        try:
            report = sample_systems(
                molecules,
                output,
                reference,
                options=calculator_options(option or []),
                settings=settings,
                seed=seed,
                processes=processes or available_cores(),
                partners=partner or (),
                time_limit=time_limit,
                force=force,
                observer=observer,
                stop=stop,
            )
        except SimulationStoppedError as stopped:
            typer.echo(f"Stopped by signal {stopped.signal}; the same command goes on with what is missing.", err=True)
            raise typer.Exit(128 + stopped.signal) from None
    _summarise(report)
    if report.output is None:
        raise typer.Exit(1)


@contextmanager
def _bar() -> Iterator[Observer]:
    """A bar of systems, with the time left."""
    from ase_nbody.cli.output import progress_bar, warn
    from ase_nbody.labelling.sampling.system_sample import SystemSample

    with progress_bar() as bar:
        task = bar.add_task("systems", total=None, note="")

        def observe(one: SystemSample, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, note=one.name)
            if one.failure:
                warn(f"{one.name}: {one.failure}")
            for note in one.notes:
                warn(f"{one.name}: {note}")

        yield observe


def _summarise(report: SampleReport) -> None:
    """Print the table of kinds, with the reasons that occur, and the files."""
    from ase_nbody.cli.output import say, warn
    from ase_nbody.labelling.sampling.filters import REASONS

    counts = report.counts
    reasons = [reason for reason in REASONS if any(count.broken.get(reason) for count in counts.values())]
    header = ["made", *reasons, "duplicates", "spare", "kept"]
    say("".join(["kind          ", *(f"{name:>13}" for name in header)]))
    for kind, count in counts.items():
        numbers = [count.made, *(count.broken.get(reason, 0) for reason in reasons)]
        numbers += [count.duplicates, count.spare, count.kept]
        say("".join([f"{kind:<14}", *(f"{number:>13}" for number in numbers)]))
    sampled = len(report.samples) - len(report.failed)
    say(f"systems       {sampled} sampled, {len(report.failed)} not, with {report.level}")
    for name, reason in report.failed.items():
        say(f"not sampled   {name}: {reason}")
    if report.output is not None:
        say(f"structures    {report.n_structures} in {report.output}")
        if report.picture is None:
            warn("no picture is drawn: matplotlib is not installed (pip install matplotlib)")
    others = [str(path) for path in (report.table, report.report, report.picture) if path is not None]
    say(f"beside it     {', '.join(others)}")
