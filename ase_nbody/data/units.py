"""Units as people write them, such as "kcal/mol/Ang": their value in eV and angstrom."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ase import units


@dataclass(frozen=True)
class Unit:
    """A unit of energy and length.

    Attributes:
        value: in eV and angstrom.
        energy: power of energy.
        length: power of length.
    """

    value: float
    energy: int
    length: int


# The dimensions of what a dataset holds: powers of energy and length. "virial" is an energy.
DIMENSIONS = {"energy": (1, 0), "forces": (1, -1), "stress": (1, -3), "virial": (1, 0), "length": (0, 1)}
_ENERGIES = {
    **dict.fromkeys(("ev", "electronvolt", "electronvolts"), units.eV),
    "mev": 1e-3 * units.eV,
    **dict.fromkeys(("ha", "hartree", "hartrees", "eh"), units.Hartree),
    **dict.fromkeys(("ry", "rydberg"), units.Rydberg),
    "kcal": units.kcal,
    "kj": units.kJ,
}
_LENGTHS = {
    **dict.fromkeys(("a", "å", "ang", "angs", "angstrom", "angstroms", "ångström", "ångstrom"), units.Angstrom),
    **dict.fromkeys(("a0", "bohr", "bohrs"), units.Bohr),
    "nm": units.nm,
}
_PRESSURES = {"gpa": units.GPa, "mpa": 1e-3 * units.GPa, "kbar": 0.1 * units.GPa, "kb": 0.1 * units.GPa}
KNOWN = {
    **{name: Unit(value, 1, 0) for name, value in _ENERGIES.items()},
    **{name: Unit(value, 0, 1) for name, value in _LENGTHS.items()},
    **{name: Unit(value, 1, -3) for name, value in _PRESSURES.items()},
    "mol": Unit(units.mol, 0, 0),
}
_FACTOR = re.compile(r"([*/·. ]?)(a0|[^\W\d_]+)(?:\^?\(?([+-]?\d+)\)?)?")


def unit(text: str) -> Unit:
    """The unit that a text means.

    Args:
        text: such as "eV", "Hartree/Bohr", "kcal/mol/A", "eV/Ang^3" or "GPa"; case does not matter.

    Raises:
        ValueError: a part of the text is no unit that is known here.

    >>> unit("eV/Ang^3")
    Unit(value=1.0, energy=1, length=-3)
    """
    rest = re.sub(r"\s*([*/^·])\s*", r"\1", text.strip().lower().replace("**", "^").replace(" per ", "/"))
    rest = rest.replace("³", "^3").replace("⁻¹", "^-1")
    value, energy, length = 1.0, 0, 0
    while rest:
        match = _FACTOR.match(rest)
        known = KNOWN.get(match.group(2)) if match else None
        if match is None or known is None:
            raise ValueError(
                f"'{text}' is no unit that is known here; known are eV, meV, Hartree, Rydberg, kcal/mol, kJ/mol, "
                "angstrom, bohr, nm, GPa, MPa, kbar, and their products such as eV/angstrom"
            )
        power = int(match.group(3) or 1) * (-1 if match.group(1) == "/" else 1)
        value, energy, length = value * known.value**power, energy + power * known.energy, length + power * known.length
        rest = rest[match.end() :]
    return Unit(value, energy, length)
