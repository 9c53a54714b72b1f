"""What the method of the training data (PBE) and experiment give for crystals of Si, Mo and Cu, each with its source.

    python benchmarks/crystal_references.py DATA/mlearn/Si_train.xyz DATA/mlearn/Si_test.xyz

prints the elastic constants that the stress labels of the strained frames (group Elastic) of mlearn give, those marked
"labels" below. What is not here was not found: the elastic constants of Cu and the phonons of Mo and Cu from the
training method itself (VASP, PBE).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.collections import dcdft
from ase.io import read
from ase.units import GPa

SOURCES = {
    "delta": "Lejaeghere et al. 2014, doi 10.1080/10408436.2013.772503, in ase.collections.dcdft: PBE of WIEN2k, all "
    "electrons; experiment extrapolated to 0 K, zero-point motion removed",
    "labels": "stress labels of the frames of group Elastic in mlearn (Zuo et al. 2020, doi 10.1021/acs.jpca.9b08723), "
    "by benchmarks/crystal_references.py: VASP, PBE; atoms not relaxed in strained Si, displaced at random in Mo",
    "mp": "Materials Project, mp-149 (VASP, PBE), as the tutorials of matcalc print it",
    "ace": "Lysogorskiy et al. 2021, doi 10.1038/s41524-021-00559-9, table 1: FHI-aims, PBE",
    "phono3py": "forces of github.com/phonopy/phono3py example/Si-PBE (VASP, PBE, a = 5.466 Å, 64 atoms), first "
    "displacement, force constants by phonopy 4.10",
    "hopcroft": "Hopcroft, Nix and Kenny 2010, doi 10.1109/JMEMS.2009.2039697: room temperature",
    "crc": "CRC Handbook of Chemistry and Physics, 98th edition, room temperature, as metal_data.py of "
    "github.com/dblaschke-LANL/PyDislocDyn quotes it",
    "nilsson-si": "neutrons, Nilsson and Nelin 1972, doi 10.1103/PhysRevB.6.3777: room temperature; read in a "
    "comparison of another project, not in the paper",
    "woods": "neutrons, Woods and Chen 1964, Solid State Commun. 2, 233: 296 K, ± 0.1 THz; read in a transcription",
    "nilsson-cu": "neutrons, Nilsson and Rolandson 1973, doi 10.1103/PhysRevB.7.2393: 80 K, from their force constants "
    "in github.com/danse-inelastic/vnf bvk_cu_80.py",
}


@dataclass(frozen=True)
class Reference:
    """A value, or the frequencies of all modes, and the key of its source in SOURCES."""

    value: float | tuple[float, ...]
    source: str


# Quantities are named as benchmarks/crystals.py names them: GPa, and THz for phonons.
PBE = {
    "Si": {
        "C11": Reference(153.5, "labels"),
        "C12": Reference(56.6, "labels"),
        "C44 unrelaxed": Reference(99.2, "labels"),
        "shear modulus": Reference(62.4, "mp"),
        "phonons at X": Reference((4.40, 4.40, 12.05, 12.05, 13.42, 13.42), "phono3py"),
        "phonons at L": Reference((3.33, 3.33, 11.13, 12.02, 14.33, 14.33), "phono3py"),
    },
    "Mo": {
        "C11": Reference(480.0, "labels"),
        "C12": Reference(161.0, "labels"),
        "C44": Reference(107.0, "labels"),
    },
    "Cu": {
        "C11": Reference(177.0, "ace"),
        "C12": Reference(132.0, "ace"),
        "C44": Reference(82.0, "ace"),
    },
}
EXPERIMENT = {
    "Si": {
        "C11": Reference(165.7, "hopcroft"),
        "C12": Reference(63.9, "hopcroft"),
        "C44": Reference(79.6, "hopcroft"),
        "phonons at X": Reference((4.49, 4.49, 12.32, 12.32, 13.90, 13.90), "nilsson-si"),
        "phonons at L": Reference((3.43, 3.43, 11.35, 12.60, 14.68, 14.68), "nilsson-si"),
    },
    "Mo": {
        "C11": Reference(463.7, "crc"),
        "C12": Reference(157.8, "crc"),
        "C44": Reference(109.2, "crc"),
        "phonons at H": Reference((5.51, 5.51, 5.51), "woods"),
        "phonons at N": Reference((4.59, 5.75, 8.22), "woods"),
    },
    "Cu": {
        "C11": Reference(168.3, "crc"),
        "C12": Reference(121.2, "crc"),
        "C44": Reference(75.7, "crc"),
        "phonons at X": Reference((5.14, 5.14, 7.32), "nilsson-cu"),
        "phonons at L": Reference((3.39, 3.39, 7.39), "nilsson-cu"),
    },
}


def reference(symbol: str, quantity: str, *, experiment: bool) -> Reference | None:
    """The value to compare a quantity with, or None where no source was found."""
    equation_of_state = dcdft.data[symbol]
    method = "exp" if experiment else "wien2k"
    if quantity == "lattice constant":
        cell = dcdft[symbol]  # cubic, with `len` atoms
        return Reference(float(len(cell) * equation_of_state[f"{method}_volume"]) ** (1 / 3), "delta")
    if quantity == "bulk modulus":
        return Reference(float(equation_of_state[f"{method}_B"]), "delta")
    return (EXPERIMENT if experiment else PBE)[symbol].get(quantity)


def label_elastic_constants(frames: Sequence[Atoms]) -> dict[str, tuple[float, float]]:
    """Elastic constants from the stress labels of frames strained along an axis or sheared, GPa.

    Args:
        frames: strained supercells of one cubic crystal; the commonest edge is taken as the unstrained one.

    Returns:
        For C11, C12 and C44 the mean and half the range of polynomial fits of degree 3, 4 and 5.
    """
    edge = float(np.median([atoms.cell.lengths() for atoms in frames]))
    stretched: list[tuple[float, float, float]] = []
    sheared: list[tuple[float, float]] = []
    for atoms in frames:
        gradient = atoms.cell.array / edge - np.eye(3)
        stress = atoms.get_stress(voigt=False) / GPa
        shears = np.array([gradient[i, j] + gradient[j, i] for i, j in ((1, 2), (0, 2), (0, 1))])
        if np.abs(shears).max() > 1e-4:
            shear = shears[np.abs(shears).argmax()]
            # The sign and size alone: yz and xz are exchanged in these labels.
            sheared.append((shear, float(np.sign(shear) * np.abs(stress[np.triu_indices(3, 1)]).max())))
        else:
            axis = int(np.abs(np.diag(gradient)).argmax())
            others = np.delete(np.diag(stress), axis)
            stretched.append((gradient[axis, axis], stress[axis, axis], float(others.mean())))
    strains, along, across = np.array(stretched).T
    return {
        "C11": slope_at_zero(strains, along),
        "C12": slope_at_zero(strains, across),
        "C44": slope_at_zero(*np.array(sheared).T),
    }


def slope_at_zero(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Slope at x = 0 of polynomials of degree 3, 4 and 5: mean and half the range."""
    slopes = [float(np.polynomial.Polynomial.fit(x, y, degree).deriv()(0.0)) for degree in (3, 4, 5)]
    return float(np.mean(slopes)), (max(slopes) - min(slopes)) / 2


def main() -> None:
    """Print the elastic constants of the labels in the files named on the command line."""
    frames = [atoms for path in sys.argv[1:] for atoms in read(path, ":") if atoms.info.get("group") == "Elastic"]
    sizes = [len(atoms) for atoms in frames]
    frames = [atoms for atoms in frames if len(atoms) == max(sizes)]
    for name, (value, spread) in label_elastic_constants(frames).items():
        print(f"{name} {value:.1f} ± {spread:.1f} GPa, from {len(frames)} frames")


if __name__ == "__main__":
    main()
