"""The import of PySCF, with the linear algebra that the processor allows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.binding as llvm

_KERNELS = "OPENBLAS_CORETYPE"


def pyscf_dft() -> Any:
    """The module `pyscf.dft`.

    Raises:
        ImportError: PySCF is not installed.
    """
    with _kernels_of_the_processor():
        from pyscf import dft
    return dft


@contextmanager
def _kernels_of_the_processor() -> Iterator[None]:
    """Tells OpenBLAS, while it is loaded, to use AVX2 where there is AVX2 and nobody said anything else.

    PySCF's wheels (2.14) bring OpenBLAS 0.3.3 of 2018, which takes a processor that it does not know for one of 2004:
    products of matrices are then half as fast (20 and 45 GFLOP/s on an Intel Xeon of 2023).
    """
    features = llvm.get_host_cpu_features()
    if "pyscf.lib" in sys.modules or _KERNELS in os.environ or not (features.get("avx2") and features.get("fma")):
        yield
        return
    os.environ[_KERNELS] = "Haswell"
    try:
        yield
    finally:
        del os.environ[_KERNELS]
