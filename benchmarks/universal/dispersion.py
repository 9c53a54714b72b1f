"""Graphite and two molecular crystals by `universal`, without and with the dispersion of PBE, beside experiment.

    python benchmarks/universal/dispersion.py

Cell and atoms are relaxed from the measured structure. Needs dftd3: pip install "ase_nbody[dispersion]".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.lattice.hexagonal import Graphite
from ase.optimize import FIRE
from ase.spacegroup import crystal

from ase_nbody import NBodyCalculator, with_dispersion

FMAX = 5e-4  # eV/angstrom: layers are held weakly
STEPS = 3000


@dataclass(frozen=True)
class Case:
    """A crystal as measured, and the lengths that are compared, angstrom."""

    name: str
    source: str
    atoms: Atoms
    lengths: Callable[[Atoms], dict[str, float]]


def cases() -> Iterator[Case]:
    """Measured structures."""
    yield Case(
        "graphite",
        "room temperature, Trucano and Chen, Nature 258, 136 (1975)",
        Graphite("C", latticeconstant={"a": 2.464, "c": 6.711}),
        lambda atoms: {"a": atoms.cell.lengths()[0], "distance of layers": atoms.cell.lengths()[2] / 2},
    )
    yield Case(
        "carbon dioxide, Pa-3",
        "20 K, Keesom and Köhler, Physica 1, 655 (1934)",
        crystal("CO", [(0, 0, 0), (0.12, 0.12, 0.12)], spacegroup=205, cellpar=[5.542] * 3 + [90] * 3),
        lambda atoms: {"a": atoms.cell.lengths().mean()},
    )
    places = {  # fractions of a and c
        "C": (0, 0.5, 0.3260),
        "O": (0, 0.5, 0.5953),
        "N": (0.1459, 0.6459, 0.1766),
        "H": (0.2575, 0.7575, 0.2827),
        "H ": (0.1441, 0.6441, -0.0380),
    }
    yield Case(
        "urea, P-42_1m",
        "12 K, Swaminathan, Craven and McMullan, Acta Cryst. B 40, 300 (1984)",
        crystal(
            [name.strip() for name in places],
            [*places.values()],
            spacegroup=113,
            cellpar=[5.565, 5.565, 4.684, 90, 90, 90],
        ),
        lambda atoms: {"a": atoms.cell.lengths()[:2].mean(), "c": atoms.cell.lengths()[2]},
    )


def relaxed(atoms: Atoms, functional: str | None) -> Atoms | None:
    """The crystal with its cell at a minimum; None where it is not reached."""
    atoms = atoms.copy()
    model = NBodyCalculator("universal", average_over_inversion=True)
    atoms.calc = model if functional is None else with_dispersion(model, functional)
    with FIRE(FrechetCellFilter(atoms), logfile=None) as optimizer:
        return atoms if optimizer.run(fmax=FMAX, steps=STEPS) else None


def main() -> None:
    """Print the table."""
    print("| crystal | length, Å | universal | with D3(BJ) of PBE | experiment |")
    print("| --- | --- | --- | --- | --- |")
    for case in cases():
        results = [relaxed(case.atoms, functional) for functional in (None, "PBE")]
        for name, measured in case.lengths(case.atoms).items():
            found = ["not bound" if atoms is None else f"{case.lengths(atoms)[name]:.3f}" for atoms in results]
            print(f"| {case.name} | {name} | {' | '.join(found)} | {measured:.3f} ({case.source}) |", flush=True)


if __name__ == "__main__":
    main()
