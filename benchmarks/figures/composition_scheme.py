"""Draws docs/composition_scheme.png: the composition scheme of methoxyethane, and the irreps of its levels' states.

Nodes, children, subsystems and irreps are those of an untrained network of preset "medium". Its cutoff is 2 Å here, so
that the levels can be told apart; at the 5 Å of the presets, the first level would already hold most of the molecule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from ase.data.colors import jmol_colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ase_nbody.architectures import architectures
from ase_nbody.architectures.nbody import NBodyNetwork, NBodySettings
from ase_nbody.neighbours import neighbour_graph
from ase_nbody.scheme import CompositionScheme, LevelStates

OUTPUT = Path(__file__).parents[2] / "docs" / "composition_scheme.png"
CUTOFF = 2.0  # angstrom
HIGHLIGHTED = 0  # the oxygen atom
PRESET = "medium"
METADATA = "Preset"  # text in the picture's file that tells which settings it shows

# Places in units of a tenth of an inch, from the lower left corner.
WIDTH, HEIGHT = 122.0, 70.0
ROWS = (7.0, 22.5, 38.0, 53.5)  # levels 0, 1, 2 and the root
DRAWING, NODES, WORDS = 15.0, (34.0, 84.0), 89.0  # centre of the molecules, ends of the rows of nodes, start of text
RADIUS = 1.65  # of a node

INK, PALE = "#2b2d33", "#d5d8de"
ACCENTS = ("#868e96", "#e8590c", "#1971c2", "#2f9e44")  # of levels 0, 1, 2 and the root: halos, lines to children


def main(output: Path) -> None:
    """Draw the figure."""
    atoms = molecule("CH3CH2OCH3")
    preset = architectures()["nbody"].presets[PRESET]
    settings = NBodySettings(elements=("H", "C", "O"), **{**preset, "cutoff": CUTOFF})
    network = NBodyNetwork(settings, generator=torch.Generator().manual_seed(0)).double()
    graph = neighbour_graph(atoms, CUTOFF)
    states, scheme = network.states(graph), network.scheme(graph)

    figure = Figure(figsize=(WIDTH / 10, HEIGHT / 10))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axes.set_axis_off()
    draw_headings(axes, atoms)
    draw_scheme(axes, atoms, scheme)
    parts = [level.atoms[HIGHLIGHTED] for level in states] + [np.arange(len(atoms))]
    for row, part in enumerate(parts):
        draw_molecule(axes, atoms, row, part)
    draw_words(axes, states)
    output.parent.mkdir(exist_ok=True)
    save(figure, output)
    print(f"figure written to {output}")


def save(figure: Figure, output: Path) -> None:
    """Write the picture with few colours, since it is shown on the front page, and with the preset in its file."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110)
    texts = PngInfo()
    texts.add_text(METADATA, preset_words())
    Image.open(drawn).convert("RGB").quantize(128).save(output, optimize=True, pnginfo=texts)


def preset_words() -> str:
    """All settings of the preset, as JSON; a picture drawn with others is stale."""
    preset = architectures()["nbody"].presets[PRESET]
    return NBodySettings(elements=("H", "C", "O"), **{**preset, "cutoff": CUTOFF}).model_dump_json()


def draw_headings(axes: Axes, atoms: Atoms) -> None:
    """What each column shows."""
    nodes = sum(NODES) / 2
    symbol = atoms.symbols[HIGHLIGHTED]
    for x, align, text, note in (
        (DRAWING, "center", f"atoms of the {symbol} node", "in methoxyethane"),
        (nodes, "center", "nodes and their children", f"within {CUTOFF:g} Å, in the presets 5 Å"),
        (WORDS, "left", "state of each node", f'preset "{PRESET}", irreps of O(3)'),
    ):
        axes.text(x, HEIGHT - 3.0, text, ha=align, va="center", color=INK, fontsize=13, weight="bold")
        axes.text(x, HEIGHT - 5.6, note, ha=align, va="center", color=INK, fontsize=10.5)


def draw_scheme(axes: Axes, atoms: Atoms, scheme: CompositionScheme) -> None:
    """Rows of nodes with the lines to their children; the descendants of the highlighted node stand out."""
    places = node_places(atoms)
    descendants = {HIGHLIGHTED}
    marked = {len(scheme.levels): descendants}
    for number in range(len(scheme.levels), 0, -1):
        children = children_by_node(scheme, number)
        for node, below in children.items():
            for child in below:
                ends = [(places[node], ROWS[number]), (places[child], ROWS[number - 1])]
                draw_line(axes, ends, ACCENTS[number] if node in descendants else None)
        descendants = {child for node in descendants for child in children[node]}
        marked[number - 1] = descendants
    root = (sum(NODES) / 2, ROWS[-1])
    for node in range(len(atoms)):
        draw_line(axes, [root, (places[node], ROWS[-2])], ACCENTS[-1] if node == HIGHLIGHTED else None)
    for number, nodes in marked.items():
        for node, atom in enumerate(atoms):
            draw_node(axes, (places[node], ROWS[number]), atom.symbol, atom.number, node in nodes)
    axes.add_patch(Circle(root, 1.3 * RADIUS, facecolor=INK, edgecolor=INK, zorder=4))
    axes.text(*root, "E", ha="center", va="center", color="white", fontsize=13, weight="bold", zorder=5)


