"""Draws docs/figures/layers.svg: the layers of the package, as tests/test_layers.py has them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from boxes import BLUE, GREEN, INK, ORANGE, RED, TEAL, VIOLET, canvas, note, save
from matplotlib.patches import FancyBboxPatch

TEST = Path(__file__).parents[2] / "tests" / "test_layers.py"
WHAT = (
    "irreps, functions, structures",
    "how code is compiled",
    "operations and their compiled code",
    "graphs and neighbours",
    "composition schemes, gates, steps",
    "networks: graph to atomic energies",
    "what an energy is the sum of",
    "what files say of a model",
    "energy, forces, stress; model files",
    "derivatives, features, results",
    "data, training, what is outside",
    "adaptation to few structures",
    "potentials at work",
    "the ASE calculator, importers",
    "dynamics, relaxation, bands",
    "structures and labels for training",
    "students of slower teachers",
    "the command nbody",
)
COLOURS = (ORANGE, GREEN, TEAL, BLUE, VIOLET, RED)
HEIGHT, WIDTH = 7.0, 112.0


def layers() -> tuple[set[str], ...]:
    """Parts of the package, layer by layer from below."""
    specification = importlib.util.spec_from_file_location("test_layers", TEST)
    assert specification is not None and specification.loader is not None
    module: Any = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return tuple(module.LAYERS)


def shown() -> str:
    """What the figure shows; a picture with another description is stale."""
    return "; ".join(" ".join(sorted(parts)) for parts in layers())


def main() -> None:
    """Draw the figure."""
    found = layers()
    figure, axes = canvas(WIDTH, HEIGHT * len(found) + 5)
    note(axes, (WIDTH - 9, HEIGHT * len(found) + 2), "imports go down only ↓", 10)
    for number, (parts, what) in enumerate(zip(found, WHAT, strict=True)):
        low, colour = 1 + HEIGHT * number, COLOURS[number % len(COLOURS)]
        size = (WIDTH - 2, HEIGHT - 1)
        shape = FancyBboxPatch((1, low), *size, boxstyle="round,pad=0,rounding_size=1", facecolor=colour, edgecolor=INK)
        axes.add_patch(shape)
        axes.text(3, low + size[1] / 2, what, ha="left", va="center", fontsize=11.5, weight="bold")
        axes.text(40, low + size[1] / 2, ",  ".join(sorted(parts)), ha="left", va="center", fontsize=10.5)
    save(figure, "layers", shown())


if __name__ == "__main__":
    main()
