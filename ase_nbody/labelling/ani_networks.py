"""ANI's committees: eight networks evaluated as one, with the forces of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.units import Hartree
from torch import Tensor

from ase_nbody.labelling.ani_environments import Environments, SymmetryFunctions

Layers = Sequence[tuple[Tensor, Tensor]]
"""Weights, (M, inputs, outputs), and biases, (M, 1, outputs), of the same network of all M members, layer by layer."""

_ALPHA = 0.1  # of CELU, in all of ANI's networks


@dataclass(frozen=True)
class CommitteeValues:
    """Energies of B molecules by M networks, eV, (M, B) in float64, and forces, eV/angstrom, (M, B, A, 3)."""

    energies: Tensor
    forces: Tensor


class ANICommittee:
    """The networks of one of ANI's models, evaluated together.

    The first layers have only the columns of elements that a batch has, and the gradients of all networks share what
    depends on positions alone. There is no autograd: what is computed has no history.

    Args:
        functions: what the networks see of positions.
        layers: of each element, in ANI's order.
        self_energies: of the elements, Hartree, (E,).
        device: where it computes.
        dtype: of networks and functions; energies are summed in float64.
    """

    def __init__(
        self,
        functions: SymmetryFunctions,
        layers: Sequence[Layers],
        self_energies: Tensor,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.functions = functions.to(device, dtype)
        self.layers = [[(w.to(device, dtype), b.to(device, dtype)) for w, b in element] for element in layers]
        self.self_energies = self_energies.to(device, torch.float64)
        self._made: dict[tuple[int, ...], list[_Networks]] = {}

    @property
    def size(self) -> int:
        """Number of networks."""
        return len(self.layers[0][0][0])

    @torch.no_grad()
    def values(self, species: Tensor, positions: Tensor) -> CommitteeValues:
        """Energies and forces by every network.

        Args:
            species: elements of atoms in ANI's order, -1 where there is none, (B, A).
            positions: angstrom, (B, A, 3).
        """
        batch = _Batch(species, positions, self.functions)
        atomic, radial, angular = self._energies_and_slopes(batch)
        return CommitteeValues(self._energies(batch, atomic), batch.forces(radial, angular))

    @torch.no_grad()
    def means(self, species: Tensor, positions: Tensor) -> CommitteeValues:
        """As `values`, but of forces only their mean, (1, B, A, 3), which takes an eighth of the products."""
        batch = _Batch(species, positions, self.functions)
        atomic, radial, angular = self._energies_and_slopes(batch)
        forces = batch.forces(radial.mean(dim=0, keepdim=True), angular.mean(dim=0, keepdim=True))
        return CommitteeValues(self._energies(batch, atomic), forces)

    def _energies_and_slopes(self, batch: _Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Energies of atoms without constants, (M, N), their slopes with radial, (M, N, F), and angular functions."""
        networks = self._networks(batch.present)
        inputs = torch.cat([batch.environments.radial, batch.environments.angular], dim=1)
        atomic = inputs.new_empty(self.size, len(inputs))
        radial, angular = (inputs.new_empty(*atomic.shape, some.shape[2]) for some in networks[0].first_transposed)
        begin = 0
        for of_element, count in zip(networks, batch.counts, strict=True):
            rows = slice(begin, begin := begin + count)
            atomic[:, rows], slopes = _evaluated(of_element, inputs[rows])
            for transposed, out in zip(of_element.first_transposed, (radial, angular), strict=True):
                torch.bmm(slopes, transposed, out=out[:, rows])
        return atomic, radial, angular

    def _networks(self, present: Tensor) -> list[_Networks]:
        """Of elements, as far as a batch needs them that has no others; made once for each set of elements."""
        elements = tuple(present.tolist())
        if elements not in self._made:
            columns = self.functions.columns(present)
            self._made[elements] = [_networks(self.layers[element], columns) for element in elements]
        return self._made[elements]

    def _energies(self, batch: _Batch, atomic: Tensor) -> Tensor:
        """Of molecules, (M, B), eV, float64."""
        return batch.padded(atomic.to(torch.float64) + self.self_energies[batch.elements]).sum(dim=2) * Hartree


@dataclass(frozen=True)
class _Networks:
    """M networks of one element; products with transposed weights are faster from a copy."""

    layers: Layers
    first_transposed: list[Tensor]  # (M, H, F) and (M, H, G)
    transposed: list[Tensor]  # of the other layers, (M, outputs, inputs)


