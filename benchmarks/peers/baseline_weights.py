"""Our SchNet and DimeNet++ beside torch_geometric's with the same weights: largest relative differences in float64.

python benchmarks/peers/baseline_weights.py [--peers runs/peers], after make_environments.sh.

torch_geometric has no periodic boundary conditions: a crystal is a cluster there, as large as the energies of the atoms
of one cell depend on, and forces and stress are sums over images. What differs by design is made equal or taken out:
SchNet's envelope is the cosine here; sums over neighbours are divided by one; energies of isolated atoms, which ours
are without, are subtracted. torch_geometric rounds centres of Gaussians, ln 2 and zeros of Bessel functions to single
precision; rows "float64" are with exact ones put in their place, rows "float32" with those.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from structures import from_file

from ase_nbody.architectures import architectures
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.potential import Potential, predict

SCHNET_NAMES = {
    r"^embedding\.weight$": "embedding",
    r"^interactions\.(\d+)\.mlp\.0\.": r"interactions.\1.filter1.",
    r"^interactions\.(\d+)\.mlp\.2\.": r"interactions.\1.filter2.",
    r"^interactions\.(\d+)\.conv\.lin1\.": r"interactions.\1.into_filters.",
    r"^interactions\.(\d+)\.conv\.lin2\.": r"interactions.\1.atom1.",
    r"^interactions\.(\d+)\.lin\.": r"interactions.\1.atom2.",
    r"^lin1\.": "readout1.",
    r"^lin2\.": "readout2.",
}
DIMENET_NAMES = {
    r"^rbf\.freq$": "frequencies",
    r"^emb\.emb\.weight$": "embedding.elements",
    r"^emb\.": "embedding.",
    r"^interaction_blocks\.": "interactions.",
    r"^output_blocks\.": "readouts.",
    r"\.lin_kj\.": ".incoming.",
    r"\.lin_ji\.": ".own.",
    r"\.lin_rbf": ".radial",
    r"\.lin_sbf": ".angular",
    r"\.lin_(down|up)\.": r".\1.",
    r"\.layers_(before|after)_skip\.": r".\1.",
    r"^embedding\.lin\.": "embedding.last.",
    r"\.lin1\.": ".first.",
    r"\.lin2\.": ".second.",
    r"\.lins\.": ".layers.",
    r"\.lin\.": ".last.",
}


@dataclass(frozen=True)
class Case:
    """A network and the structures it is compared on."""

    architecture: str
    settings: dict[str, float]
    structures: tuple[str, ...]
    exact: bool = True


MOLECULES, CRYSTALS = ("toluene", "3bpa"), ("silicon", "sodium chloride", "iron")
NARROW = {"features": 24, "blocks": 2, "triplet_width": 12, "output_width": 20, "cutoff": 3.2}
CASES = (
    Case("schnet", {"cutoff": 5.0}, MOLECULES),
    Case("schnet", {"cutoff": 5.0}, MOLECULES, exact=False),
    Case("schnet", {"features": 24, "filters": 32, "interactions": 2, "gaussians": 20, "cutoff": 3.2}, CRYSTALS),
    Case("dimenet_pp", {"cutoff": 5.0}, MOLECULES),
    Case("dimenet_pp", {"cutoff": 5.0}, MOLECULES, exact=False),
    Case("dimenet_pp", {**NARROW, "angular_functions": 4, "radial_functions": 3}, CRYSTALS),
)


def structure(name: str) -> Atoms:
    """A molecule, or a crystal with displaced atoms in a sheared cell smaller than the cutoff."""
    if name in MOLECULES:
        return from_file(name)
    crystal = {
        "silicon": lambda: bulk("Si"),
        "sodium chloride": lambda: bulk("NaCl", "rocksalt", a=4.8),
        "iron": lambda: bulk("Fe", a=2.87, cubic=True),
    }[name]()
    crystal.set_cell(crystal.cell.array @ [[1.0, 0.03, 0.0], [0.0, 0.98, 0.05], [0.02, 0.0, 1.01]], scale_atoms=True)
    crystal.rattle(0.1, seed=0)
    return crystal


@dataclass(frozen=True)
class Cluster:
    """What the energies of a structure's atoms depend on, without a cell."""

    numbers: np.ndarray
    positions: np.ndarray
    counted: np.ndarray
    images_of: np.ndarray


