"""Draws docs/figures/contraction.svg: one entry of the channel-wise contraction, on one edge."""

from __future__ import annotations

from boxes import BLUE, GREEN, INK, ORANGE, VIOLET, box, canvas, note, save
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

CELL = 2.6


def main() -> None:
    """Draw the figure."""
    figure, axes = canvas(104, 52)
    note(axes, (52, 49.5), "one edge: the sender is a neighbour of the receiver", 11)
    array(axes, (6, 30), 4, 6, 1, BLUE, "states of the sender", "$\\psi$  (N, M, C)", "a")
    array(axes, (34, 30), 4, 1, 2, ORANGE, "harmonics", "$Y$  (E, M)", "b")
    array(axes, (52, 30), 4, 6, 1, GREEN, "radial weights", "$R$  (E, P, C)", "p")
    array(axes, (82, 30), 4, 6, 3, VIOLET, "messages of the receiver", "$\\partial S/\\partial G$  (N, M, C)", "o")
    for x, sign in ((28.5, "×"), (44.5, "×"), (75.5, "→ +")):
        note(axes, (x, 35), sign, 18)
    note(
        axes,
        (52, 22),
        "added with the Clebsch-Gordan coefficient $c$ of the entry $(p, a, b, o)$, for all channels $k$ at once",
        11,
    )
    note(
        axes,
        (52, 16.5),
        "S is linear in each of its four arguments, so its derivatives are four contractions of the same form:",
        11,
    )
    kinds = (
        ("∂S/∂G", "messages"),
        ("∂S/∂ψ", "gradients by states"),
        ("∂S/∂Y", "by directions: forces"),
        ("∂S/∂R", "by distances: forces"),
    )
    for x, (derivative, meaning), colour in zip((14, 39, 65, 91), kinds, (VIOLET, BLUE, ORANGE, GREEN), strict=True):
        box(axes, (x, 7.5), (22, 8), f"{derivative}\n{meaning}", colour)
    save(figure, "contraction")


def array(
    axes: Axes,
    corner: tuple[float, float],
    rows: int,
    columns: int,
    row: int,
    colour: str,
    title: str,
    shape: str,
    index: str,
) -> None:
    """An array as cells with the row of an entry in colour, its title above and its index beside it."""
    for r in range(rows):
        for c in range(columns):
            place = (corner[0] + CELL * c, corner[1] + CELL * (rows - 1 - r))
            face = colour if r == row else "white"
            axes.add_patch(Rectangle(place, CELL, CELL, facecolor=face, edgecolor=INK, linewidth=0.9))
    middle = corner[0] + CELL * columns / 2
    note(axes, (middle, corner[1] + CELL * rows + 4.2), title, 11)
    note(axes, (middle, corner[1] + CELL * rows + 1.7), shape, 10)
    note(axes, (corner[0] - 1.4, corner[1] + CELL * (rows - row - 0.5)), f"${index}$", 12)
    if columns > 1:
        note(axes, (middle, corner[1] - 1.8), "channels $k$ →", 9)


if __name__ == "__main__":
    main()
