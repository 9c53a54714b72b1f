"""Draws docs/figures/level.svg: what one level of an N-body network does."""

from __future__ import annotations

from boxes import BLUE, GREEN, ORANGE, PALE, TEAL, VIOLET, arrow, box, canvas, note, save


def main() -> None:
    """Draw the figure."""
    figure, axes = canvas(112, 54)
    for x, text in ((11, "1. messages"), (43, "2. products"), (73, "3. mixing"), (99, "new state, 4. readout")):
        axes.text(x, 51, text, ha="center", va="center", fontsize=13, weight="bold")
    # What a node knows of its children
    box(axes, (11, 43), (19, 7), "states of the children\n$\\psi_i$, irreps × channels", BLUE)
    box(axes, (11, 34), (19, 7), "directions to them\n$Y(\\hat r_i)$, harmonics", BLUE)
    box(axes, (11, 25), (19, 7), "distances\n$R(r_i)$, learned", BLUE)
    box(axes, (11, 9), (19, 9), "sum over children\n$A=\\Sigma_i\\, R\\,\\psi_i\\otimes Y$", ORANGE)
    note(axes, (13, 17.5), "multiplied and taken\napart into irreps", 9, align="left")
    arrow(axes, (11, 21.3), (11, 13.8))
    # Products of A
    heights = (41, 29, 17)
    products = ("$A$", "$A\\otimes A$", "$(A\\otimes A)\\otimes A$")
    bodies = ("two atoms together", "three atoms: angles", "four atoms: dihedrals")
    for height, product, body in zip(heights, products, bodies, strict=True):
        box(axes, (43, height), (20, 7), f"{product}\n{body}", ORANGE)
        box(axes, (73, height), (14, 6), "$W^l$", GREEN, 13)
        arrow(axes, (53.2, height), (65.8, height))
        arrow(axes, (80.2, height), (91, 31 + (height - 29) / 4))
    arrow(axes, (20.7, 11), (32.8, 39))
    for upper, lower in ((41, 29), (29, 17)):
        arrow(axes, (43, upper - 3.6), (43, lower + 3.6))
        note(axes, (47.2, (upper + lower) / 2), "$\\otimes\\, A$", 11)
    note(axes, (73, 35.2), "one matrix for each\ndegree and product", 9)
    box(axes, (43, 5.5), (20, 6), "the node's own state", BLUE)
    box(axes, (73, 5.5), (14, 6), "$W^l$", GREEN, 13)
    arrow(axes, (53.2, 5.5), (65.8, 5.5))
    arrow(axes, (80.2, 6.5), (92, 26.5), bend=0.15)
    box(axes, (100, 31), (17, 8), "sum: state $\\psi$\nof the node", VIOLET)
    box(axes, (100, 15), (17, 8), "its scalars:\natomic energy", TEAL)
    arrow(axes, (100, 26.8), (100, 19.2))
    arrow(axes, (100, 35.2), (100, 42))
    box(axes, (100, 45.2), (17, 5.6), "next level", PALE)
    save(figure, "level")


if __name__ == "__main__":
    main()
