"""Liquid water as a model gives it: its radial distribution functions beside those of the reference frames.

    python benchmarks/water.py water DATA/water
    python benchmarks/water.py MODEL.safetensors DATA/water --picoseconds 10

DATA/water is the folder of water_train.xyz and water_test.xyz: 64 molecules in one box. From the first test frame 5 ps
of equilibration and 50 ps are run at that density and 330 K, with steps of 0.5 fs and stochastic velocity rescaling
(Bussi et al. 2007, doi 10.1063/1.2408420), which leaves diffusion as it is. Frames go to runs/water-NAME.traj every
50 fs; the same command goes on where an interrupted one stopped. Then it prints and writes runs/water-NAME.json and
runs/water-NAME.png.

The noise of both sides is that of blocks of equal time (water_structure.py). Of each pair of elements the largest
deviation in units of the combined noise is given with the probability that blocks of one and the same origin deviate
as much, and the mean absolute difference. Ends with status 1 where that probability is below 1 % for a pair (which
takes 15 ps or more to show), or where atoms came much closer than in the reference: molecules are broken then.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.constraints import FixCom
from ase.io import iread
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from water_structure import (
    PAIRS,
    Array,
    Comparison,
    block_means,
    compare,
    configurational_temperature,
    diffusion,
    distributions,
    frame_distances,
    order_of_time,
    spanned_time,
)

from ase_nbody import NBodyCalculator
from ase_nbody.graph import closest_distances
from ase_nbody.models_directory import find_model
from ase_nbody.neighbours import neighbour_graph

TEMPERATURE = 330.0  # kelvin
TIMESTEP = 0.5  # fs
STEPS_PER_FRAME = 100
FRAME = TIMESTEP * STEPS_PER_FRAME / 1000  # picoseconds
COUPLING = 100.0  # fs, of the thermostat
EQUILIBRATION = 5.0  # picoseconds
REFERENCE_BLOCKS = 8
DIFFUSION_BLOCKS = 5
LEAST_CHANCE = 0.01
LEAST_CLOSENESS = 0.8  # closest distance, as a share of that in the reference


def simulate(start: Atoms, calculator: NBodyCalculator, path: Path, digest: str, frames: int) -> float | None:
    """Run until the trajectory has `frames` frames; return the milliseconds of a step, None if it had them.

    Raises:
        ValueError: the trajectory that is there was made with another model.
    """
    description = {"model": digest, "temperature": TEMPERATURE, "timestep": TIMESTEP, "interval": STEPS_PER_FRAME}
    atoms, done = last_frame(path, description)
    if done >= frames:
        return None
    generator = np.random.default_rng([0, done])
    if atoms is None:
        atoms = start.copy()
        atoms.set_constraint(FixCom())
        thermalize_momenta(atoms, TEMPERATURE, rng=generator)
    atoms.calc = calculator
    dynamics = Bussi(atoms, TIMESTEP * units.fs, TEMPERATURE, COUPLING * units.fs, rng=generator)
    started = time.perf_counter()
    with TrajectoryWriter(path, "a" if done else "w", atoms, properties=["energy"]) as trajectory:
        if not done:
            trajectory.set_description(description)
        for frame in range(done + 1, frames + 1):
            dynamics.run(STEPS_PER_FRAME)
            trajectory.write()
            if frame % round(1 / FRAME) == 0:
                print(f"{frame * FRAME:.0f} of {frames * FRAME:.0f} ps", flush=True)
    return 1000 * (time.perf_counter() - started) / ((frames - done) * STEPS_PER_FRAME)


def last_frame(path: Path, description: dict[str, Any]) -> tuple[Atoms | None, int]:
    """The last frame of an earlier run and the number of its frames; (None, 0) where there is none."""
    if not path.exists():
        return None, 0
    with TrajectoryReader(path) as trajectory:
        done = len(trajectory)
        if done and trajectory.description != description:
            raise ValueError(f"{path} was made with another model or other settings; rename or delete it")
        return (trajectory[-1], done) if done else (None, 0)


def describe_reference(train: list[Atoms], test: list[Atoms], calculator: NBodyCalculator) -> dict[str, Any]:
    """What the reference frames are, with their numbers in order of time under `order`."""
    frames = train + test
    cells = np.array([atoms.cell.array for atoms in frames])
    distances = frame_distances(frames)
    order = order_of_time(distances)
    temperature, error = configurational_temperature([frames[number] for number in order], calculator)
    nearest = distances[len(train) :, : len(train)].min(axis=1)
    return {
        "frames": len(frames),
        "one_cell": bool(np.ptp(cells, axis=0).max() == 0),
        "cell_angstrom": float(cells[0, 0, 0]),
        "density_g_cm3": float(frames[0].get_masses().sum() / frames[0].get_volume() * 1e24 / units.mol),
        "temperature_from_forces_K": [temperature, error],
        "spanned_ps": spanned_time(distances, TEMPERATURE),
        "test_frames_nearer_to_a_training_frame_than_0.1_angstrom": float((nearest < 0.1).mean()),
        "order": order.tolist(),
    }


def compare_all(ours: Array, reference: Array, block: float) -> dict[str, Comparison]:
    """Comparisons by pair of elements of frames (F, 3, R), ours with blocks of `block` picoseconds."""
    generator = np.random.default_rng(0)
    blocks = max(2, int(len(ours) * FRAME / block))
    means = block_means(ours, blocks), block_means(reference, REFERENCE_BLOCKS)
    return {"-".join(pair): compare(means[0][:, k], means[1][:, k], generator) for k, pair in enumerate(PAIRS)}


def summary(comparison: Comparison) -> dict[str, float]:
    """The numbers of a comparison."""
    return {
        "largest_deviation": comparison.deviation,
        "at_angstrom": comparison.radius,
        "chance": comparison.chance,
        "mean_absolute_difference": comparison.mean_difference,
        "mean_noise": float(comparison.noise.mean()),
    }


def plot(path: Path, comparisons: dict[str, Comparison], name: str) -> None:
    """The distributions with twice the noise of the reference as a band, and the differences below them."""
    figure = Figure(figsize=(12, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 3, sharex=True, height_ratios=(2, 1))
    for column, (pair, found) in enumerate(comparisons.items()):
        upper, lower = axes[:, column]
        band = 2 * found.reference_noise
        upper.fill_between(found.radii, found.reference - band, found.reference + band, color="0.75")
        upper.plot(found.radii, found.reference, "k", linewidth=1, label="reference, ± twice its noise")
        upper.plot(found.radii, found.ours, "C1", linewidth=1, label=name)
        top = found.reference[found.radii > 1.2].max()  # the bonds O-H are far higher than the rest
        upper.set(title=pair, ylim=(0, 1.25 * top))
        lower.fill_between(found.radii, -2 * found.noise, 2 * found.noise, color="0.75", label="± twice both noises")
        lower.plot(found.radii, found.ours - found.reference, "C1", linewidth=1)
        limit = 1.3 * max(np.abs(found.ours - found.reference)[found.radii > 1.2].max(), 2 * np.median(found.noise))
        lower.set(xlabel="distance (Å)", ylim=(-limit, limit))
    axes[0, 0].set_ylabel("g(r)")
    axes[1, 0].set_ylabel("difference")
    axes[0, 0].legend(frameon=False)
    axes[1, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def run(model: str, data: Path, picoseconds: float) -> bool:
    """Simulate, compare, print and write; whether no pair deviates more than by chance and no molecule broke."""
    train, test = (list(iread(data / f"water_{part}.xyz", ":")) for part in ("train", "test"))
    calculator = NBodyCalculator(model, dtype="float32")
    digest = hashlib.sha256(find_model(model).read_bytes()).hexdigest()
    name = Path(model).stem
    output = Path("runs") / f"water-{name}"
    output.parent.mkdir(exist_ok=True)
    wanted = round((EQUILIBRATION + picoseconds) / FRAME)
    step = simulate(test[0], calculator, output.with_suffix(".traj"), digest, wanted)
    about = describe_reference(train, test, calculator)
    order = about.pop("order")
    trajectory = list(iread(output.with_suffix(".traj"), f"{round(EQUILIBRATION / FRAME)}:{wanted}"))
    reference = [(train + test)[number] for number in order]
    block = about["spanned_ps"] / REFERENCE_BLOCKS
    comparisons = compare_all(distributions(trajectory), distributions(reference), block)
    closest: list[dict[str, float]] = [{}, {}]
    for side, frames in enumerate((trajectory, reference)):
        for atoms in frames:
            closest[side] = closest_distances(neighbour_graph(atoms, 3.0), closest[side])
    found = {
        "model": model,
        "picoseconds": picoseconds,
        "mean_temperature_K": float(np.mean([atoms.get_temperature() for atoms in trajectory])),
        "milliseconds_per_step": step,
        "diffusion_angstrom2_per_ps": diffusion(trajectory, FRAME, DIFFUSION_BLOCKS),
        "reference": about,
        "block_ps": block,
        "pairs": {pair: summary(comparison) for pair, comparison in comparisons.items()},
    }
    found["closest_angstrom"] = {pair: [length, closest[1][pair]] for pair, length in closest[0].items()}
    found["within_noise"] = all(comparison.chance >= LEAST_CHANCE for comparison in comparisons.values())
    found["intact"] = all(length >= LEAST_CLOSENESS * closest[1][pair] for pair, length in closest[0].items())
    text = json.dumps(found, indent=2)
    print(text)
    output.with_suffix(".json").write_text(text + "\n")
    plot(output.with_suffix(".png"), comparisons, name)
    return bool(found["within_noise"] and found["intact"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name of a shipped model or path of a model file")
    parser.add_argument("data", type=Path, help="folder of water_train.xyz and water_test.xyz")
    parser.add_argument("--picoseconds", type=float, default=50.0, help="length after equilibration")
    chosen = parser.parse_args()
    sys.exit(0 if run(chosen.model, chosen.data, chosen.picoseconds) else 1)


if __name__ == "__main__":
    main()
