"""Rates of the inner loop: one, or one for each group of parameters that is learnt with the start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.base import Network
from ase_nbody.meta.groups import parameter_groups

REST = "rest"
"""The group of the parameters that are in none of those with a name."""


@dataclass(frozen=True)
class InnerRates:
    """Rate of each parameter that the inner loop changes.

    Learnt rates are those of Li et al. 2017 (Meta-SGD, doi 10.48550/arXiv.1707.09835), shared by the parameters of a
    group as Antoniou et al. 2019 (doi 10.48550/arXiv.1810.09502) share them within a layer. Logarithms are learnt:
    rates stay positive, and a step of the optimizer changes them by a factor.

    Attributes:
        logarithms: of the rate of each group, () each.
        groups: name of the group of each parameter.
    """

    logarithms: Mapping[str, Parameter]
    groups: Mapping[str, str]

    def of(self, name: str) -> Tensor:
        """The rate of a parameter, (), differentiable by its logarithm."""
        return self.logarithms[self.groups[name]].exp()

    def first_order_gradients(
        self, updates: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Gradients by the logarithms where those of the steps count as constants.

        An update is then minus the rate times what the steps add up to, and its derivative by the logarithm is itself.

        Args:
            updates: of each parameter by the inner loop.
            gradients: of the loss by each parameter where the inner loop ended.
        """
        of_logarithms = {group: torch.zeros_like(logarithm) for group, logarithm in self.logarithms.items()}
        for name, update in updates.items():
            of_logarithms[self.groups[name]] += (gradients[name] * update).sum().detach()
        return of_logarithms


def inner_rates(network: Network, names: Sequence[str], rate: float, *, by_group: bool) -> InnerRates:
    """Rates that are all the same.

    Args:
        network: whose parameters are changed.
        names: parameters that the inner loop changes.
        rate: of all of them.
        by_group: one for each of the groups of `parameter_groups` that a name is in, in place of one for all.
    """
    first = next(network.parameters())

    def logarithm() -> Parameter:
        return Parameter(torch.tensor(math.log(rate), dtype=first.dtype, device=first.device))

    if not by_group:
        return InnerRates({"all": logarithm()}, dict.fromkeys(names, "all"))
    known = {name: group for group, of in parameter_groups(network).items() if group != "all" for name in of}
    groups = {name: known.get(name, REST) for name in names}
    return InnerRates({group: logarithm() for group in sorted(set(groups.values()))}, groups)
