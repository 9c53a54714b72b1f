"""Fifty structures make a model of 3-aminopropionitrile, and twenty that it picks a better one, beside PBE.

    python examples/few_shot/few_shot.py                               # two minutes on one core
    python examples/few_shot/few_shot.py --long --curve curve.png      # as in README.md, with its picture: ten minutes

README.md beside it says how the labelled structures were made.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.optimize import BFGS
from numpy.typing import NDArray
from rich.console import Console

from ase_nbody import NBodyCalculator
from ase_nbody.data import evaluate, labelled_dataset
from ase_nbody.training.run import train
from ase_nbody.training.settings import TrainingSettings

FOLDER = Path(__file__).parent
LEVEL = "PBE/def2-svp"
TEMPERATURE = 500.0  # K
NUMBERS = (10, 20)  # structures of the curve, besides all
STEPS, PICOSECONDS = 80, 0.5  # of each adaptation, of each run of dynamics
LONG_STEPS, LONG_PICOSECONDS = 250, 5.0
SCRATCH_MINUTES = 1.0
PICKED = "adapted, 20 picked"
COLOURS = {"from scratch": "tab:orange", "adapted": "tab:blue", PICKED: "tab:green", "organic-start": "0.5"}


@dataclass(frozen=True)
class Errors:
    """What a model says beside the reference.

    Attributes:
        forces: mean absolute error on the test structures, meV/angstrom.
        energy: likewise, less the mean error, meV per atom.
        profile: energies along the torsion, from the first structure on, meV.
        torsion: largest error of the profile, meV.
    """

    forces: float
    energy: float
    profile: NDArray[np.float64]
    torsion: float

    @classmethod
    def of(cls, calc: NBodyCalculator, test: Sequence[Atoms], scan: Sequence[Atoms]) -> "Errors":
        """Errors of a model on labelled structures."""
        report, _ = evaluate(calc.potential, labelled_dataset(test))
        profile = from_first([results["energy"] for results in calc.calculate_many(scan)])
        error = np.abs(profile - reference_profile(scan)).max()
        errors = report.to_json_dict()
        energy, forces = errors["energy_mae_mev_per_atom_without_shift"], errors["forces_mae_mev_per_angstrom"]
        return cls(forces, energy, profile, error)


def main(steps: int, picoseconds: float, curve: Path | None = None, data: Path = FOLDER) -> None:
    """Adapt to fifty structures, and to twenty picked ones too; compare with the reference, and check that it pays.

    Args:
        steps: of each adaptation.
        picoseconds: of molecular dynamics of each adapted model.
        curve: picture to draw, for which networks are trained from scratch too.
        data: folder of the labelled structures.
    """
    fifty, picked, test, scan = (read(data / f"{name}.xyz", ":") for name in ("fifty", "picked", "test", "torsion"))
    mine = {"adapted": adapted(fifty, steps), PICKED: adapted([*fifty, *picked], steps)}
    models = {"organic-start": started(), **mine}
    if curve is not None:
        models["from scratch"] = trained(fifty)
    errors = {name: Errors.of(calc, test, scan) for name, calc in models.items()}
    for name, error in errors.items():
        print(
            f"{name:18}  forces {error.forces:5.1f} meV/Å, energy {error.energy:5.2f} meV/atom, "
            f"torsion within {error.torsion:3.0f} of {np.ptp(reference_profile(scan)):.0f} meV"
        )
    if errors["adapted"].forces > min(error.forces for name, error in errors.items() if name not in mine):
        raise SystemExit("the adaptation did not pay")
    for name, calc in mine.items():
        print(f"{name:18}  ", end="")
        dynamics(calc, fifty[0], picoseconds)
    if curve is not None:
        draw(curve, errors, fifty, test, scan, steps)


def started() -> NBodyCalculator:
    """The start at the level of the labels."""
    return NBodyCalculator("organic-start", level=LEVEL, outside="ignore")


def adapted(frames: Sequence[Atoms], steps: int) -> NBodyCalculator:
    """The start with all its weights adapted, as `nbody adapt --method all --steps STEPS`."""
    return started().adapt(frames, level=LEVEL, method="all", steps=steps, accept_worse=True)  # main compares


def trained(frames: Sequence[Atoms]) -> NBodyCalculator:
    """A network of the start's size trained from random weights, as `nbody train --preset medium`."""
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder, "data.xyz"), Path(folder, "scratch.safetensors")
        write(data, frames)
        settings = TrainingSettings(data=(data,), preset="medium", minutes=SCRATCH_MINUTES, device="cpu", output=output)
        train(settings, console=Console(quiet=True))
        return NBodyCalculator(output, outside="ignore")


