"""Draws docs/figures/dataflow.svg: phases of the compiled evaluation and the arrays that they hand to each other.

Phases, arrays and numbers of multiplications are those of the program that the preset "medium" is compiled to.
"""

from __future__ import annotations

import re

import torch
from ase.build import molecule
from boxes import canvas, note, save
from matplotlib.axes import Axes

from ase_nbody.architectures import architectures
from ase_nbody.architectures.compiled import load
from ase_nbody.compiler.programs import PhaseWork
from ase_nbody.neighbours import neighbour_graph

WORDS = {
    "level_1_forward": "distances, harmonics,\nsplines; messages,\nproducts, states",
    "level_2_forward_and_backward": "messages, products,\nenergies; gradients\nback to the messages",
    "level_2_senders": "gradients by the\nstates of children and\nby edge functions",
    "level_1_backward": "gradients back to\nmessages, then by\nedge vectors",
    "forces": "sums over the\nsenders of edges",
}
LEFT, STEP, ROW = 30.0, 20.0, 2.9


def phases() -> dict[str, PhaseWork]:
    """Phases of the program of the preset, in order."""
    architecture = architectures()["nbody"]
    settings = architecture.settings(elements=("H", "C", "O"), **architecture.presets["medium"])
    network = architecture.network(settings, generator=torch.Generator().manual_seed(0)).double()
    graph = neighbour_graph(molecule("CH3CH2OH"), settings.cutoff)
    with torch.no_grad():
        types = frozenset(network.type_of_number[graph.atomic_numbers].tolist())
        return dict(load(network, types).program.phases)


def groups(work: dict[str, PhaseWork]) -> dict[str, list[int]]:
    """Arrays without the numbers of their irreps, with the phases that use them, in the order of first use."""
    used: dict[str, set[int]] = {}
    for number, phase in enumerate(work.values()):
        for array in phase.arrays:
            used.setdefault(re.sub(r"_\d+$", "", array), set()).add(number)
    return dict(
        sorted(((name, sorted(numbers)) for name, numbers in used.items()), key=lambda item: (item[1], item[0]))
    )


def shown() -> str:
    """What the figure shows; a picture with another description is stale."""
    return "; ".join(f"{name} {numbers}" for name, numbers in groups(phases()).items())


def main() -> None:
    """Draw the figure."""
    work = phases()
    between = {name: numbers for name, numbers in groups(work).items() if not given(name)}
    height = ROW * len(between) + 24
    figure, axes = canvas(LEFT + STEP * len(work) + 2, height)
    for number, (name, phase) in enumerate(work.items()):
        x = LEFT + STEP * (number + 0.5)
        note(axes, (x, height - 3), name.replace("_and_", "\n_and_"), 10)
        note(axes, (x, height - 9), WORDS[name], 9)
        note(axes, (x, height - 15), multiplications(phase), 8.5)
        axes.plot([x, x], [2, height - 18], color="#ced4da", linewidth=0.8, zorder=0)
    for row, (name, numbers) in enumerate(between.items()):
        draw_life(axes, height - 20 - ROW * row, name, numbers)
    save(figure, "dataflow", shown())


def given(name: str) -> bool:
    """Whether an array comes from the caller or from the weights, and not from a phase."""
    inputs = "positions cells structure types shifts offsets senders receivers order sender_offsets tables weights"
    return name in inputs.split() or name.endswith("_table") or (name.endswith("vectors") and name != "d_vectors")


def multiplications(phase: PhaseWork) -> str:
    """How many, for each atom and each edge, in thousands."""
    counts = [(phase.per_node, "atom"), (phase.per_edge, "edge")]
    words = [f"{count / 1000:.0f} k for each {of}" for count, of in counts if count]
    return "\n".join(words) or "additions only"


def draw_life(axes: Axes, y: float, name: str, numbers: list[int]) -> None:
    """A line from the phase that first writes an array to the last that uses it, with a dot for each that does."""
    colour = {"d": "#e8590c", "u": "#e8590c"}.get(name[0], "#1971c2")
    note(axes, (LEFT - 2, y), name, 10, align="right")
    places = [LEFT + STEP * (number + 0.5) for number in numbers]
    axes.plot([places[0], places[-1]], [y, y], color=colour, linewidth=2.2)
    axes.plot(places[1:], [y] * len(places[1:]), "o", color=colour, markersize=6)
    axes.plot(places[:1], [y], "s", color=colour, markersize=8)


if __name__ == "__main__":
    main()
