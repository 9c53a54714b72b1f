"""Choose structures for expensive labels: small ones on which the cheap teachers disagree, and some at random.

    python data/organic/choose.py --ani cheap/molecules-ani-1x.xyz --xtb cheap/molecules-xtb.xyz --number 5000 \
        --output chosen.xyz

The disagreement of a structure is the larger of two numbers: how far ANI's eight networks spread, and half of what
ANI-1x and GFN2-xTB differ by, on the force on its worst atom. Structures are taken in turn from all molecules, and of a
molecule from all kinds of structures, so that no molecule and no kind fills the list. Structures that ANI does not
label (radicals), or xTB does not, are among the random ones.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread, write

KEPT = ("name", "family", "sampled_by", "seed", "charge", "multiplicity")  # of the info
SMALL, LARGEST = 5, 7  # heavy atoms
SHARE_LARGER = 0.15  # of the chosen ones, with more than SMALL
SHARE_RANDOM = 0.2
STRAINED = 30.0  # eV/angstrom: a larger force on an atom is of a structure that no simulation meets


@dataclass(frozen=True)
class Candidate:
    """A structure and how much the cheap teachers disagree on it, eV/angstrom; None where one has no label."""

    atoms: Atoms
    disagreement: float | None


def candidates(ani: Iterable[Atoms], xtb: Iterable[Atoms]) -> Iterator[Candidate]:
    """Structures of at most LARGEST heavy atoms that one of the teachers labelled."""
    by_ani = {key(atoms): atoms for atoms in ani}
    for atoms in xtb:
        other = by_ani.pop(key(atoms), None)
        if is_wanted(atoms):
            yield Candidate(atoms, None if other is None else disagreement(other, atoms))
    for atoms in by_ani.values():
        if is_wanted(atoms):
            yield Candidate(atoms, None)


def key(atoms: Atoms) -> tuple[str, bytes]:
    """What is the same for a structure in both files."""
    return atoms.get_chemical_formula(mode="reduce"), np.round(atoms.positions, 5).tobytes()


def is_wanted(atoms: Atoms) -> bool:
    """Whether a structure is small, and not hopelessly strained."""
    return heavy_atoms(atoms) <= LARGEST and np.linalg.norm(atoms.get_forces(), axis=1).max() <= STRAINED


def heavy_atoms(atoms: Atoms) -> int:
    """Number of atoms that are not hydrogen."""
    return int((atoms.numbers > 1).sum())


def disagreement(ani: Atoms, xtb: Atoms) -> float:
    """Of the teachers on the force on the worst atom, eV/angstrom.

    Args:
        ani: with labels and the spread of the committee, (N,).
        xtb: the same structure with labels.
    """
    spread = ani.arrays["forces_spread"].max()
    # GFN2 is off by a third of an eV/angstrom on average anywhere: half of it, so that it speaks only where it shouts.
    difference = np.linalg.norm(ani.get_forces() - xtb.get_forces(), axis=1).max() / 2
    return float(max(spread, difference))


def chosen(structures: Sequence[Candidate], number: int, seed: int) -> list[Atoms]:
    """Some structures: by disagreement and at random, small and larger ones, in turn from molecules and kinds."""
    generator = np.random.default_rng(seed)
    shuffled = [structures[place] for place in generator.permutation(len(structures))]
    picked: list[Atoms] = []
    for is_larger, share in ((False, 1 - SHARE_LARGER), (True, SHARE_LARGER)):
        group = [one for one in shuffled if (heavy_atoms(one.atoms) > SMALL) == is_larger]
        judged = [one for one in group if one.disagreement is not None]
        judged.sort(key=lambda one: one.disagreement or 0.0, reverse=True)
        wanted = round(share * number)
        first = in_turn(judged)[: round((1 - SHARE_RANDOM) * wanted)]
        taken = {id(one) for one in first}
        at_random = in_turn([one for one in group if id(one) not in taken])
        picked += [described(one) for one in [*first, *at_random][:wanted]]
    return picked


def in_turn(structures: Iterable[Candidate]) -> list[Candidate]:
    """One of each molecule, then the next of each; of a molecule one of each kind, then the next of each kind."""
    molecules: dict[str, dict[str, list[Candidate]]] = defaultdict(lambda: defaultdict(list))
    for one in structures:
        molecules[str(one.atoms.info.get("name"))][kind(one.atoms)].append(one)
    return turns(turns(kinds.values()) for kinds in molecules.values())


def turns(queues: Iterable[Iterable[Any]]) -> list[Any]:
    """The first of all queues, then the second of all, and so on."""
    return [one for one in chain.from_iterable(zip_longest(*queues)) if one is not None]


def kind(atoms: Atoms) -> str:
    """Kind of a structure without its figures: "md", "stretch", "dimer", ..."""
    return str(atoms.info.get("sampled_by", "")).partition(" ")[0]


def described(one: Candidate) -> Atoms:
    """A copy without labels that keeps where it comes from."""
    info = {name: value for name, value in one.atoms.info.items() if name in KEPT}
    if one.disagreement is not None:
        info["disagreement"] = round(one.disagreement, 4)
    return Atoms(numbers=one.atoms.numbers, positions=one.atoms.positions, info=info)


def main() -> None:
    """Read both files, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ani", type=Path, nargs="+", required=True, help="labelled by ani:ANI-1x")
    parser.add_argument("--xtb", type=Path, nargs="+", required=True, help="the same structures by tblite:GFN2-xTB")
    parser.add_argument("--number", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    ani, xtb = (chain.from_iterable(iread(path, ":") for path in paths) for paths in (arguments.ani, arguments.xtb))
    frames = chosen(list(candidates(ani, xtb)), arguments.number, arguments.seed)
    write(arguments.output, frames, format="extxyz")
    print(f"{len(frames)} structures of {len({atoms.info['name'] for atoms in frames})} molecules: {arguments.output}")


if __name__ == "__main__":
    main()
