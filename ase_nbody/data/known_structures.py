"""Molecules and crystals that ASE knows by name."""

from __future__ import annotations

from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import atomic_numbers


def known_structure(name: str) -> Atoms:
    """A crystal or molecule of ASE, the crystal in its cubic cell where it has one.

    Args:
        name: an element with a crystal structure ("Si") or a molecule of the G2 set ("CH3CH2OH").

    Raises:
        ValueError: ASE knows neither.
    """
    if atomic_numbers.get(name, 0) > 0:
        try:
            return _crystal(name)
        except (ValueError, RuntimeError):  # ASE knows no crystal of this element
            pass
    if name in g2.names:
        known: Atoms = molecule(name)
        return known
    raise ValueError(
        f"there is no file '{name}', and ASE knows no molecule or crystal of this name; give a file, a molecule such "
        "as CH3CH2OH (ase.collections.g2.names has all), or an element such as Si"
    )


def _crystal(symbol: str) -> Atoms:
    try:
        crystal: Atoms = bulk(symbol, cubic=True)
    except (ValueError, RuntimeError):  # not every lattice has a cubic cell
        crystal = bulk(symbol)
    return crystal
