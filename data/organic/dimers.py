"""Pairs of molecules: hydrogen bonds, stacking, dispersion."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

PAIRS = {
    "hydrogen bonds": (
        "water", "ammonia", "methanol", "formaldehyde", "formic acid", "formamide", "hydrogen cyanide",
        "hydrogen peroxide", "methylamine", "dimethyl ether", "acetonitrile",
    ),
    "weak hydrogen bonds": ("water", "acetylene", "ethylene", "methane", "furan", "nitromethane", "carbon dioxide"),
    "amides, acids and bases": ("acetic acid", "acetamide", "imidazole", "urea", "pyridine", "trimethylamine", "water"),
    "stacking": ("pyridine", "pyrrole", "furan", "pyrimidine", "pyrazine", "1,3,5-triazine"),
    "dispersion": ("methane", "ethane", "ethylene", "acetylene", "propane", "cyclopropane", "allene", "butadiene"),
    "small gases": ("nitrogen", "carbon monoxide", "carbon dioxide", "nitrous oxide", "hydrogen", "ammonia", "water"),
    "dipoles": ("acetone", "dimethyl ether", "formaldehyde", "acetonitrile", "oxirane", "ketene", "methyl isocyanide"),
}  # fmt: skip
"""Each molecule of a kind with each, itself included."""


def dimers() -> Iterator[tuple[str, str, str]]:
    """Kind and names of the two molecules; each pair once, under the first kind that has it."""
    seen: set[frozenset[str]] = set()
    for kind, names in PAIRS.items():
        for first, second in itertools.combinations_with_replacement(names, 2):
            pair = frozenset((first, second))
            if pair not in seen:
                seen.add(pair)
                yield kind, first, second
