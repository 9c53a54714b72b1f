"""The import of PySCF, with the linear algebra that the processor allows."""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding as llvm

_KERNELS = "OPENBLAS_CORETYPE"


def pyscf_dft() -> Any:
    """The module `pyscf.dft`.

    PySCF's wheels (2.14) bring OpenBLAS 0.3.3 of 2018, which takes a processor that it does not know for one of 2004.
    While it is loaded it is told to use AVX2, where there is AVX2 and nobody has told it anything else.

    Raises:
        ImportError: PySCF is not installed.
    """
    features = llvm.get_host_cpu_features()
    told = _KERNELS in os.environ or not (features.get("avx2") and features.get("fma"))
    if not told:
        os.environ[_KERNELS] = "Haswell"
    try:
        from pyscf import dft
    finally:
        if not told:
            del os.environ[_KERNELS]
    return dft
