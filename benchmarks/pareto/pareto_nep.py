"""NEP by calorine or nep-adapters, both built on NEP_CPU, with random weights: time only.

The network has the sizes that GPUMD takes by default, with one cutoff of 5 angstrom. Training one needs GPUMD, a GPU
program that is not in the package registry.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator
from systems import SYSTEMS, Folders

HEADER = """nep4 {types} {symbols}
cutoff 5 5 200 200
n_max 4 4
basis_size 8 8
l_max 4 2 0
ANN 30 0
"""
DESCRIPTORS = 5 + 5 * 5  # radial ones, and angular ones of degrees 1 to 4 and of four bodies


def parameters(types: int) -> int:
    """How many the networks of all elements and the radial functions of all pairs have."""
    return types * (DESCRIPTORS + 2) * 30 + 1 + types**2 * 2 * 5 * 9


def calculator(kind: str, name: str, folders: Folders, dtype: str) -> Calculator:
    """The calculator of the package "calorine" or "adapters"; NEP_CPU computes in float64."""
    assert dtype == "float64"
    file, elements = Path(tempfile.mkdtemp(), "nep.txt"), SYSTEMS[name].elements
    weights = np.random.default_rng(0).normal(0, 0.1, parameters(len(elements)))
    header = HEADER.format(types=len(elements), symbols=" ".join(elements))
    file.write_text(header + "".join(f"{value:.7e}\n" for value in [*weights, *np.ones(DESCRIPTORS)]))
    if kind == "calorine":
        from calorine.calculators import CPUNEP

        return CPUNEP(str(file))
    from nep_adapters.ase import NepAseCalculator

    return NepAseCalculator(str(file))
