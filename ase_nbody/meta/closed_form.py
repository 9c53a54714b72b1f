"""What the closed form needs: errors of all structures as functions of the readouts, made within a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ase_nbody.data import samples
from ase_nbody.meta.design import StructureErrors, blocks_of_errors
from ase_nbody.meta.fitting import Structures, copied
from ase_nbody.potential import Potential


class SlowClosedFormError(ValueError):
    """The closed form takes longer than it may.

    Attributes:
        seconds: that it would take.
        limit: that it may take.
    """

    def __init__(self, seconds: float, limit: float) -> None:
        super().__init__(f"the closed form would take {seconds:.0f} s here, and has {limit:.0f} s of --minutes")
        self.seconds, self.limit = seconds, limit


def with_linear_errors(structures: Structures, start: Potential, limit: float, now: Callable[[], float]) -> Structures:
    """The structures with their errors as functions of a start's readouts, made once for all folds and the last fit.

    Args:
        structures: labelled.
        start: on the CPU, without repulsion.
        limit: time that this may take, seconds.
        now: tells the time, seconds.

    Raises:
        SlowClosedFormError: it would take longer, which shows after two blocks, since the first one compiles.
    """
    exact = replace(start, network=copied(start).network.double())
    prepared = samples(structures.dataset, start.cutoff)
    begun = before = now()
    errors: list[StructureErrors] = []
    blocks = 0
    for block in blocks_of_errors(exact, prepared):
        errors += block
        blocks += 1
        after = now()
        spent = after - begun
        needed = spent + (after - before) * (len(prepared) - len(errors)) / len(block)
        if spent > limit or (blocks > 1 and needed > limit):
            raise SlowClosedFormError(needed, limit)
        before = after
    return replace(structures, linear=errors)