def node_places(atoms: Atoms) -> NDArray[np.floating]:
    """Where each atom's nodes stand in their rows: in the order of the atoms along the molecule."""
    order = np.argsort(projected(atoms)[:, 0])
    places = np.empty(len(atoms))
    places[order] = np.linspace(*NODES, len(atoms))
    return places


def children_by_node(scheme: CompositionScheme, number: int) -> dict[int, list[int]]:
    """Children of each node of a level, itself of the level below among them."""
    edges = scheme.levels[number - 1].children
    children = {node: [node] for node in range(edges.n_receivers)}
    for child, node in zip(edges.senders.tolist(), edges.receivers.tolist(), strict=True):
        children[node].append(child)
    return children


def draw_line(axes: Axes, ends: Iterable[tuple[float, float]], colour: str | None) -> None:
    """A line from a node to its child, pale if it has no colour."""
    x, y = zip(*ends, strict=True)
    axes.plot(x, y, color=colour or PALE, linewidth=2.0 if colour else 0.8, zorder=2 if colour else 1)


def draw_node(axes: Axes, place: tuple[float, float], symbol: str, number: int, marked: bool) -> None:
    """A node in its element's colour, pale if it is not marked."""
    axes.add_patch(Circle(place, RADIUS, facecolor="white", edgecolor="none", zorder=3))
    alpha = 1.0 if marked else 0.28
    colour = element_colour(number)
    axes.add_patch(Circle(place, RADIUS, facecolor=colour, edgecolor=INK, linewidth=1.2, alpha=alpha, zorder=4))
    ink = "white" if np.dot(colour, (0.3, 0.6, 0.1)) < 0.6 else INK
    axes.text(*place, symbol, ha="center", va="center", color=ink, fontsize=10, weight="bold", alpha=alpha, zorder=5)


def element_colour(number: int) -> NDArray[np.floating]:
    """Jmol's colour of an element, carbon darker, so that it differs from the pale nodes."""
    darker = 0.55 if number == 6 else 1.0
    return np.asarray(darker * jmol_colors[number])


def projected(atoms: Atoms) -> NDArray[np.floating]:
    """Positions along the molecule, across it, seen a little from the side, and towards the viewer, angstrom."""
    centred = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.linalg.svd(centred)[2]
    if axes[0] @ centred[atoms.symbols.search("O")[0]] < 0:
        axes[0] *= -1
    along, across, depth = (centred @ axes.T).T
    return np.stack([along + 0.38 * depth, across + 0.28 * depth, depth], axis=1)


def draw_molecule(axes: Axes, atoms: Atoms, row: int, part: NDArray[np.int64]) -> None:
    """The molecule with bonds; atoms of the part in colour with a halo, the others pale."""
    places = np.array([DRAWING, ROWS[row]]) + 3.4 * projected(atoms)[:, :2]
    radii = covalent_radii[atoms.numbers]
    distances = atoms.get_all_distances()
    for i, j in zip(*np.nonzero(np.triu(distances < 1.2 * (radii[:, None] + radii), k=1)), strict=True):
        both = i in part and j in part
        axes.plot(*places[[i, j]].T, color=INK if both else PALE, linewidth=2.2, zorder=2)
    for index in np.argsort(projected(atoms)[:, 2]):
        atom, place, inside = atoms[index], places[index], index in part
        radius = 0.75 + 0.65 * covalent_radii[atom.number]
        if inside:
            axes.add_patch(Circle(place, radius + 0.75, facecolor=ACCENTS[row], alpha=0.28, linewidth=0, zorder=1))
        colour = element_colour(atom.number)
        axes.add_patch(Circle(place, radius, facecolor="white", edgecolor="none", zorder=3))
        axes.add_patch(Circle(place, radius, facecolor=colour, edgecolor=INK, alpha=1.0 if inside else 0.25, zorder=3))


def draw_words(axes: Axes, states: list[LevelStates]) -> None:
    """Irreps and a sentence for each row."""
    within = f"within {CUTOFF:g} Å"
    sentences = [
        "level 0, leaves: one atom each,\nits element's learned scalars",
        f"level 1: level-0 nodes {within},\n{kinds(states[1])}",
        f"level 2: level-1 nodes {within},\nscalars again, for the energy",
    ]
    for row, (level, sentence) in enumerate(zip(states, sentences, strict=True)):
        write(axes, row, shown(level), sentence)
    write(axes, len(states), "energy", "root: the sum of what is read\nfrom the scalars of levels 1 and 2")


def shown(level: LevelStates) -> str:
    """The irreps of a state, its one number of channels in front: 48 × (0e + 1o + 2e)."""
    channels, irreps = zip(*(block.split("x") for block in level.irreps.split("+")), strict=True)
    assert len(set(channels)) == 1
    return f"{channels[0]} × {irreps[0] if len(irreps) == 1 else '(' + ' + '.join(irreps) + ')'}"


def kinds(level: LevelStates) -> str:
    """What the irreps of a state are in words."""
    degree = level.irreps.count("+")
    return "scalars" + (", vectors" if degree else "") + (f" and tensors to degree {degree}" if degree > 1 else "")


def write(axes: Axes, row: int, heading: str, sentence: str) -> None:
    """A heading with a sentence under it, beside a row."""
    colour = ACCENTS[row] if row else INK
    axes.text(WORDS, ROWS[row] + 1.0, heading, ha="left", va="bottom", color=colour, fontsize=15, weight="bold")
    axes.text(WORDS, ROWS[row] + 0.2, sentence, ha="left", va="top", color=INK, fontsize=10.5, linespacing=1.35)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="picture to write")
    main(parser.parse_args().output)
