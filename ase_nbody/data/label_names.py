"""What the name of a label says: its quantity, and the origin that it shares with other labels."""

from __future__ import annotations

import re
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
        quantity: "energy", "forces" or "stress".
        origin: the rest of the name in lower case, "" for a plain name: "ref" of REF_energy, "mp2" of forces_mp2.
        is_free: a free energy.
        is_virial: a virial, which becomes a stress.
    """

    quantity: str
    origin: str
    is_free: bool = False
    is_virial: bool = False


def label_name(key: str) -> LabelName | None:
    """What a name says about a label, or None for one without energy, force, stress or virial in it.

    >>> label_name("TotEnergy")
    LabelName(quantity='energy', origin='', is_free=False, is_virial=False)
    >>> label_name("REF_forces").origin, label_name("forces_mp2").origin, label_name("charge")
    ('ref', 'mp2', None)
    >>> label_name("energy_spread") is None
    True
    """
    match = _STEM.search(key)
    if match is None:
        return None
    stem = match.group().lower()
    words = re.findall(r"[a-z0-9]+", f"{key[: match.start()]} {key[match.end() :]}".lower())
    if _SPREAD in words:
        return None
    if stem == "stresses" or (stem == "energies" and "total" not in words):
        words.append("atomic")
    is_free = stem.startswith("energ") and "free" in words
    origin = [_SYNONYMS.get(w, w) for w in words if w not in _PLAIN and not (is_free and w == "free")]
    return LabelName(_QUANTITIES[stem[0]], "_".join(origin), is_free, stem.startswith("virial"))
