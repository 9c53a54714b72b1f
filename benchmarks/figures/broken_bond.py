"""Draws docs/figures/broken_bond.svg: two hydrogen atoms pushed together, and ethanol's O-H bond stretched.

The energy to break the bond is that of methanol's O-H bond on the card of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS
from boxes import save
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ase_nbody import NBodyCalculator
from ase_nbody.potential import Potential

OXYGEN, HYDROGEN = 2, 3
BROKEN = "CH3OH, H-O bond broken"  # trial on the card


def main() -> None:
    """Draw the figure."""
    model = NBodyCalculator("organic", outside="ignore")
    figure = Figure(figsize=(10.0, 4.0), layout="constrained")
    contact, bond = figure.subplots(1, 2)
    draw_contact(contact, model)
    draw_bond(bond, model)
    save(figure, "broken_bond")


def draw_contact(axes: Axes, model: NBodyCalculator) -> None:
    """Two hydrogen atoms alone, with the repulsion and without."""
    assert model.information is not None and model.information.repulsion is not None
    distances = np.linspace(0.3, 2.0, 171)
    pairs = [Atoms("H2", [[0, 0, 0], [0, 0, distance]]) for distance in distances]
    alone = 2 * model.information.reference_energies["H"]
    bare = replace(model.potential, repulsion=None)
    for potential, label, style in ((bare, "network alone", "--"), (model.potential, "with repulsion", "-")):
        axes.plot(distances, energies(potential, pairs) - alone, style, linewidth=2, label=label)
    closest = model.information.envelope.closest_distances["H-H"]
    axes.axvspan(distances[0], closest, color="#f1f3f5", zorder=0, label="closer than in the training")
    axes.axvline(model.information.repulsion["H-H"], color="#868e96", linestyle=":", label="onset of the repulsion")
    axes.set(xlabel="H–H distance (Å)", ylabel="energy (eV)", ylim=(-12, 18), xlim=(0.3, 2.0))
    axes.set_title("two hydrogen atoms", fontsize=11)
    axes.legend(frameon=False, loc="lower right")


def draw_bond(axes: Axes, model: NBodyCalculator) -> None:
    """The O-H bond of ethanol, and what it takes to break one."""
    assert model.information is not None
    atoms = molecule("CH3CH2OH")
    atoms.calc = model
    with BFGS(atoms, logfile=None) as optimizer:
        optimizer.run(fmax=0.01)
    distances = np.linspace(0.7, 3.0, 231)
    stretched = [atoms.copy() for _ in distances]
    for moved, distance in zip(stretched, distances, strict=True):
        moved.set_distance(OXYGEN, HYDROGEN, distance, fix=0)
    axes.plot(distances, energies(model.potential, stretched) - atoms.get_potential_energy(), color="tab:orange")
    (trial,) = [trial for trial in model.information.trials if trial.structure == BROKEN]
    assert trial.reference is not None
    axes.axhline(trial.reference, color="black", linestyle=":", label="to break the bond (reference)")
    axes.plot(atoms.get_distance(OXYGEN, HYDROGEN), 0.0, "o", color="black", label="minimum")
    axes.set(xlabel="O–H distance (Å)", ylabel="energy above the minimum (eV)", ylim=(-0.5, 6), xlim=(0.7, 3.0))
    axes.set_title("O–H bond of ethanol", fontsize=11)
    axes.legend(frameon=False, loc="center right")


def energies(potential: Potential, structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """Energies of structures, eV."""
    results = NBodyCalculator(potential, outside="ignore").calculate_many(structures)
    return np.array([result["energy"] for result in results])


if __name__ == "__main__":
    main()
