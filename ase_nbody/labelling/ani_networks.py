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


class Committee:
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
        columns = self.functions.columns(batch.present)
        inputs = torch.cat([batch.environments.radial, batch.environments.angular], dim=1)
        atomic = inputs.new_empty(self.size, len(inputs))
        radial, angular = (inputs.new_empty(*atomic.shape, len(some)) for some in columns)
        begin = 0
        for element, count in zip(batch.present.tolist(), batch.counts, strict=True):
            rows = slice(begin, begin := begin + count)
            (weights, biases), *others = self.layers[element]
            of_radial, of_angular = (weights.index_select(1, some) for some in columns)
            first = torch.cat([of_radial, of_angular], dim=1), biases
            atomic[:, rows], slopes = _network([first, *others], inputs[rows])
            torch.bmm(slopes, of_radial.transpose(1, 2), out=radial[:, rows])
            torch.bmm(slopes, of_angular.transpose(1, 2), out=angular[:, rows])
        return atomic, radial, angular

    def _energies(self, batch: _Batch, atomic: Tensor) -> Tensor:
        """Of molecules, (M, B), eV, float64."""
        return batch.padded(atomic.to(torch.float64) + self.self_energies[batch.elements]).sum(dim=2) * Hartree


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


def stacked_committee(model: Any) -> Committee:
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
    return Committee(functions, layers, model.energy_shifter.self_energies)


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


def _network(layers: Layers, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of M networks for the same inputs, (n, F), and their slopes with what the first layer makes of these.

    Returns:
        (M, n) and (M, n, H).
    """
    states, kept = inputs.expand(len(layers[0][0]), -1, -1), []
    for weights, biases in layers[:-1]:
        states = torch.baddbmm(biases, states, weights)  # (M, n, H)
        # CELU is max(0, x) + alpha (s - 1) with its slope s = exp(min(0, x) / alpha).
        kept.append(states.clamp(max=0).mul_(1 / _ALPHA).exp_())
        states.clamp_(min=0).add_(kept[-1], alpha=_ALPHA).sub_(_ALPHA)
    weights, biases = layers[-1]
    outputs = torch.baddbmm(biases, states, weights).squeeze(2)
    slopes = kept[-1].mul_(weights.transpose(1, 2))  # (M, n, H)
    for (above, _), slope in zip(layers[-2:0:-1], kept[-2::-1], strict=True):
        slopes = torch.bmm(slopes, above.transpose(1, 2)).mul_(slope)
    return outputs, slopes
