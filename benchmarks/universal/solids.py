"""Lattice constants, bulk moduli and phonons of ten solids by `universal` and `universal-l3i5`, beside experiment.

    python benchmarks/universal/solids.py universal universal-l3i5 [--write]

--write keeps the means in the model files. All crystals are cubic with every atom at a site of symmetry, so that the
volume alone is relaxed. Phonons are ASE's, by finite differences in 2x2x2 primitive cells, in which the q-points below
are exact. Of crystals of two atoms the transverse optical mode at Gamma is compared: the fields of long waves, which
split it from the longitudinal one in polar crystals, are in no such network.

Experiments, at room temperature where nothing else is said, without a correction for zero-point motion. Lattice
constants, bulk moduli of the elements and of NaCl, and transverse modes of NaCl, MgO and GaAs: Kittel, Introduction to
Solid State Physics, 8th ed., chapters 1, 3 and 15. Other bulk moduli: GaAs, Blakemore, J. Appl. Phys. 53, R123 (1982);
MgO, Speziale et al., J. Geophys. Res. 106, 515 (2001); SrTiO3, Bell and Rupprecht, Phys. Rev. 129, 90 (1963). Phonons:
Si, Nilsson and Nelin, Phys. Rev. B 6, 3777 (1972); C, Warren et al., Phys. Rev. 158, 805 (1967); Al at 80 K, Stedman
and Nilsson, Phys. Rev. 145, 492 (1966); Cu, Svensson et al., Phys. Rev. 155, 619 (1967); Fe, Minkiewicz et al., Phys.
Rev. 162, 528 (1967); W, Chen and Brockhouse, Solid State Commun. 2, 73 (1964); GaAs at X (12 K), Strauch and Dorner,
J. Phys.: Condens. Matter 2, 1457 (1990). None of these papers was at hand when this was written: all numbers are from
memory, rounded to what is sure. tests/test_solids.py compares
five of the elements with ASE's collection dcdft.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.eos import EquationOfState
from ase.phonons import Phonons

from ase_nbody import NBodyCalculator
from ase_nbody.model_file import Trial, change_information
from ase_nbody.models_directory import find_model

POINTS = {  # in reciprocal vectors of ASE's primitive cells
    "Γ": (0, 0, 0),
    "X": (0, 0.5, 0.5),
    "H": (0.5, -0.5, 0.5),
}
STRAINS = np.linspace(-0.02, 0.02, 9)  # of the lattice constant
KINDS = ("lattice constant", "bulk modulus", "phonon")
TERAHERTZ = 1e12 * units._hplanck * units.J  # eV


@dataclass(frozen=True)
class Solid:
    """A crystal as measured.

    Attributes:
        name: formula.
        structure: as ase.build.bulk names it, or perovskite.
        lattice: constant, angstrom.
        modulus: bulk modulus, GPa.
        modes: name, point, place in the order of frequencies at that point, and frequency, THz.
    """

    name: str
    structure: str
    lattice: float
    modulus: float
    modes: tuple[tuple[str, str, int, float], ...] = ()

    def atoms(self, lattice: float) -> Atoms:
        """The primitive cell with a lattice constant, angstrom."""
        if self.structure == "perovskite":
            places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
            return Atoms(self.name, scaled_positions=places, cell=[lattice] * 3, pbc=True)
        return bulk(self.name, self.structure, a=lattice)


def optical(frequency: float) -> tuple[tuple[str, str, int, float], ...]:
    """The transverse optical mode at Gamma of a crystal of two atoms."""
    return (("TO", "Γ", 3, frequency),)


def acoustic(transverse: float, longitudinal: float) -> tuple[tuple[str, str, int, float], ...]:
    """The modes at X of an fcc crystal of one atom."""
    return (("TA", "X", 0, transverse), ("LA", "X", 2, longitudinal))


SOLIDS = (
    Solid("Si", "diamond", 5.431, 98.8, (*optical(15.5), ("TA", "X", 0, 4.49), ("TO", "X", 4, 13.9))),
    Solid("C", "diamond", 3.567, 443, (*optical(39.9), ("TA", "X", 0, 24.2), ("LA", "X", 4, 35.5))),
    Solid("GaAs", "zincblende", 5.653, 75.5, (*optical(8.1), ("TA", "X", 0, 2.45), ("TO", "X", 4, 7.6))),
    Solid("NaCl", "rocksalt", 5.640, 24.0, optical(4.9)),
    Solid("MgO", "rocksalt", 4.211, 160, optical(12.0)),
    Solid("Al", "fcc", 4.050, 72.2, acoustic(5.8, 9.7)),
    Solid("Cu", "fcc", 3.615, 137, acoustic(5.1, 7.25)),
    Solid("Fe", "bcc", 2.867, 168, (("all", "H", 0, 8.56),)),
    Solid("W", "bcc", 3.165, 323, (("all", "H", 0, 5.5),)),
    Solid("SrTiO3", "perovskite", 3.905, 174),
)


def equilibrium(solid: Solid, calculator: NBodyCalculator) -> tuple[float, float]:
    """Lattice constant (angstrom) and bulk modulus (GPa) of the minimum of Birch and Murnaghan's equation of state."""
    centre = solid.lattice
    for _ in range(2):  # the second time around the minimum
        cells = [solid.atoms(centre * (1 + strain)) for strain in STRAINS]
        energies = [result["energy"] for result in calculator.calculate_many(cells)]
        volume, _, modulus = EquationOfState([c.get_volume() for c in cells], energies, eos="birchmurnaghan").fit()
        centre *= float((volume / solid.atoms(centre).get_volume()) ** (1 / 3))
    return centre, float(modulus / units.GPa)


