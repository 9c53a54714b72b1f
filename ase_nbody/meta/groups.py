"""Groups of a network's parameters, and a network of which only some parameters are trained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from ase_nbody.architectures.base import Network
from ase_nbody.nn.radial import LearnedRadial


def parameter_groups(network: Network) -> dict[str, tuple[str, ...]]:
    """Names of parameters by group: "readout", "radial", "mixing" and "all"; groups of no parameter are left out.

    Args:
        network: of any architecture. "readout" is what its energies are linear in, "radial" the functions of distances
            and "mixing" the matrices that mix channels.
    """
    radial = [p for m in network.modules() if isinstance(m, LearnedRadial) for p in m.parameters()]
    members = {
        "readout": network.linear_readouts(),
        "radial": radial,
        "mixing": network.mixing_matrices(),
        "all": list(network.parameters()),
    }
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {group: tuple(names[id(p)] for p in parameters) for group, parameters in members.items() if parameters}


@contextmanager
def only_trained(network: Network, names: Collection[str]) -> Iterator[None]:
    """A network of which only the named parameters want a gradient, for a while.

    Raises:
        ValueError: the network has no parameter of a name.
    """
    parameters: Mapping[str, object] = dict(network.named_parameters())
    if unknown := sorted(set(names) - parameters.keys()):
        raise ValueError(f"the network has no parameters {', '.join(unknown)}; it has {', '.join(parameters)}")
    before = {name: parameter.requires_grad for name, parameter in network.named_parameters()}
    try:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in names)
        yield
    finally:
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(before[name])
