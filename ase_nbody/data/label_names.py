"""What the name of a label says: its quantity, and the origin that it shares with other labels."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_STEM = re.compile(r"energ(y|ies)|forces?|stress(es)?|virials?", re.IGNORECASE)
_QUANTITIES = {"e": "energy", "f": "forces", "s": "stress", "v": "stress"}
# What a committee disagrees by is no label.
_SPREAD = "spread"
# Words that say nothing about the origin of a total energy.
_PLAIN = {"tot", "total", "potential", "pot"}
_SYNONYMS = {"reference": "ref"}


@dataclass(frozen=True)
class LabelName:
    """What the name of a label says.

    Attributes:
        quantity: "energy", "forces" or "stress", or the name of another property that was looked for.
        origin: the rest of the name in lower case, "" for a plain name: "ref" of REF_energy, "mp2" of forces_mp2.
        is_free: a free energy.
        is_virial: a virial, which becomes a stress.
    """

    quantity: str
    origin: str
    is_free: bool = False
    is_virial: bool = False


def label_name(key: str, further: Collection[str] = ()) -> LabelName | None:
    """What a name says about a label, or None for one without energy, force, stress or virial in it.

    Args:
        key: the name.
        further: names of other properties, which go before these where their words are in the key.

    >>> label_name("TotEnergy")
    LabelName(quantity='energy', origin='', is_free=False, is_virial=False)
    >>> label_name("REF_forces").origin, label_name("forces_mp2").origin, label_name("charge")
    ('ref', 'mp2', None)
    >>> label_name("energy_spread") is None
    True
    >>> label_name("REF_dipole", ["dipole"])
    LabelName(quantity='dipole', origin='ref', is_free=False, is_virial=False)
    """
    of_further = next((name for name in (_further_name(key, one) for one in further) if name is not None), None)
    if of_further is not None:
        return None if _SPREAD in of_further.origin.split("_") else of_further
    match = _STEM.search(key)
    if match is None:
        return None
    stem = match.group().lower()
    words = _words(f"{key[: match.start()]} {key[match.end() :]}")
    if _SPREAD in words:
        return None
    if stem == "stresses" or (stem == "energies" and "total" not in words):
        words.append("atomic")
    is_free = stem.startswith("energ") and "free" in words
    return LabelName(
        _QUANTITIES[stem[0]],
        _origin(word for word in words if not (is_free and word == "free")),
        is_free,
        stem.startswith("virial"),
    )


def _further_name(key: str, quantity: str) -> LabelName | None:
    """What a name says that has all words of a property one after another in it; None for others."""
    words, own = _words(key), _words(quantity)
    for first in range(len(words) - len(own) + 1):
        if words[first : first + len(own)] == own:
            return LabelName(quantity, _origin([*words[:first], *words[first + len(own) :]]))
    return None


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _origin(words: Iterable[str]) -> str:
    return "_".join(_SYNONYMS.get(word, word) for word in words if word not in _PLAIN)
