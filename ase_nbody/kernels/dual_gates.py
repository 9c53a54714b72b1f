"""Gate nonlinearities of rows with tangents, and the gradients of scalars of both, on the CPU; see `dual`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from torch import Tensor

from ase_nbody.algebra.irreps import Irrep
from ase_nbody.algebra.tables import ProductTable, product_table
from ase_nbody.compiler import cpu
from ase_nbody.compiler.activations import ActivationName
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.llvm_writer import Builder
from ase_nbody.kernels import dual_gate_code, gate_code
from ase_nbody.kernels.dual import COTANGENT_TANGENTS, COTANGENTS, TANGENTS, VALUES, Dual
from ase_nbody.kernels.gate_code import GatedBlock

_SCALAR = (Irrep(0, 1),)
NO_PRODUCT = product_table(_SCALAR, _SCALAR, _SCALAR)
"""What kernels without a product are written for."""

_Blocks = tuple[GatedBlock, ...]
_Functions = tuple[tuple[ActivationName, float], ...]
_OPERATIONS = 40.0  # about as many for each number


class DualGates:
    """f(x) of blocks of degree zero and f(g) x of the others; see `gate_code.gates`.

    Args:
        blocks: of the state.
        functions: name and factor of each.
        rows: state, (2, n (2l + 1), columns) for each block.
        gates: (2, n, columns of all gated blocks); None where no block has gates.
        out: where to write the results.
    """

    def __init__(self, blocks: _Blocks, functions: _Functions, rows: Dual, gates: Dual | None, out: Dual) -> None:
        self._key = blocks, functions
        self.rows, self.gates, self.out = rows, gates, out
        self.d_rows, self.d_gates = rows.like(), None if gates is None else gates.like()

    def forward(self, part: int) -> None:
        """Make values or tangents of `out`."""
        if part == VALUES:
            self._run(gate_code.gates, {**self._given(""), "out": self.out.parts[VALUES]})
        else:
            given = {**self._given(""), **self._given("t_")}
            self._run(dual_gate_code.gate_tangents, {**given, "out": self.out.parts[TANGENTS]})

    def backward(self, part: int, upstream: Dual) -> None:
        """Make cotangents, or their tangents, of `d_rows` and `d_gates` from those of `out`."""
        given = {**self._given(""), "upstream": upstream.parts[COTANGENTS], "d_rows": self.d_rows.parts[part]}
        if self.d_gates is not None:
            given["d_gates"] = self.d_gates.parts[part]
        if part == COTANGENTS:
            self._run(gate_code.gate_gradients, given)
        else:
            tangents = {**self._given("t_"), "t_upstream": upstream.parts[COTANGENT_TANGENTS]}
            self._run(dual_gate_code.gate_gradient_tangents, {**given, **tangents})

    def _given(self, prefix: str) -> dict[str, list[Tensor]]:
        part = TANGENTS if prefix else VALUES
        given = {f"{prefix}rows": self.rows.parts[part]}
        return given if self.gates is None else given | {f"{prefix}gates": self.gates.parts[part]}

    def _run(self, write: Callable[..., Builder], arguments: dict[str, list[Tensor]]) -> None:
        first, block = self.rows.parts[VALUES][0], self._key[0][0]
        nodes = cpu.Nodes(0, len(first) // block.irrep.dimension)
        work = _OPERATIONS * sum(row.numel() for row in self.rows.parts[VALUES])
        cpu.run(_code(write, *self._key), NO_PRODUCT, nodes, work, first.new_empty(0, 0, 1), arguments, blocked=True)


@cache
def _code(write: Callable[..., Builder], blocks: _Blocks, functions: _Functions) -> cpu.Code:
    def written(table: ProductTable, settings: KernelSettings) -> Builder:
        return write(write.__name__, settings, blocks, functions)

    return written
