"""KernelSettings: the numbers that a kernel is written out for."""

from __future__ import annotations

from dataclasses import dataclass

VECTOR_BYTES = 64


@dataclass(frozen=True)
class KernelSettings:
    """Numbers that a kernel is written out for.

    Attributes:
        bits: 32 or 64, of the floating-point type.
        channels: of states and radial weights.
        blocked: states come as one array (N, components, C) per irrep instead of one for all.
        vector_bytes: of a machine's vector registers.
    """

    bits: int
    channels: int
    blocked: bool = False
    vector_bytes: int = VECTOR_BYTES

    @property
    def scalar(self) -> str:
        """LLVM's name of the floating-point type."""
        return "float" if self.bits == 32 else "double"

    @property
    def width(self) -> int:
        """Channels in one vector: the largest power of two that divides the channels and fits a register."""
        width = self.vector_bytes * 8 // self.bits
        while self.channels % width:
            width //= 2
        return width

    @property
    def registers(self) -> int:
        """Vector registers: 32 with AVX-512 and on ARM, 16 with AVX2."""
        return 16 if self.vector_bytes == 32 else 32

    @property
    def vector(self) -> str:
        """LLVM's name of the vector type."""
        return f"<{self.width} x {self.scalar}>"

    @property
    def reduction(self) -> str:
        """LLVM's name of the sum over a vector."""
        return f"llvm.vector.reduce.fadd.v{self.width}f{self.bits}"
