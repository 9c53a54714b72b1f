"""The gate nonlinearity of NequIP (Batzner et al. 2022, arXiv:2101.03164): functions of invariants, and gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from ase_nbody.compiler.activations import ActivationName
from ase_nbody.compiler.values import ScalarPointer
from ase_nbody.kernels import gate_code
from ase_nbody.kernels.dual_gates import DualGates
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import Step
from ase_nbody.steps.dual import DualAtoms, DualStep, add_offered
from ase_nbody.steps.radial import ParameterGradients
from ase_nbody.steps.writer import StepWriter


class ActivationFunction(NamedTuple):
    """A function of numbers times a factor."""

    name: ActivationName
    gain: float


_FUNCTIONS: dict[ActivationName, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "tanh": torch.tanh,
    "mish": functional.mish,
    "sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class Activate(Step):
    """Makes f(x) of the blocks of degree zero, and f(g) x of the others, each channel with its own gate g.

    Attributes:
        source: state.
        gates: state of one invariant block, the gates of all blocks of higher degree; "" where there is none.
        out: state of the source's irreps, of which this is the only source.
        functions: of each block of the source.
    """

    source: str
    gates: str
    out: str
    functions: tuple[ActivationFunction, ...]

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source, self.gates) if self.gates else (self.source,)

    @property
    @override
    def keeps(self) -> tuple[str, ...]:
        return self.reads

    @override
    def forward(self, atoms: StepAtoms) -> None:
        first = 0
        for number, (block, (name, gain)) in enumerate(zip(atoms.values[self.source], self.functions, strict=True)):
            columns = block.shape[2]
            if block.shape[1] == 1:
                out = _FUNCTIONS[name](block) * gain
            else:
                gates = atoms.values[self.gates][0][:, :, first : first + columns]
                out, first = block * _FUNCTIONS[name](gates) * gain, first + columns
            atoms.add(self.out, number, out)

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualActivate(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        blocks = w.irreps(self.source)
        function = w.function(
            "gates", (blocks, self.functions), lambda n: gate_code.gates(n, w.settings(1), blocks, self.functions)
        )
        for name in self.reads:
            w.complete(name)
        w.begin(self.out)
        w.call(function, **self._given(w), out=w.blocks(self.out))

    @override
    def write_backward(self, w: StepWriter) -> None:
        blocks = w.irreps(self.source)
        key = (blocks, self.functions)
        function = w.function(
            "gate_gradients", key, lambda n: gate_code.gate_gradients(n, w.settings(1), blocks, self.functions)
        )
        w.complete(f"d_{self.out}")
        for name in self.reads:
            w.begin(f"d_{name}")
        results = {"d_rows": w.blocks(f"d_{self.source}")}
        if self.gates:
            results["d_gates"] = w.blocks(f"d_{self.gates}")
        w.call(function, **self._given(w), upstream=w.blocks(f"d_{self.out}"), **results)

    def _given(self, w: StepWriter) -> dict[str, list[ScalarPointer]]:
        given = {"rows": w.blocks(self.source)}
        return given | {"gates": w.blocks(self.gates)} if self.gates else given


class _DualActivate(DualStep):
    """`Activate` with tangents."""

    def __init__(self, step: Activate, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        rows = atoms.states.complete(step.source)
        gates = atoms.states.complete(step.gates) if step.gates else None
        self.function = DualGates(atoms.states.irreps_of[step.source], step.functions, rows, gates, rows.like())
        self.offered = atoms.states.offer(step.out, self.function.out)

    @override
    def forward(self, part: int) -> None:
        self.function.forward(part)
        add_offered(self.offered, part)

    @override
    def begin_backward(self) -> None:
        gradients = self.atoms.gradients
        self.upstream = gradients.complete(self.step.out)
        self.d_offered = gradients.offer(self.step.source, self.function.d_rows)
        if self.function.d_gates is not None:
            self.d_offered += gradients.offer(self.step.gates, self.function.d_gates)

    @override
    def backward(self, part: int) -> None:
        self.function.backward(part, self.upstream)
        add_offered(self.d_offered, part)

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        """None: it has no weights."""
