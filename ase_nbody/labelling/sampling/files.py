"""Files of a sample: one part for each system while it grows, then structures, table and report."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from shutil import copyfileobj, rmtree
from typing import Any

from ase import Atoms
from ase.io import iread
from ase.io.extxyz import write_xyz

from ase_nbody.files import replaced
from ase_nbody.labelling.sampling.filters import REASONS
from ase_nbody.labelling.sampling.system_sample import KindCounts, SystemSample, SystemTask, total_counts

SUFFIXES = (".xyz", ".extxyz")
COLUMNS = ("system", "formula", "kind", "made", *REASONS, "duplicates", "spare", "kept", "failure")
"""Of the table: made is the sum of all numbers behind it."""


def output_files(output: Path) -> dict[str, Path]:
    """Files beside a file of structures, by what they are: STEM-sampled.*, as STEM.csv may be the list that is sampled.

    Raises:
        ValueError: the structures are not to be extended XYZ.
    """
    if output.suffix not in SUFFIXES:
        raise ValueError(f"structures are written as extended XYZ, to a name that ends in .xyz, not '{output.name}'")
    suffixes = {"table": ".csv", "report": ".json", "picture": ".png"}
    return {name: output.with_name(f"{output.stem}-sampled{suffix}") for name, suffix in suffixes.items()}


class Parts:
    """Samples of systems that are done, in a folder beside the output, until all are.

    A part belongs to a task: other settings, seeds or geometries make another.

    Args:
        output: file of structures.
        level: of theory, in words: another version makes other parts.
    """

    def __init__(self, output: Path, level: str) -> None:
        self.folder = output.with_name(f"{output.stem}.parts")
        self._level = level

    def write(self, task: SystemTask, sample: SystemSample) -> None:
        """Write a part, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_structures(sample.structures, self.structures(task))
        with replaced(self._summary(task)) as temporary:  # last: where it is, the part is whole
            temporary.write_text(json.dumps(without_structures(sample)), encoding="utf-8")

    def read(self, task: SystemTask) -> SystemSample | None:
        """The sample of a system that is done, without its structures; None where it is not."""
        path = self._summary(task)
        if not path.exists():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        counts = {kind: KindCounts(**count) for kind, count in values.pop("counts").items()}
        return SystemSample(counts=counts, notes=tuple(values.pop("notes")), **values)

    def structures(self, task: SystemTask) -> Path:
        """File of a part's structures."""
        return self.folder / f"{self._key(task)}.xyz"

    def join(self, tasks: Sequence[SystemTask], output: Path) -> None:
        """Write the structures of tasks that are done into one file, in the order of the tasks."""
        with replaced(output) as temporary, temporary.open("wb") as file:
            for task in tasks:
                with self.structures(task).open("rb") as part:
                    copyfileobj(part, file)

    def all_structures(self, tasks: Sequence[SystemTask]) -> list[Atoms]:
        """The structures of tasks that are done, in the order of the tasks."""
        return [atoms for task in tasks for atoms in iread(self.structures(task), ":", format="extxyz")]

    def remove(self) -> None:
        """Remove the folder."""
        rmtree(self.folder, ignore_errors=True)

    def _summary(self, task: SystemTask) -> Path:
        return self.folder / f"{self._key(task)}.json"

    def _key(self, task: SystemTask) -> str:
        words = [
            self._level,
            task.reference,
            str(sorted(task.options.items())),
            task.settings.model_dump_json(),
            str(task.seed),
        ]
        for system in (task.system, *task.partners):
            words += [system.name, system.family, system.smiles, str(system.charge), str(system.multiplicity)]
            for atoms in system.geometries:
                values = (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, sorted(atoms.info.items()))
                words += [str(value.tolist() if hasattr(value, "tolist") else value) for value in values]
        return sha256("\n".join(words).encode()).hexdigest()[:24]


def without_structures(sample: SystemSample) -> dict[str, Any]:
    """The values of a sample but its structures, as JSON takes them."""
    values = {
        **vars(sample),
        "structures": (),
        "counts": {kind: asdict(count) for kind, count in sample.counts.items()},
    }
    del values["structures"]
    return values


def write_structures(structures: Sequence[Atoms], path: Path) -> None:
    """Write extended XYZ, whole or not at all."""
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        write_xyz(file, list(structures))


def write_table(samples: Sequence[SystemSample], path: Path) -> None:
    """Write what was made, left out and why, and kept of each kind of each system, as CSV."""
    with replaced(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for sample in samples:
            for kind, count in sample.counts.items():
                table.writerow([sample.name, sample.formula, kind, *count_row(count), ""])
            if sample.failure:
                table.writerow([sample.name, "", "", *count_row(KindCounts()), sample.failure])


def count_row(count: KindCounts) -> list[int]:
    """Numbers of a row of the table: made, broken by reason, duplicates, spare, kept."""
    return [count.made, *(count.broken.get(reason, 0) for reason in REASONS), count.duplicates, count.spare, count.kept]


def write_report(samples: Sequence[SystemSample], settings: Mapping[str, Any], path: Path) -> None:
    """Write settings, totals and all systems as JSON."""
    totals = {kind: asdict(count) for kind, count in total_counts(samples).items()}
    report = {**settings, "totals": totals, "systems": [without_structures(sample) for sample in samples]}
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
