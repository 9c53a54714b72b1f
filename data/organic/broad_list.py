"""A list of molecules for expensive labels of many kinds: few structures each, in a random order.

    python data/organic/broad_list.py broad.csv
    nbody sample broad.csv --with model:organic-start --kinds md,normal-modes --temperature 300 --temperature 600 \
        --number 2 --output sampled.xyz
    nbody label sampled.xyz --with pyscf:PBE/def2-svp --output pbe_def2-svp_broad.xyz

700 molecules of two to six heavy atoms of `molecules.csv` and 350 of at most nine of `molecules_larger.csv`, drawn
evenly; radicals and triplets are left out.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path

SMALL, LARGER = 700, 350


def main() -> None:
    """Write the list."""
    draw = random.Random(0)
    small = [line for line in lines("molecules.csv") if 2 <= int(line["heavy_atoms"]) <= 6]
    larger = [line for line in lines("molecules_larger.csv") if int(line["heavy_atoms"]) <= 9]
    chosen = draw.sample(small, SMALL) + draw.sample(larger, LARGER)
    draw.shuffle(chosen)
    with Path(sys.argv[1]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(chosen[0]))
        writer.writeheader()
        writer.writerows(chosen)


def lines(name: str) -> list[dict[str, str]]:
    """Singlets of a list."""
    with Path(__file__).with_name(name).open(newline="", encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["multiplicity"] == "1"]


if __name__ == "__main__":
    main()
