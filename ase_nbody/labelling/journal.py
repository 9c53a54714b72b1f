"""The journal of a run: each label is in a file as soon as it is made, so that a run that was killed goes on.

SQLite with a write-ahead log: whatever is killed when, the file holds each label whole or not at all. Its exclusive
lock is the lock of the run: it ends with the process that holds it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.labelling.references import Failure, Label

SEEN_ARRAYS = ("numbers", "positions", "initial_magmoms", "initial_charges")
SEEN_INFO = ("charge", "multiplicity", "spin")
_FORMAT = 1


@dataclass(frozen=True)
class JournalEntry:
    """What the journal holds of a structure.

    Attributes:
        outcome: the label, or why there is none.
        consistency: "" if energy and forces were found consistent, words if they were not; None: not looked at.
    """

    outcome: Label | Failure
    consistency: str | None = None


class JournalError(ValueError):
    """A journal that does not belong to this run."""


def seen_by_reference(atoms: Atoms) -> Atoms:
    """The part of a structure that a reference is given, which is all that a label may depend on.

    Elements, positions, cell, pbc, initial magnetic moments and charges; of its info charge, multiplicity and spin.
    """
    seen = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    for name in SEEN_ARRAYS[2:]:
        if name in atoms.arrays:
            seen.set_array(name, atoms.arrays[name])
    seen.info = {name: atoms.info[name] for name in SEEN_INFO if name in atoms.info}
    return seen


def structure_hash(atoms: Atoms) -> bytes:
    """A hash of what a reference is given of a structure, 16 bytes."""
    digest = blake2b(digest_size=16)
    for name in SEEN_ARRAYS:
        if name in atoms.arrays:
            array = np.asarray(atoms.arrays[name], dtype=np.float64)
            digest.update(f"{name}{array.shape}".encode() + (array + 0.0).tobytes())  # no negative zeros
    digest.update((atoms.cell.array + 0.0).tobytes() + atoms.pbc.tobytes())
    info = {name: str(atoms.info[name]) for name in SEEN_INFO if name in atoms.info}
    digest.update(json.dumps(info).encode())
    return digest.digest()


class Journal:
    """Labels by the hash of their structure, in a file that only this process has open.

    Args:
        path: the file; made where there is none.

    Raises:
        BlockingIOError: another process has it open.
        JournalError: it is no journal.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent}")
        try:
            self._database = sqlite3.connect(path, timeout=0.0, isolation_level=None)
            self._prepare()
        except sqlite3.Error as error:
            raise self._opening_error(error) from error

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._database.close()

    def claim(self, origin: Mapping[str, Any], hashes: Collection[bytes], *, force: bool) -> None:
        """Let the journal belong to a run, if it is empty or does so already.

        Args:
            origin: what decides the labels, beside the structures; JSON values.
            hashes: of the structures.
            force: empty a journal of another run.

        Raises:
            JournalError: it belongs to another run; says what differs.
        """
        reason = self._difference(origin, hashes)
        if reason is not None and not force:
            raise JournalError(
                f"{self.path} is the journal of another run that was not finished, with {len(self.hashes())} "
                f"structures done: {reason}. Finish that run with its own command, give another --output, or discard "
                "it with --force"
            )
        if reason is not None:
            self._database.execute("DELETE FROM entries")
        self._database.execute("REPLACE INTO facts VALUES ('origin', ?)", (json.dumps(origin, sort_keys=True),))

    def add(self, entries: Iterable[tuple[bytes, JournalEntry]]) -> None:
        """Write entries, all or none of them.

        Raises:
            OSError: the disk is full or fails.
        """
        rows = [(key, *_encoded(entry)) for key, entry in entries]
        try:
            self._database.execute("BEGIN")
            self._database.executemany("REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise OSError(
                f"cannot write {self.path}: {error}; what it holds is kept, and the same command goes on"
            ) from error

    def entry(self, key: bytes) -> JournalEntry:
        """What is held of a structure.

        Raises:
            KeyError: nothing.
        """
        row = self._database.execute("SELECT failed, data, consistency FROM entries WHERE hash = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        return _decoded(*row)

    def hashes(self) -> set[bytes]:
        """Of all structures that are done."""
        return {key for (key,) in self._database.execute("SELECT hash FROM entries")}

    def drop_failures(self) -> None:
        """Forget which structures failed, so that they are tried again."""
        self._database.execute("DELETE FROM entries WHERE failed")

    def consistency(self) -> list[str]:
        """Of all structures that it was looked at: "" where it is fine, else words."""
        return [words for (words,) in self._database.execute("SELECT consistency FROM entries") if words is not None]

    @property
    def is_finished(self) -> bool:
        """Whether only the output was left to be written."""
        return self._fact("finished") is not None

    def finish(self) -> None:
        """Note that from now on an output of this run may be there."""
        self._database.execute("REPLACE INTO facts VALUES ('finished', 'yes')")

    def remove(self) -> None:
        """Delete the file."""
        self._database.close()
        for path in (self.path, *(self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        # The lock comes first: a log without shared memory works on network file systems too.
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT)")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS entries (hash BLOB PRIMARY KEY, failed INTEGER, data BLOB, consistency TEXT)"
        )
        self._database.execute("INSERT OR IGNORE INTO facts VALUES ('format', ?)", (str(_FORMAT),))
        self._database.execute("COMMIT")
        if self._fact("format") != str(_FORMAT):
            raise JournalError(f"{self.path} is a journal of another version of ase_nbody; finish the run there")

    def _fact(self, name: str) -> str | None:
        row = self._database.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def _opening_error(self, error: sqlite3.Error) -> Exception:
        if "locked" in str(error):
            return BlockingIOError(f"another nbody label is at work on {self.path}; wait for its end")
        if "not a database" in str(error):
            return JournalError(f"{self.path} is no journal of nbody label; move it away or give another --output")
        return OSError(f"cannot write {self.path}: {error}")

    def _difference(self, origin: Mapping[str, Any], hashes: Collection[bytes]) -> str | None:
        """What a run differs in from that of the journal, in words; None for the same run."""
        written, done = self._fact("origin"), self.hashes()
        if written is None or not done:
            return None
        earlier, now = _flat(json.loads(written)), _flat(json.loads(json.dumps(origin)))
        names = [name for name in sorted({*earlier, *now}) if earlier.get(name) != now.get(name)]
        if names:
            return "; ".join(f"{n} was {earlier.get(n, 'not given')!r}, now {now.get(n, 'not given')!r}" for n in names)
        missing = len(done - set(hashes))
        return f"{missing} of these structures are not in the input of this run" if missing else None


def _flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{above}{name} ") if isinstance(value, Mapping) else {above + name: value}
    return flat


def _encoded(entry: JournalEntry) -> tuple[bool, bytes, str | None]:
    """Whether it failed, a line of JSON with the numbers of its arrays behind it, and its consistency."""
    outcome = entry.outcome
    if isinstance(outcome, Failure):
        return True, json.dumps({"reason": outcome.reason}).encode(), entry.consistency
    own = {"forces": outcome.forces, **({} if outcome.stress is None else {"stress": outcome.stress})}
    arrays = [(group, name, np.asarray(a, dtype=np.float64)) for group, name, a in _named(own, outcome.extra_arrays)]
    header = {
        "energy": outcome.energy,
        "info": dict(outcome.extra_info),
        "arrays": [(group, name, array.shape) for group, name, array in arrays],
    }
    numbers = b"".join(array.tobytes() for _, _, array in arrays)
    return False, json.dumps(header).encode() + b"\n" + numbers, entry.consistency


def _named(
    own: Mapping[str, NDArray[np.float64]], extra: Mapping[str, NDArray[np.float64]]
) -> list[tuple[str, str, NDArray[np.float64]]]:
    return [("own", *item) for item in own.items()] + [("extra", *item) for item in extra.items()]


def _decoded(failed: bool, data: bytes, consistency: str | None) -> JournalEntry:
    line, _, numbers = data.partition(b"\n")
    header = json.loads(line)
    if failed:
        return JournalEntry(Failure(header["reason"]), consistency)
    values = np.frombuffer(numbers, dtype=np.float64)
    groups: dict[str, dict[str, NDArray[np.float64]]] = {"own": {}, "extra": {}}
    for group, name, shape in header["arrays"]:
        size = int(np.prod(shape))
        groups[group][name], values = values[:size].reshape(shape), values[size:]
    own = groups["own"]
    label = Label(header["energy"], own["forces"], own.get("stress"), header["info"], groups["extra"])
    return JournalEntry(label, consistency)
