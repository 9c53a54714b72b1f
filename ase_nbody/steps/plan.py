"""Where a list of steps is cut into phases, and which states must outlast one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ase_nbody.steps.contract import Contract, ContractElements
from ase_nbody.steps.description import Description, Step


def segments(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps in segments, within which no contraction reads what is made: it needs its neighbours' states finished.

    Raises:
        ValueError: the first step is not a contraction of elements' vectors: fold the description first.
    """
    if not steps or not isinstance(steps[0], ContractElements):
        came = steps[0] if steps else "nothing"
        raise ValueError(f"a program begins with a contraction of elements, not with {came}")
    pieces: list[list[Step]] = [[]]
    made: set[str] = set()
    for step in steps:
        if isinstance(step, Contract) and step.source in made:
            pieces.append([])
            made = set()
        pieces[-1].append(step)
        made.add(step.out)
    return pieces


def kept_states(description: Description) -> frozenset[str]:
    """States and cotangents ("d_" before the name) that more than one phase uses.

    The last segment goes forward and backward in one phase; the others have a phase for each pass, and contractions of
    states one more in the backward pass.
    """
    pieces = segments(description.steps)
    uses: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for number, segment in enumerate(pieces):
        last = number == len(pieces) - 1
        forward, backward = ("forward", number), ("forward" if last else "backward", number)
        for step in segment:
            back = ("senders", number) if isinstance(step, Contract) else backward
            for name in (*step.reads, *[step.out] * bool(step.out)):
                uses[name].add(forward)
                uses[f"d_{name}"].add(back)
            for name in step.keeps:
                uses[name].add(back)
    return frozenset(name for name, phases in uses.items() if len(phases) > 1)


def later_sources(pieces: Sequence[Sequence[Step]]) -> set[str]:
    """States that contractions of these segments read."""
    return {step.source for segment in pieces for step in segment if isinstance(step, Contract)}
