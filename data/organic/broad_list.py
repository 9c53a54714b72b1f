"""A list of molecules for expensive labels of many kinds: few structures each, in a random order.

    python data/organic/broad_list.py broad.csv
    nbody sample broad.csv --with model:organic-start --kinds md,normal-modes --temperature 300 --temperature 600 \
        --number 2 --output sampled.xyz
    nbody label sampled.xyz --with pyscf:PBE/def2-svp --output pbe_def2-svp_broad.xyz

700 molecules of two to six heavy atoms of `molecules.csv` and 350 of at most nine of `molecules_larger.csv`, drawn
evenly; radicals and triplets are left out. The first labelling ended after 666 of them.

    python data/organic/broad_list.py broad_2.csv --second

writes the others with 300 of seven to ten heavy atoms, of families that have the groups of larger molecules, and 80
small ketones, aldehydes, esters, amides and their like, in a random order.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

SMALL, LARGER = 700, 350
LABELLED = 666
FAMILIES = (
    "larger ketones and aldehydes",
    "larger esters and acids",
    "benzenes",
    "fused arenes",
    "conjugated",
    "larger amines and amides",
    "larger groups of nitrogen",
    "pyridines and diazines",
)
SMALL_FAMILIES = ("aldehydes", "ketones", "esters", "ketenes", "enols", "amides")
MORE, MORE_SMALL = 300, 80


def main() -> None:
    """Write a list."""
    output, *second = sys.argv[1:]
    chosen = second_list() if second == ["--second"] else first_list()
    with Path(output).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(chosen[0]))
        writer.writeheader()
        writer.writerows(chosen)


def first_list() -> list[dict[str, str]]:
    """Molecules of all kinds."""
    draw = random.Random(0)
    small = [line for line in lines("molecules.csv") if 2 <= int(line["heavy_atoms"]) <= 6]
    larger = [line for line in lines("molecules_larger.csv") if int(line["heavy_atoms"]) <= 9]
    chosen = draw.sample(small, SMALL) + draw.sample(larger, LARGER)
    draw.shuffle(chosen)
    return chosen


def second_list() -> list[dict[str, str]]:
    """What is left of the first list, and others with the groups of larger molecules."""
    draw, first = random.Random(2), first_list()
    known = {line["smiles"] for line in first}
    larger = [line for line in lines("molecules_larger.csv") if line["family"] in FAMILIES]
    larger = [line for line in larger if line["smiles"] not in known and 7 <= int(line["heavy_atoms"]) <= 10]
    more = draw.sample(larger, MORE)
    small = [line for line in lines("molecules.csv") if line["family"] in SMALL_FAMILIES]
    small = [line for line in small if line["smiles"] not in known]
    chosen = small[:MORE_SMALL] + first[LABELLED:] + more
    draw.shuffle(chosen)
    return chosen


def lines(name: str) -> list[dict[str, str]]:
    """Singlets of a list."""
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["multiplicity"] == "1"]


if __name__ == "__main__":
    main()
