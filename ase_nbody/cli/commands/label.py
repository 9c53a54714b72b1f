"""`nbody label`: labels of structures by any calculator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import CalculatorOption, Force, Processes, calculator_options

Structures = Annotated[Path, typer.Argument(help="Structures, any ASE format, also compressed.", show_default=False)]
Teacher = Annotated[
    str,
    typer.Option(
        "--with",
        help="What labels them: tblite:GFN2-xTB, pyscf:PBE/def2-svp, ani:ANI-1x, model:NAME, ase:NAME (a calculator of "
        "ASE, such as ase:EMT) or MODULE:FACTORY (a function in a module of yours that gives an ASE calculator).",
        show_default=False,
    ),
]
Labelled = Annotated[
    Path, typer.Option("--output", help="Labelled structures, .xyz, .xyz.gz or .db.", show_default=False)
]
TimeLimit = Annotated[
    float | None, typer.Option(help="Seconds for a structure; what takes longer fails.", show_default="none")
]
NetForce = Annotated[float, typer.Option(help="Largest sum of the forces, eV/Å; more fails.")]
DropSpread = Annotated[
    float | None,
    typer.Option(
        help="Largest disagreement of a committee (ani) on the force on an atom, meV/Å; more fails. With ANI-1x "
        "half of the structures of small molecules have more than 300 at minima, 400 at 300 K and 500 at 1000 K, a "
        "tenth more than 500, 800 and 1200.",
        show_default="any",
    ),
]
Consistency = Annotated[
    bool,
    typer.Option(
        "--consistency/--no-consistency",
        help="Compare energies with forces and stress by finite differences, for one structure in 1000 and at "
        "least 5, and stop where most do not fit.",
    ),
]
RetryFailures = Annotated[
    bool, typer.Option("--retry-failures", help="Try structures again that failed before the run was interrupted.")
]


def label(
    structures: Structures,
    with_: Teacher,
    output: Labelled,
    option: CalculatorOption = None,
    processes: Processes = None,
    time_limit: TimeLimit = None,
    net_force: NetForce = 0.05,
    drop_spread: DropSpread = None,
    consistency: Consistency = True,
    retry_failures: RetryFailures = False,
    force: Force = False,
) -> None:
    """Label structures: energies, forces, and stress where there is a cell.

    A run that was interrupted, by Ctrl-C or kill -9, goes on with the same command; until it is done, its
    labels stand in OUTPUT.journal. Structures that fail are in OUTPUT-failures.xyz with their reason, and the level of
    theory is in OUTPUT.json. Charge and multiplicity are taken from the info of a structure. Processes share the
    working folder: ASE's calculators of external programs write their files in a folder of their own, and a function of
    yours must not write where another process does. The exit status is 0 also where some structures failed, and 1 where
    all did.
    """
    from ase_nbody.cli.runs.label_run import run_label
    from ase_nbody.labelling import Checks, LabelSettings
    from ase_nbody.labelling.labels import available_cores

    checks = Checks(net_force=net_force, drop_spread=drop_spread, consistency=consistency)
    chosen = LabelSettings(
        options=calculator_options(option or []),
        processes=processes or available_cores(),
        time_limit=time_limit,
        checks=checks,
        force=force,
        retry_failures=retry_failures,
    )
    run_label(structures, with_, output, chosen)
