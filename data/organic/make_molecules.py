"""Make the lists of molecules: those by hand, and functional groups on skeletons.

    python data/organic/make_molecules.py

writes molecules.csv and molecules_larger.csv (H, C, N, O), molecules_halogens_sulfur_phosphorus.csv and dimers.csv
beside itself: the same lists each time.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dimers import dimers
from excluded import excluded_name
from groups import CARBON_RESIDUES, FORBIDDEN, GROUPS, HETERO_GROUPS, LARGER_GROUPS, LARGER_RESIDUES, RESIDUES
from rdkit import Chem, RDLogger

FOLDER = Path(__file__).parent
SIZES = {4: None, 5: 420, 6: 260, 7: 160}
"""How many generated molecules of so many heavy atoms are kept, in equal shares of the families; None: all."""
HETERO_SIZES = {4: 60, 5: 40, 6: 30}
LARGER_SIZES = {6: 400, 7: 800, 8: 1200, 9: 1400, 10: 1200, 11: 600, 12: 400}
COLUMNS = ("name", "smiles", "family", "heavy_atoms", "charge", "multiplicity", "source")


@dataclass(frozen=True)
class Molecule:
    """A line of a list; `source` is "hand" or "generated"."""

    name: str
    smiles: str
    family: str
    heavy_atoms: int
    charge: int
    multiplicity: int
    source: str


def molecule(smiles: str, family: str, source: str, name: str = "") -> Molecule:
    """A molecule by any of its SMILES.

    Raises:
        ValueError: the SMILES is not valid, or the molecule is an excluded one.
    """
    parsed = Chem.MolFromSmiles(smiles)
    if parsed is None:
        raise ValueError(f"{family}: '{smiles}' is no SMILES for RDKit")
    canonical = Chem.MolToSmiles(parsed)
    if excluded := excluded_name(canonical):
        raise ValueError(f"{family}: {smiles} is {excluded}, which is excluded")
    unpaired = sum(atom.GetNumRadicalElectrons() for atom in parsed.GetAtoms())
    # A carbon atom is a triplet, like the carbenes and diradicals of the list.
    multiplicity = min(unpaired, 2) + 1
    return Molecule(name or canonical, canonical, family, parsed.GetNumHeavyAtoms(), Chem.GetFormalCharge(parsed),
                    multiplicity, source)  # fmt: skip


def by_hand(path: Path) -> Iterator[Molecule]:
    """Molecules of a file with lines "family: SMILES name; SMILES name; ..."."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        family, _, entries = line.partition(": ")
        for entry in entries.split(";"):
            smiles, _, name = entry.strip().partition(" ")
            yield molecule(smiles, family, "hand", name)


def generated(
    groups: dict[str, tuple[str, ...]], largest: int, residues: tuple[str, ...] = RESIDUES
) -> Iterator[Molecule]:
    """Every group with every combination of residues, of at most so many heavy atoms, without what is forbidden."""
    forbidden = [Chem.MolFromSmarts(pattern) for pattern in FORBIDDEN]
    for family, templates in groups.items():
        for template in templates:
            for smiles in _filled(template, residues):
                parsed = Chem.MolFromSmiles(smiles)
                if parsed is None:
                    raise ValueError(f"{family}: '{template}' gives '{smiles}', which is no SMILES for RDKit")
                too_large = parsed.GetNumHeavyAtoms() > largest
                if too_large or any(map(parsed.HasSubstructMatch, forbidden)) or excluded_name(smiles):
                    continue
                yield molecule(smiles, family, "generated")


def _filled(template: str, any_residue: tuple[str, ...]) -> Iterator[str]:
    """A template with residues in its places: R for those that begin with carbon, X for any."""
    places = [letter for letter in template if letter in "RX"]
    choices = [CARBON_RESIDUES if letter == "R" else any_residue for letter in places]
    for residues in itertools.product(*choices):
        filled = iter(residues)
        pieces = [_branch(next(filled)) if letter in "RX" else letter for letter in template]
        yield "".join(pieces)


def _branch(residue: str) -> str:
    return f"({residue})" if residue else ""


def chosen(molecules: Iterable[Molecule], sizes: dict[int, int | None]) -> list[Molecule]:
    """Some molecules of each size, in turn from all families, by an order that looks random and is always the same."""
    families: dict[int, dict[str, list[Molecule]]] = defaultdict(lambda: defaultdict(list))
    for one in molecules:
        families[max(one.heavy_atoms, min(sizes))][one.family].append(one)
    kept: list[Molecule] = []
    for size, wanted in sizes.items():
        queues = [sorted(members, key=_order) for members in families[size].values()]
        turns = [one for turn in itertools.zip_longest(*queues) for one in turn if one is not None]
        kept += turns[:wanted]
    return kept


def _order(one: Molecule) -> str:
    return hashlib.sha256(one.smiles.encode()).hexdigest()


def unique(molecules: Iterable[Molecule]) -> dict[str, Molecule]:
    """The first of each molecule by its SMILES."""
    first: dict[str, Molecule] = {}
    for one in molecules:
        first.setdefault(one.smiles, one)
    return first


def write(path: Path, molecules: Iterable[Molecule]) -> None:
    """Write a list, smaller molecules first.

    Raises:
        ValueError: two molecules have one name.
    """
    ordered = sorted(molecules, key=lambda one: (one.heavy_atoms, one.family, one.smiles))
    names = [one.name for one in ordered]
    if double := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"names that occur twice: {', '.join(sorted(double))}")
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(COLUMNS)
        lines.writerows([getattr(one, column) for column in COLUMNS] for one in ordered)
    print(f"{path.name}: {len(ordered)} molecules")


def complete(hand: Path, groups: dict[str, tuple[str, ...]], sizes: dict[int, int | None]) -> list[Molecule]:
    """Molecules by hand, and generated ones that are not among them."""
    listed = unique(by_hand(hand))
    flat = {_without_stereochemistry(smiles) for smiles in listed}
    candidates = unique(generated(groups, max(sizes)))
    return [*listed.values(), *chosen((one for smiles, one in candidates.items() if smiles not in flat), sizes)]


def _without_stereochemistry(smiles: str) -> str:
    return str(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), isomericSmiles=False))


def main() -> None:
    """Write the four lists."""
    RDLogger.DisableLog("rdApp.*")
    organic = complete(FOLDER / "hand_list.txt", GROUPS, SIZES)
    write(FOLDER / "molecules.csv", organic)
    known = {_without_stereochemistry(one.smiles) for one in organic}
    larger = unique(generated(LARGER_GROUPS, max(LARGER_SIZES), LARGER_RESIDUES))
    others = [one for smiles, one in larger.items() if smiles not in known and one.heavy_atoms >= min(LARGER_SIZES)]
    write(FOLDER / "molecules_larger.csv", chosen(others, LARGER_SIZES))
    name = "halogens_sulfur_phosphorus"
    write(FOLDER / f"molecules_{name}.csv", complete(FOLDER / f"hand_list_{name}.txt", HETERO_GROUPS, HETERO_SIZES))
    smiles = {one.name: one.smiles for one in organic}
    pairs = [molecule(f"{smiles[a]}.{smiles[b]}", f"dimers: {kind}", "hand", f"{a} - {b}") for kind, a, b in dimers()]
    write(FOLDER / "dimers.csv", pairs)


if __name__ == "__main__":
    main()
