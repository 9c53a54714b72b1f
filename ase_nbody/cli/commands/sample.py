"""`nbody sample`: structures around molecules and crystals, to be labelled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import CalculatorOption, Force, Processes, calculator_options

Molecules = Annotated[
    list[str],
    typer.Argument(
        help="Files of geometries in any ASE format; lists of SMILES (*.smi: SMILES NAME; *.csv with columns "
        "smiles, name, family); smiles:C=C=O; molecules and crystals known to ASE, such as CH3CH2OH or Si.",
        show_default=False,
    ),
]
Structures = Annotated[Path, typer.Option("--output", help="Structures to write, *.xyz.", show_default=False)]
Guide = Annotated[
    str | None,
    typer.Option(
        "--with",
        help="Calculator that guides the sampling, as for nbody label: tblite:GFN2-xTB, model:NAME, ase:EMT, ...",
        show_default="model:MODEL with --model, else tblite:GFN2-xTB",
    ),
]
GuidingModel = Annotated[
    str | None,
    typer.Option(help="A model of yours: guides the sampling, and --pick asks it.", show_default=False),
]
Pick = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of all structures write so many only, those on whose forces readouts of MODEL that fit --known "
        "disagree most, with the info spread, eV/Å.",
        show_default=False,
    ),
]
Known = Annotated[
    Path | None,
    typer.Option(
        help="Labelled structures that MODEL was fitted to, such as the --data of nbody adapt.", show_default=False
    ),
]
Number = Annotated[int, typer.Option(min=1, help="Structures kept of each system, at most.")]
Temperatures = Annotated[
    list[float] | None,
    typer.Option(help="Of dynamics and normal modes, K; may be given again; 300, 600 and 1000 if not given."),
]
Kinds = Annotated[
    str | None,
    typer.Option(
        help="Of conformers, md, normal-modes, rattle; torsions, stretches, dimers (molecules); strains, vacancies, "
        "surfaces (crystals), with commas; all if not given.",
        show_default=False,
    ),
]
Partners = Annotated[
    list[str] | None,
    typer.Option(help="A molecule that dimers are made with, besides each molecule itself; may be given again."),
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same structures.")]
TimeLimit = Annotated[float, typer.Option(min=1.0, help="For one system, seconds.")]


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """What `nbody sample` is told; None where it is not."""

    molecules: Molecules
    output: Structures
    with_: Guide = None
    model: GuidingModel = None
    pick: Pick = None
    known: Known = None
    option: CalculatorOption = None
    number: Number = 100
    temperature: Temperatures = None
    kinds: Kinds = None
    partner: Partners = None
    seed: Seed = 0
    processes: Processes = None
    time_limit: TimeLimit = 1800.0
    force: Force = False


def sample(options: SampleOptions) -> None:
    """Sample structures: conformers, dynamics, normal modes, torsions, broken bonds, dimers, strains, surfaces.

    Broken structures and near-duplicates are left out. Beside STEM.xyz, STEM-sampled.csv and .json say what was kept
    and why, STEM-sampled.png shows the distances covered. Ctrl-C keeps the systems that are done; the same command goes
    on. Energies are not written: nbody label makes the labels. Where nothing is kept, nothing is written.
    """
    from ase_nbody.cli.runs.sample_run import guide, pick_settings, run_sample, sample_settings
    from ase_nbody.labelling.labels import available_cores
    from ase_nbody.labelling.sampling.sample import sample as sample_systems

    sampling = partial(
        sample_systems,
        options.molecules,
        options.output,
        guide(options.with_, options.model),
        options=calculator_options(options.option or []),
        settings=sample_settings(options.number, options.temperature, options.kinds),
        seed=options.seed,
        processes=options.processes or available_cores(),
        partners=options.partner or (),
        time_limit=options.time_limit,
        pick=pick_settings(options.pick, options.model, options.known),
        force=options.force,
    )
    run_sample(sampling)
