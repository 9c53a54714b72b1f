"""benchmarks/organic_start/trials.py: frequencies, scans and structures, on springs whose numbers are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "organic_start" / "trials.py"
STIFFNESS, LENGTH = 40.0, 1.2  # eV/angstrom^2, angstrom


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("trials", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def spring(atoms: Atoms, stiffness: float = STIFFNESS) -> tuple[float, np.ndarray]:
    vector = atoms.positions[1] - atoms.positions[0]
    length = np.linalg.norm(vector)
    pull = stiffness * (length - LENGTH) * vector / length
    return 0.5 * stiffness * (length - LENGTH) ** 2, np.array([pull, -pull])


class Springs:
    """A calculator of springs that are softer by a factor."""

    def __init__(self, factor: float) -> None:
        self.stiffness = factor * STIFFNESS

    def calculate_many(self, frames: list[Atoms]) -> list[dict[str, object]]:
        found = [spring(atoms, self.stiffness) for atoms in frames]
        return [{"energy": energy, "forces": forces} for energy, forces in found]


def labelled(atoms: Atoms, place: float = 0.0) -> Atoms:
    atoms.info |= {"name": "spring", "place": place}
    energy, forces = spring(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def carbon_monoxide(length: float = LENGTH) -> Atoms:
    return Atoms("CO", positions=[(0, 0, 0), (0, 0, length)])


def test_frequencies_are_those_of_the_spring(script: ModuleType) -> None:
    at, frames = carbon_monoxide(), []
    for component in np.ndindex(2, 3):
        for sign in (1, -1):
            frames.append(at.copy())
            frames[-1].positions[component] += sign * script.DISPLACEMENT
            labelled(frames[-1])
    masses = at.get_masses()
    energy = units._hbar * units.J * np.sqrt(STIFFNESS * masses.sum() / masses.prod() * units._e / units._amu) * 1e10
    found = script.wavenumbers(at, [atoms.get_forces() for atoms in frames])
    assert found == pytest.approx([energy / units.invcm], rel=1e-3)
    trial = script.frequencies(Springs(0.81), "CO", frames, at)  # the root of 0.81 is 0.9
    assert trial.model == pytest.approx(0.1 * found[0], rel=0.01)
    assert f"mean difference {-0.1 * found[0]:+.0f}" in trial.remark


@pytest.mark.parametrize(("kind", "sign"), [("pair", -1), ("bond", 1), ("torsion", 1)])
def test_scans_are_compared_at_the_reference_minimum(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, kind: str, sign: int
) -> None:
    """Depth of a pair, energy to break a bond, height of a torsion, where the model is half as stiff."""
    monkeypatch.setitem(script.BONDS, "spring", (0, 1))
    monkeypatch.setitem(script.TORSIONS, "spring", (0, 0, 1, 1))
    stretches = [-0.2, 0.1, 0.3]
    frames = [labelled(carbon_monoxide(LENGTH + stretch), stretch) for stretch in stretches]
    trial = script.scan(Springs(0.5), kind, "spring", frames)
    span = 0.5 * STIFFNESS * (0.3**2 - 0.1**2)
    assert trial.reference == pytest.approx(sign * span, abs=1e-3)
    assert trial.model == pytest.approx(0.5 * sign * span, abs=1e-3)
    assert trial.remark == f"largest error along the scan {0.5 * span:.3f} eV, at 0.3"


def test_pairs_are_as_far_apart_as_they_say(script: ModuleType) -> None:
    acceptor = Atoms("CNCCO", positions=[(-2, 1, 0), (-1.2, 0, 0), (-2, -1, 0), (0, 0, 0), (1.0, 0.7, 0)])
    flat = Atoms("C5", positions=[(0, 0, 0), (1.4, 0, 0), (2.1, 1.2, 0), (2.1, -1.2, 0), (3.5, 1.3, 0)])
    for atoms in script.pairs({"dimethylformamide": acceptor, "isoprene": flat}):
        if "water" in atoms.info["name"]:
            assert str(atoms.symbols[5:]) == "OH2"
            assert atoms.get_distance(4, 6) == pytest.approx(atoms.info["place"])
            assert atoms.get_angle(3, 4, 6) == pytest.approx(180) and atoms.get_angle(4, 6, 5) == pytest.approx(180)
        else:
            apart = atoms.positions[5:].mean(axis=0) - atoms.positions[:5].mean(axis=0)
            assert np.linalg.norm(apart) == pytest.approx(atoms.info["place"]) and abs(apart[2]) == np.abs(apart).max()
