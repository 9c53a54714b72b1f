"""The level of theory that frames state, as `nbody label` writes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ase import Atoms

from ase_nbody.data.dataset import Dataset


def stated_levels(frames: Sequence[Atoms]) -> Counter[str | None]:
    """Levels of theory in the info of frames, such as "GFN2-xTB (tblite 0.4.0)", and how many state each.

    Args:
        frames: of a file; those that state none count as None.

    Example:
        >>> stated_levels([Atoms(info={"level_of_theory": "PBE", "program": "pyscf 2.14"}), Atoms()])
        Counter({'PBE (pyscf 2.14)': 1, None: 1})
    """
    return Counter(_level(atoms) for atoms in frames)


def level_notes(levels: Counter[str | None]) -> list[str]:
    """A sentence for the user where frames do not state the same level of theory."""
    if len(levels) == 1:
        return []
    words = [f"{level or 'none stated'} ({count} frames)" for level, count in levels.most_common()]
    return [f"the frames are of different levels of theory: {', '.join(words)}; do not learn them as one"]


def check_one_level(dataset: Dataset, level: str | None) -> None:
    """Refuse labels of several levels of theory, unless the user says which one all of them are.

    Args:
        dataset: labels that are learnt as one.
        level: what the user says.

    Raises:
        ValueError: frames state several.
    """
    if level is None and len(dataset.stated_levels) > 1:
        raise ValueError(
            f"{dataset.source} has labels of several levels of theory, {', '.join(dataset.stated_levels)}, and a model "
            "is adapted to one: leave out those of the others, or name the level where all are of one in spite of that"
        )


def _level(atoms: Atoms) -> str | None:
    method, program = (atoms.info.get(key) for key in ("level_of_theory", "program"))
    if not isinstance(method, str):
        return None
    return f"{method} ({program})" if isinstance(program, str) else method
