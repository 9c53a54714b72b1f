"""NEP by calorine or nep-adapters, both built on NEP_CPU, with random weights: time only.

The network has the sizes that GPUMD takes by default, with one cutoff of 5 angstrom. Training one needs GPUMD, a GPU
program that is not in the package registry.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator

HEADER = """nep4 1 {symbol}
cutoff 5 5 200 200
n_max 4 4
basis_size 8 8
l_max 4 2 0
ANN 30 0
"""
DESCRIPTORS = 5 + 5 * 5  # radial ones, and angular ones of degrees 1 to 4 and of four bodies
PARAMETERS = (DESCRIPTORS + 2) * 30 + 1 + 2 * 5 * 9  # of the network and of the radial functions


def calculator(kind: str, symbol: str, folder: str, dtype: str) -> Calculator:
    """The calculator of the package "calorine" or "adapters"; NEP_CPU computes in float64."""
    assert dtype == "float64"
    file = Path(tempfile.mkdtemp(), "nep.txt")
    weights = np.random.default_rng(0).normal(0, 0.1, PARAMETERS)
    lines = [*weights, *np.ones(DESCRIPTORS)]
    file.write_text(HEADER.format(symbol=symbol) + "".join(f"{value:.7e}\n" for value in lines))
    if kind == "calorine":
        from calorine.calculators import CPUNEP

        return CPUNEP(str(file))
    from nep_adapters.ase import NepAseCalculator

    return NepAseCalculator(str(file))
