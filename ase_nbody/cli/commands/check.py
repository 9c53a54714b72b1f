"""`nbody check`: by how much a model breaks the laws of physics on a structure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ase_nbody.cli.options import (
    AverageOverInversion,
    DeviceName,
    Dtype,
    DtypeOption,
    Force,
    Level,
    ModelArgument,
    Structure,
    Threads,
)

BROKEN = 1
"""Exit status where a law is broken."""


def check(
    model: ModelArgument,
    structure: Structure,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this JSON file.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Seed of displacements, turns and velocities.")] = 0,
    level: Level = None,
    average_over_inversion: AverageOverInversion = False,
    device: DeviceName = "auto",
    dtype: DtypeOption = Dtype.FLOAT64,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Check the laws of physics: symmetries, forces and stress as slopes of the energy, the cutoff, dynamics.

    Atoms are displaced by 0.05 Å first. What is compared with slopes needs float64. Exit status 1 where one is broken.
    """
    from dataclasses import asdict

    from ase_nbody.cli.inputs import calculator, check_outputs, read_structure
    from ase_nbody.cli.output import say, warn, write_json
    from ase_nbody.simulation.conformance import conformance

    if json is not None:
        check_outputs([json], force)
    atoms = read_structure(structure)
    of_model = calculator(model, device, dtype, threads, len(atoms), level, average_over_inversion, outside="ignore")
    say(f"{'law':<36}{'found':>10}{'allowed':>10}")
    findings = []
    for finding in conformance(of_model, atoms, seed):
        findings.append(finding)
        verdict = "passed" if finding.passed else "BROKEN" if finding.binding else "no law of this network"
        say(f"{finding.law:<36}{finding.found:>10.1e}{finding.allowed:>10.1e}  {verdict:<7} {finding.unit}".rstrip())
    broken = [finding.law for finding in findings if finding.binding and not finding.passed]
    if json is not None:
        write_json({"passed": not broken, "findings": [asdict(f) | {"passed": f.passed} for f in findings]}, json)
    if broken:
        warn(f"{model} breaks {len(broken)} of {len(findings)} laws on {structure}: {', '.join(broken)}")
        raise typer.Exit(BROKEN)
    say(f"{model} obeys all laws that were checked on {structure}")