class _Batch:
    """Molecules whose atoms stand in a row, those of an element together.

    Attributes:
        elements: of the atoms, ascending, (N,).
        present: elements that there are, ascending.
        counts: atoms of each of them.
        environments: of the atoms.
    """

    def __init__(self, species: Tensor, positions: Tensor, functions: SymmetryFunctions) -> None:
        self._is_atom = species >= 0
        self.elements, order = species[self._is_atom].sort(stable=True)
        self._places = order.argsort()  # of the atoms, molecule by molecule
        counts = torch.bincount(self.elements)
        self.present = counts.nonzero().squeeze(1)
        self.counts: list[int] = counts[self.present].tolist()
        kinds = (counts > 0).cumsum(0)[self.elements] - 1
        molecules = species.new_full(species.shape, -1, dtype=torch.long)
        molecules[self._is_atom] = self._places
        self.environments = Environments(functions, molecules, kinds, positions[self._is_atom][order])

    def forces(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Of energies with these slopes, Hartree, (M, N, F) and (M, N, G): eV/angstrom, (M, B, A, 3)."""
        return self.padded(self.environments.gradients(radial, angular)) * -Hartree

    def padded(self, values: Tensor) -> Tensor:
        """Values of atoms, (M, N, ...), as molecules have them, zero where there is no atom, (M, B, A, ...)."""
        molecules = values.new_zeros(len(values), *self._is_atom.shape, *values.shape[2:])
        molecules[:, self._is_atom] = values[:, self._places]
        return molecules


def stacked_committee(model: Any) -> ANICommittee:
    """The committee of a model of torchani 2.0.

    Args:
        model: such as `torchani.models.ANI1x()`.
    """
    computer = model.aev_computer
    functions = SymmetryFunctions(
        n_elements=computer.num_species,
        radial_cutoff=computer.Rcr,
        angular_cutoff=computer.Rca,
        radial_eta=computer.EtaR.item(),
        angular_eta=computer.EtaA.item(),
        zeta=computer.Zeta.item(),
        radial_shifts=computer.ShfR.flatten(),
        angular_shifts=computer.ShfA.flatten(),
        angles=computer.ShfZ.flatten(),
    )
    layers = [_stacked(networks) for networks in zip(*(n.values() for n in model.neural_networks), strict=True)]
    return ANICommittee(functions, layers, model.energy_shifter.self_energies)


def _stacked(networks: Sequence[Any]) -> Layers:
    """Layers of networks of one element, each layer of all networks in one tensor."""
    linear = [[layer for layer in network if hasattr(layer, "weight")] for network in networks]
    return [
        (
            torch.stack([layer.weight.detach().T for layer in same]),
            torch.stack([layer.bias.detach()[None] for layer in same]),
        )
        for same in zip(*linear, strict=True)
    ]


def _networks(layers: Layers, columns: tuple[Tensor, Tensor]) -> _Networks:
    """Networks that see only these columns of radial and angular functions."""
    (weights, biases), *others = layers
    chosen = [weights.index_select(1, some) for some in columns]
    return _Networks(
        [(torch.cat(chosen, dim=1), biases), *others],
        [some.transpose(1, 2).contiguous() for some in chosen],
        [some.transpose(1, 2).contiguous() for some, _ in others],
    )


def _evaluated(networks: _Networks, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of M networks for the same inputs, (n, F + G), and their slopes with what the first layer makes of these.

    Returns:
        (M, n) and (M, n, H).
    """
    *hidden, last = networks.layers
    states, kept = inputs.expand(len(last[0]), -1, -1), []
    for weights, biases in hidden:
        states = torch.baddbmm(biases, states, weights)  # (M, n, H)
        # CELU is max(0, x) + alpha (s - 1) with its slope s = exp(min(0, x) / alpha).
        kept.append(states.clamp(max=0).mul_(1 / _ALPHA).exp_())
        states.clamp_(min=0).add_(kept[-1], alpha=_ALPHA).sub_(_ALPHA)
    outputs = torch.baddbmm(last[1], states, last[0]).squeeze(2)
    slopes = kept[-1].mul_(networks.transposed[-1])  # (M, n, H)
    for transposed, slope in zip(networks.transposed[-2::-1], kept[-2::-1], strict=True):
        slopes = torch.bmm(slopes, transposed).mul_(slope)
    return outputs, slopes
