"""Dynamics of thousands of molecules at once by ANI-1x: structures and labels for `organic-start`, on a GPU in minutes.

    python benchmarks/organic_start/dynamics.py prepare data/organic/molecules.csv data/organic/molecules_larger.csv \
        --output start.pt
    python benchmarks/organic_start/dynamics.py run start.pt --output dynamics.npz --device cuda --seconds 120

`prepare` embeds each molecule twice with RDKit (ETKDG, MMFF94) and keeps the networks of ANI-1x, so that `run` needs no
torchani. `run` is Langevin dynamics, each molecule at a temperature of its own, drawn evenly; frames are kept as those
of `select_labels.py` are, where no bond of the first frame broke or formed.
`nbody label FRAMES --with ani:ANI-1x` gives the same labels.

    python benchmarks/organic_start/dynamics.py frames dynamics.npz --number 10000 --output ani-1x-dynamics.xyz

Where there is no GPU, `rattled` displaces the atoms of each geometry instead, for `nbody label`:

    python benchmarks/organic_start/dynamics.py rattled start.pt --output rattled.xyz
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.io import write
from ase.units import fs, kB
from select_labels import FORCE, SPREAD
from torch import Tensor

from ase_nbody.labelling.ani import ani_committee
from ase_nbody.labelling.ani_environments import SymmetryFunctions
from ase_nbody.labelling.ani_networks import ANICommittee

ELEMENTS = (1, 6, 7, 8)  # in ANI's order
CONFORMERS = 2
TEMPERATURES = (150.0, 1000.0)  # K
STEP, FRICTION = 1.0, 0.02  # fs, 1/fs
MASSES = (4.0, 12.0, 14.0, 16.0)  # heavy hydrogen: the structures at a temperature are the same, and a step may be long
BEFORE, BETWEEN, FRAMES = 250, 30, 14  # steps before the first frame and between frames, frames of a trajectory
TOGETHER = 4096  # trajectories
BOND = 1.25  # in sums of covalent radii
DISPLACEMENTS = (0.02, 0.1)  # angstrom, of a component


def kept_networks() -> dict[str, Any]:
    """The committee of ANI-1x as it stands in a file."""
    committee = ani_committee("ANI-1x")
    functions = vars(committee.functions)
    return {"functions": functions, "layers": committee.layers, "self_energies": committee.self_energies}


def kept_committee(networks: dict[str, Any], device: str) -> ANICommittee:
    """The committee that `kept_networks` kept."""
    functions = SymmetryFunctions(**networks["functions"])
    return ANICommittee(functions, networks["layers"], networks["self_energies"], device=device)


def labels(committee: ANICommittee, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Energies (B,) float64 eV, forces (B, A, 3) eV/angstrom, spreads of the eight energies (B,) eV."""
    values = committee.means(batch.species, batch.positions)
    return values.energies.mean(0), values.forces[0], values.energies.std(0)


@dataclass
class Kept:
    """Frames with labels, one after another; arrays of atoms are joined in the end."""

    numbers: list[Tensor] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    forces: list[Tensor] = field(default_factory=list)
    energies: list[Tensor] = field(default_factory=list)
    sizes: list[Tensor] = field(default_factory=list)
    trajectories: list[Tensor] = field(default_factory=list)
    temperatures: list[Tensor] = field(default_factory=list)

    def add(self, batch: Batch, labels: tuple[Tensor, Tensor, Tensor]) -> None:
        """Frames of a batch of trajectories, those that are to be learnt."""
        energies, forces, spreads = labels
        known = batch.species >= 0
        largest = torch.where(known, forces.norm(dim=2), 0.0).amax(1)
        good = (spreads < SPREAD * known.sum(1).sqrt()) & (largest < FORCE) & batch.has_its_bonds()
        atoms = known & good[:, None]
        numbers = torch.tensor(ELEMENTS, dtype=torch.uint8, device=known.device)
        self.numbers.append(numbers[batch.species.clamp(min=0)][atoms].cpu())
        self.positions.append(batch.positions[atoms].cpu())
        self.forces.append(forces[atoms].cpu())
        self.energies.append(energies[good].cpu())
        self.sizes.append(known.sum(1)[good].cpu())
        self.trajectories.append(batch.trajectories[good.cpu()])
        self.temperatures.append(batch.temperatures[good].cpu())

    def arrays(self) -> dict[str, np.ndarray]:
        """All of them."""
        return {name: torch.cat(parts).numpy() for name, parts in vars(self).items()}


