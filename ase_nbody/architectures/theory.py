"""Levels of theory of one network: parameters that each level has for itself, all others shared.

As in multi-fidelity and multi-head potentials (Kim et al. 2025, doi 10.1021/jacs.4c14455; Batatia et al. 2025, doi
10.48550/arXiv.2510.25380): many cheap labels shape what all levels share, few good ones their own readouts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ase_nbody.architectures.base import LevelsOfTheory, Network

OwnParts = Literal["readout", "embedding", "both"]
"""What each level of theory has for itself."""


def own_parameters(network: Network, parts: OwnParts) -> list[str]:
    """Names of the parameters that each level of theory is to have for itself.

    Raises:
        ValueError: the architecture has no such parameters.
    """
    known = {
        "readout": list(network.named_readouts()),
        "embedding": [name for name, _ in network.named_parameters() if name == "embedding"],
    }
    wanted = list(known) if parts == "both" else [parts]
    for part in wanted:
        if not known[part]:
            raise ValueError(
                f"{type(network).__name__} has no {part} that levels of theory could have for themselves; take the "
                "architecture nbody, or one level of theory"
            )
    return [name for part in wanted for name in known[part]]


def add_levels(network: Network, n_levels: int, names: Sequence[str]) -> None:
    """Give a network so many levels of theory in all; those that it does not have begin as its own values are.

    Args:
        network: with fewer of them.
        n_levels: the first one, the network's own, among them.
        names: of the parameters that each has for itself, the same as at its levels so far.
    """
    theory = network.theory
    before = [] if theory is None else [theory.of_level(number) for number in range(1, theory.n_levels)]
    values = [[value.detach() for value in level] for level in before]
    while len(values) < n_levels - 1:
        values.append([network.get_parameter(name).detach().clone() for name in names])
    network.theory = LevelsOfTheory(tuple(names), values)


def number_of_levels(network: Network) -> int:
    """How many levels of theory a network has; one where it is of one alone."""
    return 1 if network.theory is None else network.theory.n_levels


def choose_level(network: Network, number: int) -> None:
    """Make a network one of its levels of theory alone."""
    theory, network.theory = network.theory, None
    if theory is not None and number:
        with torch.no_grad():
            for parameter, value in _pairs(network, theory, number):
                parameter.copy_(value)


@contextmanager
def at_level(network: Network, number: int) -> Iterator[None]:
    """A network at one of its levels of theory for a while; gradients made meanwhile are those of this level."""
    theory = network.theory
    if theory is None or number == 0:
        yield
        return
    kept: list[tuple[Tensor, Tensor | None]] = []
    with torch.no_grad():
        for parameter, value in _pairs(network, theory, number):
            kept.append((parameter.detach().clone(), parameter.grad))
            parameter.copy_(value)
            parameter.grad = value.grad
    try:
        yield
    finally:
        with torch.no_grad():
            for (parameter, value), (own, gradient) in zip(_pairs(network, theory, number), kept, strict=True):
                parameter.copy_(own)
                value.grad, parameter.grad = parameter.grad, gradient


def _pairs(network: Network, theory: LevelsOfTheory, number: int) -> list[tuple[nn.Parameter, nn.Parameter]]:
    return [(network.get_parameter(name), v) for name, v in zip(theory.names, theory.of_level(number), strict=True)]
