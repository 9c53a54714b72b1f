"""The models that are compared, and how those are trained that nobody ships."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from systems import CRYSTALS, SYSTEMS, Folders

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Model:
    """A model as the tables have it.

    Attributes:
        label: in tables and figures.
        dtype: that it computes in.
        learnt: what its weights have seen: "train" (the training files), "other" data, or "none", which is time only.
        systems: that it is compared on.
    """

    label: str
    dtype: str
    learnt: str
    systems: tuple[str, ...] = tuple(SYSTEMS)


MODELS = {
    "ase_nbody small": Model("ours, small", "float32", "train"),
    "ase_nbody medium": Model("ours, medium", "float32", "train", CRYSTALS),  # shipped `water` is a medium
    "ase_nbody shipped": Model("ours, shipped", "float32", "train"),
    "lammps pod": Model("POD", "float64", "train"),
    "lammps snap": Model("SNAP", "float64", "train", CRYSTALS),
    "lammps qsnap": Model("qSNAP", "float64", "train", CRYSTALS),
    "ase_nbody universal": Model("ours, universal", "float32", "other"),
    "sevenn 7net-0": Model("SevenNet-0", "float32", "other"),
    "lammps uf3": Model("UF3 of Nb", "float64", "none", ("Mo",)),  # bcc like niobium
    "nep calorine": Model("NEP", "float64", "none"),
    "symmetrix 64x0e": Model("MACE, symmetrix", "float32", "none"),
    "mace 64x0e": Model("MACE, mace-torch", "float32", "none"),
    "nequip eager": Model("NequIP", "float32", "none"),
    "nequip compile": Model("NequIP, compiled", "float32", "none"),
}
TRAINED = ("small", "medium", "pod")
ATOMS = HERE.parent / "accuracy" / "mlearn_atoms.xyz"
MLEARN = [*"--epochs 40 --batch-size 2 --stress-weight 0.01 --isolated-atoms".split(), str(ATOMS)]
OPTIONS = {
    "Si": MLEARN,
    "Mo": MLEARN,
    "Cu": [*MLEARN, "--set", "cutoff=4.2"],  # as in the shipped model of copper
    "water": "--epochs 15 --batch-size 1 --n-valid 20".split(),  # about as many steps as the others
}


def train(preset: str, name: str, folders: Folders) -> list[str | Path]:
    """The command that trains a preset of ours on the training file of a system."""
    nbody = [sys.executable, "-c", "from ase_nbody.cli import main; main()"]
    files = ["--data", SYSTEMS[name].train_file(folders.data), "--output", target(preset, name, folders)]
    options = ["--preset", preset, "--seed", "0", "--threads", "1", *OPTIONS[name]]
    return [*nbody, "train", *files, *options]


def fit(name: str, folders: Folders, environments: Path) -> list[str | Path]:
    """The command that fits POD in the environment that has lammps."""
    python = environments / "lammps" / "bin" / "python"
    return [python, HERE / "fit_pod.py", name, folders.data, folders.models]


def target(kind: str, name: str, folders: Folders) -> Path:
    """The file that a training ends with."""
    return folders.models / (f"{name}_coefficients.pod" if kind == "pod" else f"{kind}-{name}.safetensors")


def train_all(names: Sequence[str], models: Sequence[str], folders: Folders, environments: Path) -> None:
    """Train what is missing, one after another; a training that fails says so, and its rows will."""
    folders.models.mkdir(parents=True, exist_ok=True)
    for name in names:
        for model in models:
            kind = model.split(" ", 1)[1]
            if kind not in TRAINED or name not in MODELS[model].systems or target(kind, name, folders).exists():
                continue
            command = fit(name, folders, environments) if kind == "pod" else train(kind, name, folders)
            print("training", kind, name, flush=True)
            done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
            if done.returncode:
                print(f"training {kind} of {name} ended with status {done.returncode}", file=sys.stderr)