def frequencies(solid: Solid, lattice: float, calculator: NBodyCalculator) -> list[float]:
    """Of the modes that are compared, at a lattice constant, THz; imaginary ones are negative."""
    if not solid.modes:
        return []
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(solid.atoms(lattice), calculator, supercell=(2, 2, 2), delta=0.01, name=Path(folder) / "p")
        phonons.run()
        phonons.read(acoustic=True)
        bands = phonons.band_structure([POINTS[point] for _, point, _, _ in solid.modes], verbose=False)
    return [float(band[place]) / TERAHERTZ for band, (_, _, place, _) in zip(bands, solid.modes, strict=True)]


def trials(solid: Solid, calculator: NBodyCalculator) -> list[Trial]:
    """What the model gives for a solid, beside experiment."""
    lattice, modulus = equilibrium(solid, calculator)
    compared = [
        ("lattice constant, Å", round(lattice, 3), solid.lattice),
        ("bulk modulus, GPa", round(modulus, 1), solid.modulus),
    ]
    for (name, point, _, measured), found in zip(solid.modes, frequencies(solid, lattice, calculator), strict=True):
        compared.append((f"phonon {point} {name}, THz", round(found, 2), measured))
    return [
        Trial(structure=f"{solid.name}, {solid.structure}", quantity=q, model=m, reference=r) for q, m, r in compared
    ]


def in_brief(found: list[Trial]) -> Iterator[Trial]:
    """The mean ratio to experiment of each kind of quantity, with its extremes."""
    for kind in KINDS:
        ratios = sorted((ratio(t), t.structure.partition(",")[0]) for t in found if t.quantity.startswith(kind))
        (low, first), (high, last) = ratios[0], ratios[-1]
        yield Trial(
            structure=f"{len({solid for _, solid in ratios})} cubic solids",
            quantity=f"{kind} / experiment, mean of {len(ratios)}",
            model=round(float(np.mean([value for value, _ in ratios])), 3),
            reference=1.0,
            remark=f"{low:.2f} ({first}) to {high:.2f} ({last})",
        )


def ratio(trial: Trial) -> float:
    """What the model gives over what was measured."""
    assert trial.model is not None and trial.reference is not None
    return trial.model / trial.reference


def table(found: dict[str, list[Trial]]) -> str:
    """Every quantity of every solid by every model, and below the mean ratio of each kind of quantity."""
    rows = zip(*found.values(), strict=True)
    lines = [
        f"| solid | quantity | {' | '.join(found)} | experiment |",
        f"| --- | --- |{' ---: |' * (len(found) + 1)}",
        *(
            f"| {row[0].structure} | {row[0].quantity} | {' | '.join(_beside(t) for t in row)} | {row[0].reference:g} |"
            for row in rows
        ),
    ]
    for brief in zip(*(in_brief(every) for every in found.values()), strict=True):
        lines.append(
            f"| **{brief[0].structure}** | {brief[0].quantity} | {' | '.join(f'{t.model:g}' for t in brief)} | 1 |"
        )
    return "\n".join(lines)


def _beside(trial: Trial) -> str:
    """A number and how far it is from experiment."""
    return f"{trial.model:g} ({100 * (ratio(trial) - 1):+.0f} %)"


def main() -> None:
    """Print the table and, with --write, keep what it says of each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, list[Trial]] = {}
    for model in arguments.models:
        calculator = NBodyCalculator(model, device="cpu", threads=1)
        found[model] = [trial for solid in SOLIDS for trial in trials(solid, calculator)]
        if arguments.write:
            change_information(find_model(model), trials=tuple(in_brief(found[model])))
    print(table(found))


if __name__ == "__main__":
    main()
