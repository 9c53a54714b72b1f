"""The arrays of an N-body network's compiled evaluation, each declared once."""

from __future__ import annotations

from collections.abc import Sequence

from ase_nbody.architectures.nbody_code import LevelCode, components, components_of
from ase_nbody.kernels.arrays import index_arrays, number_array, state_arrays
from ase_nbody.kernels.geometry_code import EdgeRow
from ase_nbody.kernels.signature import Array


def program_arrays(levels: Sequence[LevelCode], channels: int, row: EdgeRow) -> list[Array]:
    """All arrays of a program.

    Args:
        levels: from the first to the last.
        channels: of states and radial weights.
        row: of what is known about an edge.
    """
    arrays = [*_of_graph(several_levels=len(levels) > 1), *_of_edges(row)]
    mixes = len(levels) > 1 or levels[0].triples is not None  # other mixing is folded into tables and vectors
    arrays += [number_array("weights", "matrix rows", 1, "weights")] * mixes
    for level in levels:
        arrays += _of_level(level, channels)
    arrays += [number_array("energies", "nodes", 1, "sum"), number_array("d_positions", "nodes", 3, "result")]
    return [*arrays, number_array("d_strains", "nodes", 9, "result")]


def _of_graph(*, several_levels: bool) -> list[Array]:
    positions = [number_array("positions", "nodes", 3, "graph"), number_array("cells", "structures", 9, "graph")]
    nodes = [*index_arrays("structure types", "nodes", "graph"), number_array("shifts", "edges", 3, "graph")]
    receivers = "receivers" if several_levels else ""
    edges = index_arrays(f"senders order {receivers}", "edges", "graph")
    return [*positions, *nodes, *edges, *index_arrays("offsets sender_offsets", "node bounds", "graph")]


def _of_edges(row: EdgeRow) -> list[Array]:
    """What geometry keeps of the edges within the cutoff, and gradients by it."""
    kept = [*index_arrays("ends", "nodes", "workspace"), *index_arrays("slots children rows", "edges", "workspace")]
    gradients = number_array("d_functions", "edges", row.harmonics + 1, "workspace")
    vectors = number_array("d_vectors", "edges", 3, "workspace")
    tables = index_arrays("tables", "type pairs", "weights")
    return [*tables, *kept, number_array("functions", "edges", row.length, "workspace"), gradients, vectors]


def _of_level(level: LevelCode, channels: int) -> list[Array]:
    """Radial tables, vectors by element and states of one level."""
    number, table = level.number, level.messages
    arrays = [number_array(f"table{number}", "table rows", table.n_paths * channels, "weights")]
    vectors = _folded_readouts(level) if level.last else {"readout": 1, "own_scale" if number else "own": 1}
    for name, n_paths in vectors.items():
        arrays.append(number_array(f"{name}{number}_vectors", "types", n_paths * channels, "weights"))
    for name, sizes in _states(level).items():
        arrays += state_arrays(f"{name}{number}_", [size * channels for size in sizes])
    return arrays


def _folded_readouts(level: LevelCode) -> dict[str, int]:
    """Sources of the energies of the last level, and their scalar paths."""
    tables = {"mix_pairs": level.pairs, "mix_triples": level.triples}
    paths = {name: table.output_multiplicities[0] for name, table in tables.items() if table is not None}
    return {"linear": 1, **paths}


def _states(level: LevelCode) -> dict[str, list[int]]:
    """Components of what phases hand to each other."""
    states = {} if level.number == 0 else {"upstream": components_of(level.messages)}
    if not level.last:
        states |= {name: components(level.irreps_out) for name in ("states", "d_states")}
        states["factor"] = components(level.factor_irreps)
        if level.triples is not None:
            states["pair_factor"] = components(level.triples.first_irreps)
    return states
