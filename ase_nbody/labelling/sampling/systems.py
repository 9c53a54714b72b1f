"""Systems read from files, SMILES and names that ASE knows."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from ase_nbody.data.known_structures import known_structure
from ase_nbody.data.reading import read_structures
from ase_nbody.labelling.sampling.system import System

SMILES_PREFIX = "smiles:"
SMILES_FILES = (".smi", ".csv")
_KEPT = ("name", "family", "charge", "multiplicity")


def read_systems(sources: Sequence[str]) -> list[System]:
    """Systems by what users write.

    Args:
        sources: each a file of geometries in any format of ASE (every frame a system; frames of one `name` are its
            conformers); a list of SMILES: *.smi with lines "SMILES name", or *.csv with columns smiles, name and, if
            wanted, family, charge, multiplicity; `smiles:C=C=O`; or, when there is no such file, a molecule or
            crystal that ASE knows, such as CH3CH2OH or Si.

    Returns:
        At least one system; names that occur again get a number.

    Raises:
        ValueError: there is no such file, name or column, or a file is empty or cannot be read.
    """
    systems = [system for source in sources for system in _read(source)]
    if not systems:
        raise ValueError("no molecules or crystals are given; give a file, smiles:CCO, or a name such as CH3CH2OH")
    counts: Counter[str] = Counter()
    unique = []
    for system in systems:
        counts[system.name] += 1
        number = counts[system.name]
        unique.append(system if number == 1 else replace(system, name=f"{system.name}-{number}"))
    return unique


def _read(source: str) -> Iterator[System]:
    path = Path(source)
    if source.startswith(SMILES_PREFIX):
        smiles = source.removeprefix(SMILES_PREFIX).strip()
        if not smiles:
            raise ValueError("smiles: names no molecule; write one such as smiles:C=C=O")
        yield System(smiles, smiles=smiles)
    elif path.suffix == ".smi" and path.is_file():
        yield from _lines_of_smiles(path)
    elif path.suffix == ".csv" and path.is_file():
        yield from _rows_of_smiles(path)
    elif path.exists() or path.suffix in SMILES_FILES:
        yield from _geometries(path)
    else:
        yield System(source, geometries=(_bare(known_structure(source)),))


def _lines_of_smiles(path: Path) -> Iterator[System]:
    for line in path.read_text(encoding="utf-8").splitlines():
        smiles, _, name = line.strip().partition(" ")
        if smiles and not smiles.startswith("#"):
            yield System(name.strip() or smiles, smiles=smiles)


def _rows_of_smiles(path: Path) -> Iterator[System]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        if "smiles" not in columns:
            raise ValueError(
                f"{path} has the columns {', '.join(columns) or 'of an empty file'}; a column smiles is needed, and "
                "name, family, charge and multiplicity are read"
            )
        for row in reader:
            yield _system_of_row({key: (value or "").strip() for key, value in row.items() if key}, path)


def _system_of_row(row: Mapping[str, str], path: Path) -> System:
    smiles = row["smiles"]
    try:
        charge, multiplicity = (int(row[key]) if row.get(key) else None for key in ("charge", "multiplicity"))
    except ValueError:
        raise ValueError(f"{path}: charge and multiplicity of {smiles} are whole numbers, or empty") from None
    return System(row.get("name") or smiles, row.get("family", ""), smiles, (), charge, multiplicity)


def _geometries(path: Path) -> Iterator[System]:
    groups: dict[tuple[Any, ...], list[Atoms]] = {}
    frames = read_structures(path)
    for number, frame in enumerate(frames):
        default = path.stem if len(frames) == 1 else f"{path.stem}-{number}"
        name = str(frame.info.get("name") or default)
        key = (name, tuple(frame.numbers), tuple(frame.pbc), tuple(frame.cell.array.ravel()))
        groups.setdefault(key, []).append(_bare(frame))
    for (name, *_), conformers in groups.items():
        yield System(name, str(conformers[0].info.get("family", "")), geometries=tuple(conformers))


def _bare(atoms: Atoms) -> Atoms:
    """Atoms and what concerns the whole; constraints are left out: labels want the forces on all atoms."""
    info = {key: atoms.info[key] for key in _KEPT if key in atoms.info}
    moments = atoms.get_initial_magnetic_moments()
    if moments.any() and not atoms.pbc.any():
        info.setdefault("multiplicity", round(abs(float(moments.sum()))) + 1)
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info=info)