class Batch:
    """Trajectories that are computed together, padded to the largest molecule.

    Attributes:
        species: of the atoms in ANI's order, -1 where there is none, (B, A).
        positions: angstrom, (B, A, 3).
        temperatures: K, (B,).
        trajectories: their numbers, (B,) on the CPU.
    """

    def __init__(self, start: dict[str, Any], trajectories: Tensor, device: str, generator: torch.Generator) -> None:
        self._generator, self.trajectories = generator, trajectories
        chosen = [(start["species"][t], start["positions"][t]) for t in trajectories.tolist()]
        self.species = torch.nn.utils.rnn.pad_sequence([s for s, _ in chosen], True, -1).long().to(device)
        self.positions = torch.nn.utils.rnn.pad_sequence([p for _, p in chosen], True, 0.0).to(device)
        low, high = TEMPERATURES
        self.temperatures = low + (high - low) * torch.rand(len(trajectories), generator=generator, device=device)
        atoms = self.species.clamp(min=0)
        self._masses = torch.tensor(MASSES, device=device)[atoms][:, :, None]
        radii = torch.tensor(covalent_radii[list(ELEMENTS)], dtype=torch.float32, device=device)[atoms]
        known = self.species >= 0
        self._reach = BOND * (radii[:, :, None] + radii[:, None])
        self._pairs = known[:, :, None] & known[:, None]
        self._bonds = self._bonded()
        self._scales = (kB * self.temperatures[:, None, None] / self._masses).sqrt()
        self.velocities = self._scales * self._noise()

    def _noise(self) -> Tensor:
        return torch.randn(self.positions.shape, generator=self._generator, device=self.positions.device)

    def _bonded(self) -> Tensor:
        return (torch.cdist(self.positions, self.positions) < self._reach) & self._pairs

    def kinetic_energies(self) -> Tensor:
        """Of the molecules, with the masses here, eV, (B,)."""
        return 0.5 * torch.where(self.species >= 0, (self._masses * self.velocities.square()).sum(2), 0.0).sum(1)

    def has_its_bonds(self) -> Tensor:
        """Which molecules have the bonds that they began with, (B,)."""
        return (self._bonded() == self._bonds).all(2).all(1)

    def step(self, forces: Tensor, committee: ANICommittee) -> Tensor:
        """One step of Langevin dynamics (BAOAB; Leimkuhler 2013, doi 10.1093/amrx/abs010); returns the next forces."""
        kick = 0.5 * STEP * fs / self._masses
        kept = float(np.exp(-FRICTION * STEP))
        self.velocities += kick * forces.clamp(-100.0, 100.0)
        self.positions = self.positions + 0.5 * STEP * fs * self.velocities
        self.velocities = kept * self.velocities + (1 - kept**2) ** 0.5 * self._scales * self._noise()
        self.positions = self.positions + 0.5 * STEP * fs * self.velocities
        forces = committee.means(self.species, self.positions).forces[0]
        self.velocities += kick * forces.clamp(-100.0, 100.0)
        return forces


def run(chosen: argparse.Namespace) -> None:
    """Trajectories in a random order, until the time is over or all are done."""
    started, start = time.monotonic(), torch.load(chosen.start, weights_only=True)
    committee = kept_committee(start["networks"], chosen.device)
    generator = torch.Generator(chosen.device).manual_seed(0)
    order = torch.randperm(len(start["species"]), generator=torch.Generator().manual_seed(0))
    kept, slowest = Kept(), 0.0
    for trajectories in order.split(chosen.together):
        begun = time.monotonic()
        if begun + slowest > started + chosen.seconds:
            break
        batch = Batch(start, trajectories, chosen.device, generator)
        forces = committee.means(batch.species, batch.positions).forces[0]
        for step in range(1, BEFORE + BETWEEN * FRAMES + 1):
            forces = batch.step(forces, committee)
            if step > BEFORE and (step - BEFORE) % BETWEEN == 0:
                kept.add(batch, labels(committee, batch))
        slowest = max(slowest, time.monotonic() - begun)
        n_frames = sum(map(len, kept.sizes))
        print(f"{len(kept.sizes)} looks, {n_frames} frames, {time.monotonic() - started:.0f} s", flush=True)
    np.savez(chosen.output, names=np.array(start["names"]), **kept.arrays())


def prepare(chosen: argparse.Namespace) -> None:
    """Geometries of all molecules of the lists that ANI knows, and its networks."""
    names, species, positions = [], [], []
    for path in chosen.lists:
        for name, numbers, places in embedded(path):
            names.append(name)
            species.append(torch.tensor([ELEMENTS.index(n) for n in numbers], dtype=torch.int8))
            positions.append(torch.from_numpy(places).float())
    start = {"names": names, "species": species, "positions": positions, "networks": kept_networks()}
    torch.save(start, chosen.output)
    print(f"{len(names)} geometries of {len(set(names))} molecules: {chosen.output}")


