"""States of subsystems: what a composition scheme has at each of its levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ase.calculators.calculator import PropertyNotImplementedError

from ase_nbody.graph import Graph
from ase_nbody.potential import Potential


def states(potential: Potential, graph: Graph) -> Any:
    """The covariant states of all subsystems, level by level, from the atoms to the whole.

    Raises:
        PropertyNotImplementedError: the architecture has no composition scheme.
    """
    of_graph: Callable[[Graph], Any] | None = getattr(potential.network, "states", None)
    if of_graph is None:
        raise PropertyNotImplementedError(
            f"{type(potential.network).__name__} has no composition scheme, hence no states; use nbody"
        )
    return of_graph(graph)
