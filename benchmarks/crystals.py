"""A crystal as a model gives it: lattice constant, elastic constants and phonons, beside PBE and experiment.

    python benchmarks/crystals.py silicon
    python benchmarks/crystals.py MODEL.safetensors     # any model of one of Si, Mo and Cu alone

Prints a table and writes runs/crystal-NAME.json. All in float64. The cell is relaxed first; elastic constants are
slopes of stress against strain (matscipy, strains up to ± 0.2 %) with the atoms relaxed in each strained cell, and
phonon frequencies come from force constants by displacements of 0.01 Å (ase.phonons). The zone-boundary points are
commensurate with every even supercell, so that a supercell smaller than the reach of the model gives them too: two are
used, and the largest difference between them is printed. Imaginary frequencies are negative.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.phonons import Phonons
from ase.units import GPa, _e, _hplanck
from crystal_references import SOURCES, reference
from matscipy.elasticity import fit_elastic_constants

from ase_nbody import NBodyCalculator

LARGEST_FORCE = 1e-5  # eV/angstrom, after relaxing; in float64 1e-3 GPa of stress
STRAIN_STEP = 1e-3
THZ_PER_EV = _e / _hplanck / 1e12


@dataclass(frozen=True)
class Crystal:
    """The structure of an element, its zone-boundary points and the supercells of its primitive cell."""

    structure: str
    points: tuple[str, str]
    supercells: tuple[int, int]


CRYSTALS = {
    "Si": Crystal("diamond", ("X", "L"), (4, 6)),
    "Mo": Crystal("bcc", ("H", "N"), (4, 6)),
    "Cu": Crystal("fcc", ("X", "L"), (4, 6)),
}


def relaxed(symbol: str, calculator: NBodyCalculator) -> Atoms:
    """The primitive cell, relaxed with its atoms."""
    atoms = bulk(symbol, CRYSTALS[symbol].structure)
    atoms.calc = calculator
    if not BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=LARGEST_FORCE, steps=500):
        raise RuntimeError(f"the cell of {symbol} did not relax in 500 steps; is it near its minimum in this model?")
    return atoms


def lattice_constant(primitive: Atoms) -> float:
    """Edge of the cubic cell, angstrom."""
    symbol = primitive.symbols[0]
    cubic = bulk(symbol, CRYSTALS[symbol].structure, cubic=True)
    return float(len(cubic) * primitive.get_volume() / len(primitive)) ** (1 / 3)


def elastic_constants(primitive: Atoms) -> dict[str, float]:
    """C11, C12, C44, C44 with the atoms held, and the isotropic moduli of Voigt, Reuss and Hill, GPa."""
    symbol = primitive.symbols[0]
    cubic = bulk(symbol, CRYSTALS[symbol].structure, a=lattice_constant(primitive), cubic=True)
    cubic.calc = primitive.calc
    settings = {"symmetry": "cubic", "N_steps": 5, "delta": STRAIN_STEP, "verbose": False}
    unrelaxed = fit_elastic_constants(cubic, **settings)[0] / GPa
    matrix = fit_elastic_constants(cubic, optimizer=BFGS, fmax=LARGEST_FORCE, **settings)[0] / GPa
    c11, c12, c44 = (float(matrix[i, j]) for i, j in ((0, 0), (0, 1), (3, 3)))
    voigt = (c11 - c12 + 3 * c44) / 5
    reuss = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    found = {"bulk modulus": (c11 + 2 * c12) / 3, "C11": c11, "C12": c12, "C44": c44}
    return found | {"C44 unrelaxed": float(unrelaxed[3, 3]), "shear modulus": (voigt + reuss) / 2}


def frequencies(primitive: Atoms, repeats: int) -> dict[str, npt.NDArray[np.float64]]:
    """Frequencies of all modes at the zone-boundary points in THz, from a supercell of `repeats`³ primitive cells."""
    points = primitive.cell.bandpath().special_points
    with tempfile.TemporaryDirectory() as folder:
        phonons = Phonons(primitive, primitive.calc, supercell=(repeats,) * 3, name=f"{folder}/phonons", delta=0.01)
        phonons.run()
        phonons.read(acoustic=True)
    names = CRYSTALS[primitive.symbols[0]].points
    energies = phonons.band_structure([points[name] for name in names], verbose=False)
    return {name: values * THZ_PER_EV for name, values in zip(names, energies, strict=True)}


def measure(calculator: NBodyCalculator) -> tuple[dict[str, float | list[float]], float]:
    """The quantities of a model of one element, and the largest change of a frequency with the supercell, THz."""
    symbol = calculator.potential.elements[0]
    primitive = relaxed(symbol, calculator)
    found: dict[str, float | list[float]] = {"lattice constant": lattice_constant(primitive)}
    found |= elastic_constants(primitive)
    smaller, larger = (frequencies(primitive, repeats) for repeats in CRYSTALS[symbol].supercells)
    found |= {f"phonons at {point}": values.tolist() for point, values in larger.items()}
    return found, max(float(np.abs(larger[point] - smaller[point]).max()) for point in larger)


def unit(quantity: str) -> str:
    """Unit of a quantity."""
    return "Å" if quantity == "lattice constant" else "THz" if quantity.startswith("phonons") else "GPa"


def shown(quantity: str, value: float | Sequence[float]) -> str:
    """A value, or frequencies with degenerate ones once, as the table shows them."""
    if isinstance(value, Sequence):
        return " ".join(dict.fromkeys(f"{frequency:.2f}" for frequency in value))
    return f"{value:.{4 if unit(quantity) == 'Å' else 1}f}"


def row(symbol: str, quantity: str, value: float | list[float]) -> dict[str, object]:
    """What is known of one quantity."""
    known: dict[str, object] = {"quantity": quantity, "unit": unit(quantity), "model": value}
    for name in ("PBE", "experiment"):
        found = reference(symbol, quantity, experiment=name == "experiment")
        known[name] = found and asdict(found)
    return known


def table(rows: list[dict[str, Any]]) -> str:
    """Rows in columns, the key of a source in brackets after its value, and the sources below."""
    lines = [("", "", "model", "PBE", "experiment")]
    sources: dict[str, str] = {}
    for entry in rows:
        cells = [entry["quantity"], entry["unit"], shown(entry["quantity"], entry["model"])]
        for found in (entry["PBE"], entry["experiment"]):
            cells.append(f"{shown(entry['quantity'], found['value'])} [{found['source']}]" if found else "")
            sources |= {found["source"]: SOURCES[found["source"]]} if found else {}
        lines.append(tuple(cells))
    widths = [max(len(cells[column]) for cells in lines) for column in range(5)]
    text = [" | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) for cells in lines]
    return "\n".join(line.rstrip() for line in text) + "\n\n" + "\n".join(f"[{k}] {v}" for k, v in sources.items())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a shipped model or path of a model file")
    chosen = parser.parse_args()
    calculator = NBodyCalculator(chosen.model, dtype="float64")
    elements = calculator.potential.elements
    if len(elements) != 1 or elements[0] not in CRYSTALS:
        parser.error(
            f"a model of one element of {', '.join(CRYSTALS)} is needed, and this one has {', '.join(elements)}"
        )
    started = time.perf_counter()
    quantities, change = measure(calculator)
    rows = [row(elements[0], quantity, value) for quantity, value in quantities.items()]
    print(table(rows))
    small, large = CRYSTALS[elements[0]].supercells
    print(f"\nfrequencies change by at most {change:.1e} THz from {small}³ to {large}³ primitive cells")
    found = {
        "model": chosen.model,
        "element": elements[0],
        "seconds": time.perf_counter() - started,
        "change_with_supercell_THz": change,
        "quantities": rows,
        "sources": SOURCES,
    }
    Path("runs").mkdir(exist_ok=True)
    output = Path(f"runs/crystal-{Path(chosen.model).stem}.json")
    output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    print(f"{output}, {found['seconds']:.0f} s")


if __name__ == "__main__":
    main()