def cluster(atoms: Atoms, radius: float) -> Cluster:
    """The structure's atoms first, then their images within a radius of one of them."""
    cells = [(0, 0, 0)]
    if atoms.pbc.any():
        reach = np.ceil(radius / (1 / np.linalg.norm(atoms.cell.reciprocal(), axis=1))).astype(int) + 1
        cells += [tuple(c - reach) for c in np.ndindex(*(2 * reach + 1)) if any(c - reach)]
    positions = np.concatenate([atoms.positions + np.array(c) @ atoms.cell.array for c in cells])
    near = np.linalg.norm(positions[:, None] - atoms.positions, axis=2).min(axis=1) < radius
    images_of = np.tile(np.arange(len(atoms)), len(cells))[near]
    counted = np.arange(len(images_of)) < len(atoms)
    return Cluster(atoms.numbers[images_of], positions[near], counted, images_of)


def peer_results(case: Case, settings: dict[str, object], clusters: dict[str, Cluster], python: Path) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("case.json", "structures.npz", "out.npz")]
        more = {"architecture": case.architecture, "exact": case.exact, "seed": 0}
        files[0].write_text(json.dumps({**settings, **more}))
        given = {
            f"{n}/{key}": getattr(c, key) for n, c in clusters.items() for key in ("numbers", "positions", "counted")
        }
        np.savez(files[1], **given)
        program = Path(__file__).with_name("with_torch_geometric.py")
        subprocess.run([python, program, *files], check=True)
        with np.load(files[2]) as found:
            return dict(found)


def our_potential(case: Case, elements: tuple[str, ...], weights: dict[str, np.ndarray]) -> Potential:
    """Our network with the peer's weights."""
    architecture = architectures()[case.architecture]
    settings = our_settings(case, elements)
    network = architecture.network(settings, torch.Generator().manual_seed(1)).double()
    names = SCHNET_NAMES if case.architecture == "schnet" else DIMENET_NAMES
    rows = Atoms(elements).numbers
    state = {}
    for name, value in weights.items():
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        chosen = value[rows] if name in ("embedding", "embedding.elements") else value
        state[name] = torch.as_tensor(chosen / np.pi if name == "frequencies" else chosen)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return Potential(network, dict.fromkeys(elements, 0.0))


def our_settings(case: Case, elements: tuple[str, ...]) -> object:
    cosine = {"envelope": "cosine"} if case.architecture == "schnet" else {}
    chosen = {**case.settings, **cosine, "average_neighbours": 1.0}
    return architectures()[case.architecture].settings(elements=elements, **chosen)


def differences(case: Case, python: Path) -> Iterator[tuple[str, int, float, float, float]]:
    """Of each structure: its name, atoms of the peer, and relative differences of energies, forces and stress."""
    structures = {name: structure(name) for name in case.structures}
    elements = tuple(sorted({symbol for atoms in structures.values() for symbol in atoms.symbols}))
    settings = our_settings(case, elements).model_dump(mode="json")
    layers = settings["interactions"] if case.architecture == "schnet" else settings["blocks"] + 1
    clusters = {name: cluster(atoms, settings["cutoff"] * layers + 0.1) for name, atoms in structures.items()}
    alone = {symbol: cluster(Atoms(symbol), 1.0) for symbol in elements}
    found = peer_results(case, settings, {**clusters, **alone}, python)
    weights = {key.removeprefix("weights/"): value for key, value in found.items() if key.startswith("weights/")}
    potential = our_potential(case, elements, weights)
    for name, atoms in structures.items():
        ours = predict(potential, neighbour_graph(atoms, potential.cutoff, dtype=torch.float64))
        gradient = found[f"{name}/gradient"]
        constants = np.array([found[f"{symbol}/energies"][0] for symbol in atoms.symbols])
        energies = found[f"{name}/energies"] - constants
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, clusters[name].images_of, -gradient)
        stress = np.nan
        if atoms.pbc.all():
            virial = clusters[name].positions.T @ gradient / atoms.get_volume()
            stress = relative(ours.stress[0].numpy(), 0.5 * (virial + virial.T))
        yield (
            name,
            len(clusters[name].numbers),
            relative(ours.energies.numpy(), energies),
            relative(ours.forces.numpy(), forces),
            stress,
        )


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, default=Path("runs/peers"), help="folder of the environments")
    python = parser.parse_args().peers.absolute() / "torch_geometric" / "bin" / "python"
    print("| network | constants | structure | peer's atoms | energies | forces | stress |\n" + "| --- " * 7 + "|")
    for case in CASES:
        constants = "float64" if case.exact else "float32"
        for name, size, energies, forces, stress in differences(case, python):
            last = "-" if np.isnan(stress) else f"{stress:.1e}"
            print(f"| {case.architecture} | {constants} | {name} | {size} | {energies:.1e} | {forces:.1e} | {last} |")


if __name__ == "__main__":
    main()
