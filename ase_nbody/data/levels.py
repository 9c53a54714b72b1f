"""The level of theory that frames state, as `nbody label` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ase import Atoms


def stated_level(frames: Sequence[Atoms]) -> tuple[str | None, list[str]]:
    """The level of theory in the info of all frames, such as "GFN2-xTB (tblite 0.4.0)", and notes where they differ.

    Args:
        frames: of a file.

    Returns:
        The level, None where frames do not state one or not the same; and sentences for the user.

    >>> stated_level([Atoms(info={"level_of_theory": "PBE", "program": "pyscf 2.14"}), Atoms()])[0] is None
    True
    """
    levels = Counter(_level(atoms) for atoms in frames)
    if len(levels) == 1:
        return next(iter(levels)), []
    words = [f"{level or 'none stated'} ({count} frames)" for level, count in levels.most_common()]
    return None, [f"the frames are of different levels of theory: {', '.join(words)}; do not learn them as one"]


def _level(atoms: Atoms) -> str | None:
    method, program = (atoms.info.get(key) for key in ("level_of_theory", "program"))
    if not isinstance(method, str):
        return None
    return f"{method} ({program})" if isinstance(program, str) else method
