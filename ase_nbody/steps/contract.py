"""Messages: sums over neighbours of radial weight times state times harmonics, the contraction over edges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from typing_extensions import override

from ase_nbody.algebra import ProductTable
from ase_nbody.kernels import contract, edge_code
from ase_nbody.kernels.dual import COTANGENTS, TANGENTS, Contraction
from ase_nbody.steps.atoms import StepAtoms
from ase_nbody.steps.description import RadialStep
from ase_nbody.steps.dual import DualAtoms, DualStep, add_offered
from ase_nbody.steps.radial import ParameterGradients
from ase_nbody.steps.writer import StepWriter


@dataclass(frozen=True)
class Contract(RadialStep):
    """Makes sums over neighbours of R(r) (psi x Y(r)), all paths (Kondor 2018, eq. 10, with learned radial functions).

    Its code runs over all atoms: what it reads must be finished, and its backward pass, over the neighbours, is
    `write_backward_over_senders`.

    Attributes:
        source: state of the neighbours.
        out: state, of which this is the only source.
        table: product of states and harmonics.
        channels: of the source.
        radial: name of the radial weights.
        by_kind: the radial functions depend on the kind of edge; else all edges have those of kind 0.
    """

    source: str
    out: str
    table: ProductTable
    channels: int
    radial: str
    by_kind: bool = True

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    @override
    def keeps(self) -> tuple[str, ...]:
        return (self.source,)

    @override
    def forward(self, atoms: StepAtoms) -> None:
        states = torch.cat(atoms.values[self.source], dim=1)
        weights = atoms.radial_weights(self.radial, by_kind=self.by_kind)
        radial = weights.view(-1, self.table.n_paths, self.channels)
        atoms.add_all(self.out, contract(states, atoms.harmonics, radial, atoms.pairs, self.table))

    @override
    def dual(self, atoms: DualAtoms) -> DualStep:
        return _DualContract(self, atoms)

    @override
    def write_forward(self, w: StepWriter) -> None:
        settings, degree = w.settings(self.channels), w.grid.degree
        function = w.function("messages", self._key, lambda n: edge_code.messages(n, self.table, settings, degree))
        w.require(self.source)
        w.begin(self.out)
        table, rows = f"{self.radial}_table", self._rows
        given = w.phase.wholes("offsets", "ends", "functions", "children", rows=rows, weights=table)
        w.call_on_nodes(function, **given, states=w.whole_blocks(self.source), out=w.whole_blocks(self.out))

    @override
    def write_backward(self, w: StepWriter) -> None:
        """Only zeros where no cotangent came: the rest is done by `write_backward_over_senders`."""
        w.complete(f"d_{self.out}")

    def write_backward_over_senders(self, w: StepWriter) -> None:
        """Write the code that runs over senders and adds to the cotangents of states and of functions of edges."""
        settings, degree = w.settings(self.channels), w.grid.degree
        add, first = w.complete_or_begin(f"d_{self.source}"), w.first_write("d_functions", 0)
        function = w.function(
            "gradients",
            (*self._key, first, add),
            lambda n: edge_code.gradients(n, self.table, settings, degree, first=first, add_to_states=add),
        )
        lists = w.phase.wholes("order", "receivers", "slots", offsets="sender_offsets", rows=self._rows)
        edges = w.phase.wholes("functions", "d_functions", weights=f"{self.radial}_table")
        upstream, d_states = w.whole_blocks(f"d_{self.out}"), w.whole_blocks(f"d_{self.source}")
        states = w.whole_blocks(self.source)
        w.call_on_nodes(function, **lists, **edges, states=states, upstream=upstream, d_states=d_states)

    @property
    def _rows(self) -> str:
        return "rows" if self.by_kind else "shared_rows"

    @property
    def _key(self) -> tuple[ProductTable, int]:
        return self.table, self.channels


@dataclass(frozen=True)
class ContractElements(RadialStep):
    """The same where the neighbours' states are vectors by element, which are then part of the radial weights.

    It comes about when weights are folded, which are not trained: it has no tangents.

    Attributes:
        out: state, of which this is the only source.
        table: product of one invariant and harmonics.
        channels: of the radial weights.
        radial: name of the radial weights.
    """

    out: str
    table: ProductTable
    channels: int
    radial: str
    by_kind = True

    @property
    @override
    def reads(self) -> tuple[str, ...]:
        return ()

    @override
    def forward(self, atoms: StepAtoms) -> None:
        weights = atoms.radial_weights(self.radial, by_kind=True)
        radial = weights.view(-1, self.table.n_paths, self.channels)
        ones = radial.new_ones(len(atoms.types), 1, self.channels)
        atoms.add_all(self.out, contract(ones, atoms.harmonics, radial, atoms.pairs, self.table))

    @override
    def write_forward(self, w: StepWriter) -> None:
        settings, degree = w.settings(self.channels), w.grid.degree
        function = w.function(
            "scalar_messages", self._key, lambda n: edge_code.scalar_messages(n, self.table, settings, degree)
        )
        w.begin(self.out)
        given = w.phase.wholes("offsets", "ends", "rows", "functions", weights=f"{self.radial}_table")
        w.call_on_nodes(function, **given, out=w.whole_blocks(self.out))

    @override
    def write_backward(self, w: StepWriter) -> None:
        settings, degree = w.settings(self.channels), w.grid.degree
        w.complete(f"d_{self.out}")
        first = w.first_write("d_functions", 0)
        function = w.function(
            "scalar_gradients",
            (*self._key, first),
            lambda n: edge_code.scalar_gradients(n, self.table, settings, degree, first=first),
        )
        given = w.phase.wholes("offsets", "ends", "rows", "functions", "d_functions", weights=f"{self.radial}_table")
        w.call_on_nodes(function, **given, upstream=w.whole_blocks(f"d_{self.out}"))

    @property
    def _key(self) -> tuple[ProductTable, int]:
        return self.table, self.channels


class _DualContract(DualStep):
    """`Contract` with tangents."""

    def __init__(self, step: Contract, atoms: DualAtoms) -> None:
        self.step, self.atoms = step, atoms
        self.radial = atoms.radial(step.radial, by_kind=step.by_kind)
        states, harmonics = atoms.states.complete(step.source), atoms.directions.harmonics
        self.contraction = Contraction(atoms.batch(step.channels), step.table, states, harmonics, self.radial.rows)
        self.offered = atoms.states.offer(step.out, self.contraction.summed)

    @override
    def forward(self, part: int) -> None:
        if part == TANGENTS:
            self.radial.jvp()
        self.contraction.forward(part)
        add_offered(self.offered, part)

    @override
    def begin_backward(self) -> None:
        gradients = self.atoms.gradients
        self.upstream = gradients.complete(self.step.out)
        self.d_offered = gradients.offer(self.step.source, self.contraction.d_states)

    @override
    def backward(self, part: int) -> None:
        if part == COTANGENTS:
            d_harmonics = self.contraction.vjp(self.upstream, self.radial.cotangents)
            self.atoms.d_harmonics = self.atoms.d_harmonics + d_harmonics
            self.radial.vjp()
        else:
            self.t_cotangents = self.atoms.scratch(*self.radial.cotangents.shape)
            self.contraction.vjp_tangents(self.upstream, self.t_cotangents)
        add_offered(self.d_offered, part)

    @override
    def accumulate_gradients(self, gradients: ParameterGradients) -> None:
        self.radial.accumulate_gradients(self.t_cotangents, gradients)
