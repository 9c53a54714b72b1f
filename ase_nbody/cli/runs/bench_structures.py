"""Structures that a model can be timed on when none are given: a small and a larger one of its elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2

TYPICAL_MOLECULE = 9
"""Atoms of the molecule that is chosen, where there are several: those of ethanol."""

CRYSTAL_ATOMS = (64, 512)
BOX_ATOMS = 240
GAP = 2.4
"""Between molecules in the box, angstrom: about two van der Waals radii of hydrogen, 1.2 (Bondi 1964)."""


def default_structures(elements: Sequence[str]) -> dict[str, Atoms]:
    """A molecule of as many of the elements as possible and a box of it, or else two supercells of a crystal.

    Args:
        elements: chemical symbols that the model knows.

    Returns:
        Structures by name, the small one first.

    Raises:
        ValueError: ASE knows neither a molecule nor a crystal of these elements.
    """
    chosen = _typical_molecule(elements)
    if chosen is not None:
        copies = max(2, round((BOX_ATOMS / len(molecule(chosen))) ** (1 / 3)))
        return {chosen: molecule(chosen), f"{copies**3} {chosen}": _box(molecule(chosen), copies)}
    for symbol, crystal in _crystals(elements):
        sides = [max(1, round((size / len(crystal)) ** (1 / 3))) for size in CRYSTAL_ATOMS]
        supercells = [crystal.repeat(side) for side in sides]
        return {f"{len(supercell)} {symbol}": supercell for supercell in supercells}
    raise ValueError(
        f"ASE knows no molecule or crystal of the model's elements ({', '.join(elements)}); give a file as --structure"
    )


def _typical_molecule(elements: Sequence[str]) -> str | None:
    """Name of a closed-shell molecule of the G2 set, of two elements and three atoms or more, saturated if possible."""
    known = {name: molecule(name) for name in g2.names}
    fitting = {
        name: atoms
        for name, atoms in known.items()
        if len(atoms) > 2
        and 1 < len(set(atoms.symbols)) == len(set(atoms.symbols) & set(elements))
        and not atoms.get_initial_magnetic_moments().any()
    }

    def rank(name: str) -> tuple[int, int, int, str]:
        symbols = list(fitting[name].symbols)
        return -len(set(symbols)), abs(len(symbols) - TYPICAL_MOLECULE), -symbols.count("H"), name

    return min(fitting, key=rank, default=None)


def _box(one: Atoms, copies: int) -> Atoms:
    """A crystal of equally oriented molecules whose bounding boxes are GAP apart."""
    one.set_cell(one.positions.max(axis=0) - one.positions.min(axis=0) + GAP)
    one.pbc = True
    box: Atoms = one.repeat(copies)
    return box


def _crystals(elements: Sequence[str]) -> Iterator[tuple[str, Atoms]]:
    for symbol in elements:
        for cubic in (True, False):  # not every lattice has a cubic cell
            try:
                yield symbol, bulk(symbol, cubic=cubic)
            except (ValueError, RuntimeError):  # ASE knows no such crystal of this element
                continue
