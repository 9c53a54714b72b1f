"""Weights of a network as the phases of its compiled program take them: folded, and with radial tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from ase_nbody.architectures.stepped import SteppedNetwork
from ase_nbody.compiler.kernel_settings import KernelSettings
from ase_nbody.compiler.machine_code import vector_bytes
from ase_nbody.compiler.programs import Program
from ase_nbody.math.splines import Grid, fitted_grid, interpolate
from ase_nbody.steps.folding import folded, folded_with_features
from ase_nbody.steps.program import program
from ase_nbody.steps.weights import StepWeights

TABLES = {torch.float32: (3, 1e-6), torch.float64: (7, 2e-11)}
"""Degree of the splines, and their largest error relative to the largest value."""

_KINDS_AT_ONCE = 64  # bounds the memory of models of many elements


class Versions:
    """What the parameters and buffers of a module were at one time.

    Args:
        module: whose submodules stay the same.
    """

    def __init__(self, module: nn.Module) -> None:
        self._tables = [table for m in module.modules() for table in (m._parameters, m._buffers) if table]
        self._seen = self._now()

    def unchanged(self) -> bool:
        """Whether none has been changed in place, moved or replaced since."""
        return self._now() == self._seen

    def _now(self) -> list[tuple[int, int]]:
        tensors = [t for table in self._tables for t in table.values() if t is not None]
        return [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tensors]


@dataclass(frozen=True)
class Loaded:
    """What the phases need of a network with its present weights, for some of its elements.

    Attributes:
        parameters: of which weights and tables were made.
        types: numbers of the elements that the tables hold.
        program: compiled phases.
        arrays: weights, vectors by element, radial tables and the first row of each pair of types.
        kinds: of edges between these elements.
    """

    parameters: Versions
    types: frozenset[int]
    program: Program
    arrays: dict[str, Tensor]
    kinds: int


def load(network: SteppedNetwork, present: frozenset[int], *, features: bool = False) -> Loaded:
    """Folded weights and tables for pairs of the elements that are present.

    Args:
        network: with a description.
        present: numbers of the elements.
        features: let the program hand out what energies are read out of too.
    """
    dtype, described = next(network.parameters()).dtype, network.description()
    assert described is not None
    rewritten = folded_with_features if features else folded
    description, weights = rewritten(described, network.step_weights(present))
    accuracy = description.single_tables if dtype == torch.float32 else None
    cutoff, power = network.settings.cutoff, description.power
    grid = table_grid(weights, cutoff, dtype, description.breaks, accuracy, power)
    settings = KernelSettings(torch.finfo(dtype).bits, 1, blocked=True, vector_bytes=vector_bytes())
    compiled = program(description, settings, grid)
    kinds, starts = first_rows(weights, description.n_types, present, grid)
    arrays = {"tables": starts} | weight_arrays(compiled, weights, dtype)
    tables = Tables(weights, grid)
    for name, by_kind in description.radial_by_kind.items():
        arrays[f"{name}_table"] = tables.of(name, kinds if by_kind else [0]).flatten(0, 1)
    arrays = {name: a if a.dtype == torch.int64 else a.to(dtype).contiguous() for name, a in arrays.items()}
    compiled.check(arrays, "weights", {"types": description.n_types, "type pairs": description.n_types**2})
    return Loaded(Versions(network), present, compiled, arrays, len(kinds))


def weight_arrays(compiled: Program, weights: StepWeights, dtype: torch.dtype) -> dict[str, Tensor]:
    """What phases take of folded weights, but for tables: mixing matrices, and vectors by element."""
    arrays = {f"{name}_vectors": vectors for name, vectors in weights.vectors.items()}
    arrays["weights"] = compiled.weights(_both_ways(weights))
    return {name: array.to(dtype).contiguous() for name, array in arrays.items()}


def table_grid(
    weights: StepWeights,
    cutoff: float,
    dtype: torch.dtype,
    breaks: Sequence[float] = (),
    accuracy: tuple[int, float] | None = None,
    power: Literal[1, 2] = 1,
) -> Grid:
    """A grid fine enough for all kinds of edges, so that results do not depend on which have been met.

    Args:
        weights: of steps.
        cutoff: angstrom.
        dtype: of the tables.
        breaks: see `Description`.
        accuracy: degree and largest error where a network wants others than those of the dtype.
        power: of the grid.
    """
    kinds = sorted(set(weights.kind_of_pair.tolist()))
    different = {id(radial.hidden): radial for radial in weights.radial.values()}
    functions = [
        radial.functions(chunk, len(breaks) + 1)
        for radial in different.values()
        for chunk in _chunks(kinds[:1] if radial.same_hidden else radial.sampled or kinds)
    ]
    degree, tolerance = accuracy or TABLES[dtype]
    return fitted_grid(functions, cutoff, degree=degree, tolerance=tolerance, breaks=breaks, power=power)


def _chunks(kinds: Sequence[int]) -> list[list[int]]:
    return [list(kinds[start : start + _KINDS_AT_ONCE]) for start in range(0, len(kinds), _KINDS_AT_ONCE)]


class Tables:
    """Coefficients of the radial weights of a network.

    Args:
        weights: of its steps.
        grid: of the splines.
    """

    def __init__(self, weights: StepWeights, grid: Grid) -> None:
        self._weights, self._grid = weights, grid
        self._hidden: dict[tuple[int, ...], Tensor] = {}  # contractions of one layer share their hidden layers

    def of(self, name: str, kinds: list[int]) -> Tensor:
        """Of some kinds of edges, (kinds, rows, paths C)."""
        radial = self._weights.radial[name]
        hidden = kinds[:1] if radial.same_hidden else kinds
        key = (id(radial.hidden), *hidden)
        if key not in self._hidden:
            functions = radial.functions(hidden, len(self._grid.breaks) + 1)
            splines = torch.from_numpy(interpolate(functions, self._grid))
            self._hidden[key] = splines.view(self._grid.rows, len(hidden), -1).transpose(0, 1)  # (1 or kinds, rows, H)
        return torch.matmul(self._hidden[key], radial.last(kinds).double())


def first_rows(weights: StepWeights, n_types: int, present: frozenset[int], grid: Grid) -> tuple[list[int], Tensor]:
    """Kinds of edges between these elements, and the first table row of each pair of elements, -1 where it has none."""
    pairs = [a * n_types + b for a in sorted(present) for b in sorted(present)]
    kind_of_pair = weights.kind_of_pair[pairs].tolist()
    kinds = sorted(set(kind_of_pair))
    starts = torch.full((n_types**2,), -1)
    starts[pairs] = torch.tensor([kinds.index(kind) * grid.rows for kind in kind_of_pair])
    return kinds, starts


def _both_ways(weights: StepWeights) -> dict[str, Tensor]:
    """Mixing matrices and their transposes by the names that steps use."""
    back = {f"back_{name}": matrix.transpose(-2, -1) for name, matrix in weights.matrices.items()}
    return weights.matrices | back
