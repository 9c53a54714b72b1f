"""The laws of physics as users check them: sound models pass, and broken ones are named by the law that they break."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from broken_networks import (
    broken,
    ends_at_the_cutoff,
    forgets_a_derivative,
    forgets_the_shifts,
    has_a_constant,
    sees_handedness,
    sees_the_batch,
    sees_the_order,
    sees_the_origin,
    sees_the_size,
    sees_the_x_axis,
)
from command_line import run_command
from torch import Tensor

from ase_nbody import NBodyCalculator
from ase_nbody.graph import Graph
from ase_nbody.simulation.conformance import Finding, conformance

PERIODIC = {"atoms moved by whole cells", "supercell", "stress, the slope by strain"}
FINITE = {"far fragments"}
SLOPES = {"forces, the slope of the energy", "Hessian, the slope of the forces", "energy in dynamics, by step squared"}
CUTOFF = {"energy and forces through the cutoff", "slopes of forces through the cutoff"}


def crystal() -> Atoms:
    atoms = bulk("C", "diamond", a=3.4)
    atoms.symbols[1] = "O"
    return atoms


def findings(model: object, atoms: Atoms, **settings: str) -> dict[str, Finding]:
    calculator = NBodyCalculator(model, outside="ignore", threads=1, **settings)  # type: ignore[arg-type]
    return {finding.law: finding for finding in conformance(calculator, atoms)}


def broken_laws(fault: Callable[[Graph, Tensor], Tensor], atoms: Atoms) -> set[str]:
    soft = replace(broken(fault), energy_scale=0.1)
    return {law for law, finding in findings(soft, atoms).items() if not finding.passed}


@pytest.mark.parametrize(
    ("model", "atoms"),
    [
        ("organic", molecule("CH3OH")),
        ("organic", Atoms("H2", positions=[(0, 0, 0), (0, 0, 40)])),
        ("organic", Atoms("O")),
        ("silicon", bulk("Si", cubic=True)),
        ("copper", fcc111("Cu", (2, 1, 3), vacuum=4.0)),
        ("universal-l3i5", bulk("NaCl", "rocksalt", a=5.6)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_shipped_models_obey_all_laws(model: str, atoms: Atoms, dtype: str) -> None:
    before = atoms.copy()
    found = findings(model, atoms, dtype=dtype)
    assert [law for law, finding in found.items() if finding.binding and not finding.passed] == []
    periodic = bool(atoms.pbc.any())
    assert bool(PERIODIC & found.keys()) is periodic and bool(FINITE & found.keys()) is not periodic
    assert (found.keys() >= (SLOPES if len(atoms) > 1 else set()) | CUTOFF) is (dtype == "float64")
    assert atoms == before


def test_what_a_network_does_not_promise_is_told_and_no_fault() -> None:
    """SevenNet-0 has no mirror symmetry, and its envelope sets in with a jump of the curvature."""
    found = findings("universal", bulk("Si", cubic=True))
    loose = {law for law, finding in found.items() if not finding.binding}
    assert loose == {"reflection", "Hessian, the slope of the forces", "slopes of forces through the cutoff"}
    assert not found["reflection"].passed and not found["slopes of forces through the cutoff"].passed
    assert all(finding.passed for finding in found.values() if finding.binding)
    calculator = NBodyCalculator("universal", outside="ignore", average_over_inversion=True)
    mirrored = {finding.law: finding for finding in conformance(calculator, bulk("Si", cubic=True))}["reflection"]
    assert mirrored.binding and mirrored.passed


def sound(graph: Graph, energies: Tensor) -> Tensor:
    return energies


@pytest.mark.parametrize(
    ("fault", "atoms", "laws"),
    [
        (sound, molecule("CH3OH"), set()),
        (sound, crystal(), set()),
        (sees_the_x_axis, molecule("CH3OH"), {"rotation"}),
        (sees_handedness, molecule("CH3OH"), {"reflection"}),
        (sees_the_origin, molecule("CH3OH"), {"translation"}),
        (sees_the_order, molecule("CH3OH"), {"order of the atoms"}),
        (sees_the_size, molecule("CH3OH"), {"far fragments"}),
        (sees_the_size, crystal(), {"supercell"}),
        (sees_the_batch, molecule("CH3OH"), {"a batch of structures"}),
        (ends_at_the_cutoff(0), molecule("CH3OH"), {"energy and forces through the cutoff"}),
        (ends_at_the_cutoff(1), molecule("CH3OH"), {"energy and forces through the cutoff"}),
        (ends_at_the_cutoff(2), molecule("CH3OH"), {"slopes of forces through the cutoff"}),
        (has_a_constant, molecule("CH3OH"), {"an atom alone"}),
        (forgets_a_derivative, molecule("CH3OH"), SLOPES - {"Hessian, the slope of the forces"}),
        (forgets_a_derivative, crystal(), {"stress, the slope by strain"}),
        (forgets_the_shifts, crystal(), {"atoms moved by whole cells"}),
    ],
)
def test_broken_networks_break_their_law(
    fault: Callable[[Graph, Tensor], Tensor], atoms: Atoms, laws: set[str]
) -> None:
    found = broken_laws(fault, atoms)
    assert found >= laws
    assert bool(found) is bool(laws)


def test_a_stale_neighbour_list_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    stale = [True] * 9  # and a new list at the last step, where nothing is wrong any more
    monkeypatch.setattr("ase_nbody.neighbour_cache.NeighbourCache._complete", lambda *_: bool(stale and stale.pop()))
    calculator = NBodyCalculator(broken(sound), outside="ignore", skin=0.0, threads=1)
    found = {f.law: f for f in conformance(calculator, bulk("C", "diamond", a=3.5).repeat(2))}
    assert not found["neighbour list used again"].passed


def test_the_command_prints_writes_and_ends_by_what_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "check.json"
    words = ("check", "organic", "H2O", "--json", output)
    status, out, error = run_command(monkeypatch, capsys, *words)
    assert status == 0 and "organic obeys all laws that were checked on H2O" in out, error
    written = json.loads(output.read_text())
    assert written["passed"] and len(written["findings"]) == len(out.splitlines()) - 2
    status, _, error = run_command(monkeypatch, capsys, *words)
    assert status != 0 and "there already" in error
    monkeypatch.setattr("ase_nbody.simulation.conformance.FORCES", 0.0)
    status, out, error = run_command(monkeypatch, capsys, *words, "--force")
    assert status == 1 and "BROKEN" in out
    assert "organic breaks 1 of 14 laws on H2O: forces, the slope of the energy" in " ".join(error.split())
    status, _, error = run_command(monkeypatch, capsys, "check", "organic", "Si")
    assert status != 0 and "element 'Si' is not in this model" in " ".join(error.split())


def test_displacements_are_seeded() -> None:
    calculator = NBodyCalculator("organic", outside="ignore", dtype="float32")
    once, again, other = ([f.found for f in conformance(calculator, molecule("H2O"), seed)] for seed in (0, 0, 1))
    assert once == again and not np.array_equal(once, other)
