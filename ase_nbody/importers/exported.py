"""Models of other packages as arrays, which a script wrote in the package's own environment, and checks of imports."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_nbody.importers.e3nn_export import REFUSED
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict

ACCURACY = {"float64": 1e-8, "float32": 1e-4}  # largest relative difference from the model's own predictions


_SMALLEST = 1e-6  # eV, eV/angstrom: what is smaller may be rounding errors of energies of eV


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        description: its JSON.
        arrays: all arrays by name.
    """

    description: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def run_export(modules: Sequence[ModuleType], path: Path, python: Path, package: str, *arguments: str) -> Exported:
    """What a script writes of a model, run by the interpreter of another environment.

    Args:
        modules: the script, which takes the model, the file to write and the arguments, and all of ase_nbody that it
            imports.
        path: of the model.
        python: interpreter.
        package: that it must have, with its version, for messages.
        arguments: more of them.

    Raises:
        FileNotFoundError: there is no such interpreter.
        ValueError: the script did not take the model; it says why.
    """
    if not python.is_file():
        raise FileNotFoundError(
            f"there is no Python interpreter {python}; give that of an environment with {package}, such as "
            "FOLDER/bin/python"
        )
    with tempfile.TemporaryDirectory() as folder:
        for module in modules:
            _copy_module(module, Path(folder))
        target = Path(folder) / "model.npz"
        files = [str(path.absolute()), str(target), *arguments]
        command = [str(python.absolute()), "-m", modules[0].__name__, *files]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"it stopped with status {done.returncode}"])[-1]
            hint = f"({python} must have {package}, and the file be one of its models)"
            told = last if done.returncode == REFUSED else f"it could not be opened: {last} {hint}"
            raise ValueError(f"{path} is not imported: {told}")
        return read_exported(target)


def _copy_module(module: ModuleType, folder: Path) -> None:
    """A module's source under its name, in packages that are empty otherwise."""
    *packages, name = module.__name__.split(".")
    for package in packages:
        folder = folder / package
        folder.mkdir(exist_ok=True)
        (folder / "__init__.py").touch()
    assert module.__file__ is not None
    (folder / f"{name}.py").write_text(Path(module.__file__).read_text())


def read_exported(path: Path) -> Exported:
    """The arrays of a file that an export wrote; nothing in it is run."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Exported(json.loads(str(arrays["description"])), arrays)


def check(potential: Potential, exported: Exported) -> None:
    """Compare with the model's own predictions.

    Raises:
        ValueError: they differ.
    """
    allowed = ACCURACY[exported.description["dtype"]]
    for number in range(exported.description["n_structures"]):
        found = differences(potential, exported, number)
        if not max(found.values()) < allowed:
            shown = ", ".join(f"{name} by {value:.1e}" for name, value in found.items())
            raise ValueError(
                f"the imported model differs from the original ({shown}, relative); "
                "nothing is written, please report this with the model's settings"
            )


def largest_difference(potential: Potential, exported: Exported) -> float:
    """Of all structures and parts of `differences`."""
    structures = range(exported.description["n_structures"])
    return max(value for number in structures for value in differences(potential, exported, number).values())


def differences(potential: Potential, exported: Exported, number: int) -> dict[str, float]:
    """Largest differences of energy, forces and stress from the original's for a structure, relative to its largest.

    The energy is compared with that of the interaction: reference energies are taken off.
    """
    parts = {
        name: exported.arrays.get(f"structure{number}.{name}")
        for name in ("numbers", "positions", "cell", "pbc", "energy", "forces", "stress")
    }
    atoms = Atoms(parts["numbers"], positions=parts["positions"], cell=parts["cell"], pbc=parts["pbc"])
    ours = predict(potential, neighbour_graph(atoms, potential.cutoff, dtype=potential.dtype))
    assert parts["energy"] is not None and parts["forces"] is not None
    references = sum(potential.reference_energies[symbol] for symbol in atoms.symbols)
    found = {
        "energy": _relative([float(ours.energy[0]) - references], parts["energy"].astype(np.float64) - references),
        "forces": _relative(ours.forces.numpy(), parts["forces"]),
    }
    if parts["stress"] is not None:
        found["stress"] = _relative(ours.stress[0].numpy(), parts["stress"])
    return found


def _relative(ours: Sequence[float] | NDArray[Any], theirs: NDArray[Any]) -> float:
    largest = max(float(np.abs(theirs).max()), _SMALLEST)
    return float(np.abs(np.asarray(ours) - theirs).max()) / largest
