"""Machine code of functions that are written as LLVM code, made by llvmlite, the compiler under numba.

It takes well under a second, so nothing is cached on disk.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import llvmlite.binding as llvm

_compiling = Lock()
_engines: list[Any] = []  # own the machine code for as long as the process lives


def compiled(text: str, names: Sequence[str], n_pointers: int) -> dict[str, Callable[..., None]]:
    """Machine code of some functions of an LLVM module, all of the arguments begin, end and so many pointers."""
    with _compiling:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=2, jit=True
        )
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), target)
        engine.finalize_object()
        _engines.append(engine)
    signature = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, *[ctypes.c_void_p] * n_pointers)
    return {name: signature(engine.get_function_address(name)) for name in names}


def vector_bytes() -> int:
    """Width of this machine's vector registers."""
    features = llvm.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16