def from_first(energies: Sequence[float]) -> NDArray[np.float64]:
    """Energies in eV beyond the first one, meV."""
    return 1000 * (np.array(energies) - energies[0])


def reference_profile(scan: Sequence[Atoms]) -> NDArray[np.float64]:
    """Labels along the torsion, meV."""
    return from_first([frame.get_potential_energy() for frame in scan])


def dynamics(calc: NBodyCalculator, structure: Atoms, picoseconds: float) -> None:
    """Relax, run at 500 K, and check that the molecule stays whole and inside what the fifty structures cover."""
    atoms = Atoms(structure.symbols, structure.positions, calculator=calc)
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    first, second, lengths = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=1.2))
    generator = np.random.default_rng(0)
    thermalize_momenta(atoms, temperature_K=TEMPERATURE, rng=generator)
    langevin = Langevin(
        atoms, 0.5 * units.fs, temperature_K=TEMPERATURE, friction=0.01 / units.fs, fixcm=False, rng=generator
    )
    stretches, outside, temperatures = [], [], []
    for _ in langevin.irun(round(2000 * picoseconds)):
        now = np.linalg.norm(atoms.positions[first] - atoms.positions[second], axis=1)
        stretches.append((now / lengths).max())
        outside.append(not calc.get_envelope(atoms).inside)
        temperatures.append(atoms.get_temperature())
    kelvin = np.mean(temperatures[len(temperatures) // 2 :])
    print(f"{picoseconds:g} ps at {kelvin:.0f} K: bonds up to {max(stretches):.2f} of their length, ", end="")
    print(f"{sum(outside)} of {len(outside)} steps outside the envelope")
    if max(stretches) > 1.4 or np.mean(outside) > 0.15:
        raise SystemExit("the molecule broke, or was often outside what the structures cover: label what it found")


def draw(
    path: Path,
    errors: dict[str, Errors],
    fifty: Sequence[Atoms],
    test: Sequence[Atoms],
    scan: Sequence[Atoms],
    steps: int,
) -> None:
    """Errors against the number of structures, and the energy along the torsion."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = [*NUMBERS, len(fifty)]
    for name, model in (("from scratch", trained), ("adapted", partial(adapted, steps=steps))):
        several = [fifty[:: len(fifty) // number][:number] for number in NUMBERS]
        forces = [Errors.of(model(some), test, scan).forces for some in several]
        forces.append(errors[name].forces)
        print(f"{name}: {', '.join(f'{n} structures {f:.1f} meV/Å' for n, f in zip(numbers, forces, strict=True))}")
        left.plot(numbers, forces, "o-", color=COLOURS[name], label=name)
    left.plot([len(fifty) + 20], [errors[PICKED].forces], "o", color=COLOURS[PICKED], label=PICKED)
    left.axhline(errors["organic-start"].forces, color=COLOURS["organic-start"], linestyle=":", label="organic-start")
    left.set(
        xlabel="labelled structures", ylabel="forces MAE, meV/Å", xticks=[*numbers, len(fifty) + 20], ylim=(0, None)
    )
    angles = [frame.info["torsion"] for frame in scan]
    for name, colour in COLOURS.items():
        right.plot(angles, errors[name].profile, ":" if name == "organic-start" else "-", color=colour)
    right.plot(angles, reference_profile(scan), "k.", markersize=9, label="PBE/def2-SVP")
    right.set(xlabel="torsion N–C–C–C, degrees", ylabel="energy, meV", xticks=range(0, 181, 30))
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="250 steps of each adaptation, and 5 ps of dynamics")
    parser.add_argument("--curve", type=Path, help="draw errors against the number of structures into this PNG")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of fifty, picked, test and torsion .xyz")
    chosen = parser.parse_args()
    lengths = (LONG_STEPS, LONG_PICOSECONDS) if chosen.long else (STEPS, PICOSECONDS)
    main(*lengths, chosen.curve, chosen.data)