def embedded(path: Path) -> Iterator[tuple[str, list[int], np.ndarray]]:
    """Names, atomic numbers and positions, angstrom, of conformers of the molecules of a list."""
    from rdkit import Chem, RDLogger
    from rdkit.Chem import AllChem

    RDLogger.DisableLog("rdApp.*")
    with path.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["charge"] == "0" and line["multiplicity"] == "1"]
    for line in lines:
        molecule = Chem.AddHs(Chem.MolFromSmiles(line["smiles"]))
        numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
        if len(numbers) < 3 or not set(numbers) <= set(ELEMENTS):
            continue
        AllChem.EmbedMultipleConfs(molecule, CONFORMERS, randomSeed=0, maxAttempts=20)
        if AllChem.MMFFHasAllMoleculeParams(molecule):
            AllChem.MMFFOptimizeMoleculeConfs(molecule)
        for conformer in molecule.GetConformers():
            yield line["name"], numbers, conformer.GetPositions()


def frames(chosen: argparse.Namespace) -> None:
    """Some frames as extended XYZ: at random, as many of each molecule as there is room for."""
    found = dict(np.load(chosen.frames))
    ends = found["sizes"].cumsum()
    shuffled = np.random.default_rng(0).permutation(len(ends))
    molecules = found["names"][found["trajectories"][shuffled]]
    turn = np.zeros(len(ends), dtype=int)
    seen: dict[str, int] = {}
    for place, name in enumerate(molecules):
        turn[place] = seen[name] = seen.get(name, -1) + 1
    written = []
    for frame in shuffled[np.argsort(turn, kind="stable")[: chosen.number]]:
        atoms = slice(ends[frame] - found["sizes"][frame], ends[frame])
        one = Atoms(found["numbers"][atoms], found["positions"][atoms].astype(float))
        trajectory, temperature = found["trajectories"][frame], found["temperatures"][frame]
        one.info = {"name": str(found["names"][trajectory]), "sampled_by": f"md {temperature:.0f} K"}
        one.info["level_of_theory"] = "ANI-1x"
        one.calc = SinglePointCalculator(one, energy=float(found["energies"][frame]), forces=found["forces"][atoms])
        written.append(one)
    write(chosen.output, written, format="extxyz")
    print(f"{len(written)} frames of {len(set(molecules))} molecules: {chosen.output}")


def rattled(chosen: argparse.Namespace) -> None:
    """Each geometry with displaced atoms, by a standard deviation of its own, drawn evenly."""
    start, draw = torch.load(chosen.start, weights_only=True), np.random.default_rng(0)
    written = []
    for name, species, places in zip(start["names"], start["species"], start["positions"], strict=True):
        width = draw.uniform(*DISPLACEMENTS)
        moved = places.double().numpy() + draw.normal(scale=width, size=places.shape)
        info = {"name": name, "sampled_by": f"rattle {width:.3f}"}
        written.append(Atoms([ELEMENTS[s] for s in species.tolist()], moved, info=info))
    write(chosen.output, written, format="extxyz")
    print(f"{len(written)} structures: {chosen.output}")


def main() -> None:
    """Command line: four commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("prepare", help="geometries and networks")
    first.add_argument("lists", type=Path, nargs="+")
    first.add_argument("--output", type=Path, required=True)
    first.set_defaults(do=prepare)
    second = commands.add_parser("run", help="dynamics")
    second.add_argument("start", type=Path)
    second.add_argument("--output", type=Path, required=True)
    second.add_argument("--device", default="cpu")
    second.add_argument("--seconds", type=float, default=float("inf"), help="no batch begins that would end later")
    second.add_argument("--together", type=int, default=TOGETHER, help="trajectories")
    second.set_defaults(do=run)
    third = commands.add_parser("frames", help="some frames as extended XYZ")
    third.add_argument("frames", type=Path)
    third.add_argument("--number", type=int, required=True)
    third.add_argument("--output", type=Path, required=True)
    third.set_defaults(do=frames)
    fourth = commands.add_parser("rattled", help="displaced geometries as extended XYZ")
    fourth.add_argument("start", type=Path)
    fourth.add_argument("--output", type=Path, required=True)
    fourth.set_defaults(do=rattled)
    chosen = parser.parse_args()
    chosen.do(chosen)


if __name__ == "__main__":
    main()
