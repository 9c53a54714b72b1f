"""The phases of an N-body network's evaluation, energies and gradients, as one compiled program.

Level by level upwards, each phase over blocks of nodes: messages, mixing, products, states. The last level goes up and
straight down again; then, level by level downwards, gradients by senders and the way back through the nodes.
What is linear is folded together beforehand: at the first level the states of the atoms and the mixing of their
messages become part of the radial weights, at the last level mixing and readout become one vector per element.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from ase_nbody.architectures.nbody_arrays import program_arrays
from ase_nbody.architectures.nbody_code import LevelCode, LevelWriter
from ase_nbody.kernels import geometry_code
from ase_nbody.kernels.geometry_code import EdgeRow
from ase_nbody.kernels.kernel_settings import KernelSettings
from ase_nbody.kernels.phases import Module
from ase_nbody.kernels.programs import Program
from ase_nbody.kernels.splines import Grid
from ase_nbody.math.harmonics import harmonic_steps


@cache
def program(
    levels: tuple[LevelCode, ...], settings: KernelSettings, grid: Grid, max_degree: int, n_types: int
) -> Program:
    """Compiled phases of a network: level_1_up, ..., level_2_up_and_down, level_2_senders, level_1_down, ..., forces.

    Args:
        levels: from the first to the last.
        settings: dtype, channels and vectors.
        grid: of the splines.
        max_degree: highest degree of the harmonics.
        n_types: elements of the network.
    """
    steps = [s.numpy() for s in harmonic_steps(max_degree, torch.float64, torch.device("cpu"))]
    row = EdgeRow((max_degree + 1) ** 2, grid.degree)
    module = Module(settings, program_arrays(levels, settings.channels, row))
    for level in levels:
        with module.phase(f"level_{level.number + 1}_up{'_and_down' if level.last else ''}") as w:
            writer = LevelWriter(level, w, grid)
            if level.number == 0:
                writer.geometry(steps, n_types)
            writer.up()
            if level.last:
                _down(writer, steps, first=True)
    for above, level in zip(levels[:0:-1], levels[-2::-1], strict=True):
        with module.phase(f"level_{above.number + 1}_senders") as w:
            LevelWriter(above, w, grid).senders(first=above.last)
        with module.phase(f"level_{level.number + 1}_down") as w:
            _down(LevelWriter(level, w, grid), steps, first=False)
    with module.phase("forces") as w:
        function = module.function("sender_gradients", 0, lambda n: geometry_code.sender_gradients(n, settings))
        offsets = w.wholes(offsets="sender_offsets")
        w.call(function, w.first, w.last, **offsets, **w.wholes("order", "slots", "d_vectors", "d_positions"))
    return Program(module)


def _down(writer: LevelWriter, steps: Sequence[NDArray[np.float64]], *, first: bool) -> None:
    d_factor = writer.down()
    if writer.number == 0:
        writer.edges_back(d_factor, steps, first=first)
    else:
        writer.messages_back(d_factor)
