"""Potential and predict: a sum of terms in eV, with forces and stress."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.base import Gradients, Network
from ase_nbody.architectures.theory import number_of_levels
from ase_nbody.contacts import Table, larger_limits
from ase_nbody.graph import Graph, stress_is_defined, sums_of_structures, volumes
from ase_nbody.known_surroundings import KnownSurroundings
from ase_nbody.predictions import LABELLED, OF_EVERY_POTENTIAL, Predicted, Prediction, Property
from ase_nbody.readout_posterior import ReadoutPosterior
from ase_nbody.repulsion import Repulsion
from ase_nbody.terms.base import EnergyTerm, differentiated
from ase_nbody.terms.isolated_atoms import IsolatedAtoms
from ase_nbody.terms.mean_over_inversion import MeanOverInversion
from ase_nbody.terms.repelled import Repelled
from ase_nbody.terms.scaled_network import ScaledNetwork
from ase_nbody.timings import Timings


@dataclass(frozen=True)
class Potential:
    """A sum of terms: the reference energies, the network as the repulsion acts on it, and any others.

    The first two every potential has, and they are given by what they are made of. The energy of an atom is
    reference_energies[element] + energy_scale * network(graph), with the repulsion at short distance, + the others.
    There is no other additive constant, so an isolated atom has its reference energy.

    Attributes:
        network: atomic energies, zero for an atom alone.
        reference_energies: energy of each isolated element, eV.
        energy_scale: eV per unit of the network.
        repulsion: what acts between atoms that are closer than in the training; None: nothing.
        over_inversion: the network's energy is the mean over a structure and its mirror image, for networks that are
            not invariant under reflection. Every evaluation of it is then two.
        others: further terms, such as one of dispersion.
        posteriors: what training left open of the network's readouts, at each of its levels of theory; None where that
            is not known, or no longer, because weights have changed since. Empty: at none of them.
        surroundings: surroundings of atoms that the training had, at the first level; None likewise.

    Raises:
        ValueError: an element has no reference energy, two terms predict the same property, or there are not as many
            posteriors as levels.
    """

    network: Network
    reference_energies: Mapping[str, float]
    energy_scale: float = 1.0
    repulsion: Repulsion | None = None
    over_inversion: bool = False
    others: tuple[EnergyTerm, ...] = ()
    posteriors: tuple[ReadoutPosterior | None, ...] = ()
    surroundings: KnownSurroundings | None = None

    def __post_init__(self) -> None:
        missing = set(self.elements) - set(self.reference_energies)
        if missing:
            raise ValueError(f"no reference energy for {sorted(missing)}; give one for each of {self.elements}")
        twice = [name for name, times in Counter(kind.name for kind in self.properties).items() if times > 1]
        if twice:
            raise ValueError(f"several terms predict {', '.join(twice)}; each property needs a name of its own")
        if len(self.posteriors) not in (0, n_levels := number_of_levels(self.network)):
            raise ValueError(f"{len(self.posteriors)} posteriors for {n_levels} levels of theory; give one for each")

    @property
    def posterior(self) -> ReadoutPosterior | None:
        """What training left open at the first level of theory, which is the network's own."""
        return self.posteriors[0] if self.posteriors else None

    @cached_property
    def terms(self) -> tuple[EnergyTerm, ...]:
        """All that the energy is the sum of, in this order."""
        learnt: EnergyTerm = ScaledNetwork(self.network, self.energy_scale)
        if self.over_inversion:
            learnt = MeanOverInversion(learnt)
        if self.repulsion is not None:
            learnt = Repelled(learnt, self.repulsion)
        return (IsolatedAtoms(self.reference_energies), learnt, *self.others)

    @property
    def properties(self) -> tuple[Property, ...]:
        """Descriptions of all that it predicts."""
        return (*OF_EVERY_POTENTIAL, *self.further_properties)

    @property
    def further_properties(self) -> tuple[Property, ...]:
        """Of those, what not every potential predicts."""
        return tuple(kind for term in self.terms for kind in term.properties)

    @property
    def labelled_properties(self) -> tuple[Property, ...]:
        """What labels may be of."""
        return (*LABELLED, *self.further_properties)

    @property
    def further_parameters(self) -> dict[str, Parameter]:
        """What a training changes in the other terms, by number of the term and name."""
        return {
            f"{number}.{name}": parameter
            for number, term in enumerate(self.others)
            for name, parameter in term.learnt_parameters.items()
        }

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols the potential knows."""
        return self.network.settings.elements

    @property
    def cutoff(self) -> float:
        """Largest distance between neighbours of any term, angstrom."""
        return max(term.cutoff for term in self.terms)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the network's parameters."""
        return next(self.network.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the network's parameters."""
        return next(self.network.parameters()).device

    @property
    def contact_limits(self) -> Table | None:
        """Distances below which pairs are contacts, for neighbour lists; None where no term asks for any."""
        return reduce(larger_limits, (term.contact_limits for term in self.terms))

    def reference_energies_by_number(self) -> Tensor:
        """Reference energies by atomic number, (119,) float64 on the network's device, NaN where unknown, eV."""
        return IsolatedAtoms(self.reference_energies).by_number(self.device)


def copied_potential(potential: Potential, device: torch.device, dtype: torch.dtype) -> Potential:
    """A copy of a potential on a device, in a dtype, whose weights want no gradients."""
    network = copy.deepcopy(potential.network).to(device=device, dtype=dtype)
    return replace(potential, network=network.requires_grad_(False))


def predict(
    potential: Potential,
    graph: Graph,
    parameters: Mapping[str, Tensor] | None = None,
    *,
    differentiable: bool = False,
    timings: Timings | None = None,
    features: bool = False,
) -> Prediction:
    """Energy, forces and stress of every structure in a graph, and what else its terms predict.

    Args:
        potential: the terms.
        graph: structures on the potential's device and in its dtype.
        parameters: used in place of the network's own, by name (for adaptation).
        differentiable: keep the autograd graph, for losses on forces and stress.
        timings: where to add the time of the parts.
        features: give the network's features too, where its own way hands them out.

    Returns:
        Energies in eV summed in float64, forces in eV/angstrom, stress in eV/angstrom^3.

    The stress is (1/V) dE/d(strain) with ASE's sign (Knuth et al. 2015, doi 10.1016/j.cpc.2015.01.003), V the volume
    of the structure's own cell, also where some of its directions are not periodic. Gradients come from one autograd
    call for each term, or from its own way where nothing is differentiated further.
    """
    terms = potential.terms
    if parameters is not None:
        terms = tuple(term.with_parameters(parameters) for term in terms)
    if features:
        terms = tuple(term.with_features() for term in terms)
    kept = timings or Timings()

    def gradients(term: EnergyTerm) -> Gradients:
        own = None if differentiable else term.gradients(graph, kept)
        return differentiated(term, graph, differentiable=differentiable) if own is None else own

    prediction = _summed(terms, graph, gradients)
    return prediction if differentiable or not prediction.further else _detached(prediction)


def trainable_prediction(potential: Potential, graph: Graph) -> Prediction:
    """As `predict`, for a loss that is differentiated once and by the network's own parameters only.

    Each term goes its own way where it has one, as an architecture may where no atoms are in contact, and else
    autograd's; the numbers are the same.
    """

    def gradients(term: EnergyTerm) -> Gradients:
        own = term.trainable_gradients(graph)
        return differentiated(term, graph, differentiable=torch.is_grad_enabled()) if own is None else own

    return _summed(potential.terms, graph, gradients)


def atomic_energies(potential: Potential, graph: Graph) -> Tensor:
    """Energies of the atoms, (N,) float64, eV, differentiable by positions and cell."""
    first, *others = (term.atomic_energies(graph) for term in potential.terms)
    return sum(others, first)


def seen_by_network(potential: Potential, graph: Graph) -> Graph:
    """A graph as the network sees it: where the repulsion acts, with vectors that it lengthened."""
    return graph if potential.repulsion is None else potential.repulsion.seen(graph)


def tangents_of_seen(potential: Potential, graph: Graph, tangents: Sequence[Tensor]) -> list[Tensor]:
    """Changes of the vectors that the network sees, from those of the vectors of the edges, (E, 3) each, angstrom."""
    return list(tangents) if potential.repulsion is None else potential.repulsion.tangents_of_seen(graph, tangents)


def _summed(terms: Sequence[EnergyTerm], graph: Graph, gradients_of: Callable[[EnergyTerm], Gradients]) -> Prediction:
    """The sum of all terms, whose gradients are made by a function."""
    moving = [gradients_of(term) for term in terms if not term.constant]
    of_terms = [gradients.energies for gradients in moving]
    of_terms += [term.atomic_energies(graph) for term in terms if term.constant]
    energies = reduce(torch.add, of_terms)  # (N,)
    return Prediction(
        energy=sums_of_structures(energies, graph),  # (B,)
        energies=energies,
        forces=-reduce(torch.add, [gradients.positions for gradients in moving]),
        stress=_stress(graph, [gradients.strain for gradients in moving]),
        further=further_predictions(terms, graph),
        features=next((gradients.features for gradients in moving if gradients.features is not None), None),
    )


def further_predictions(terms: Sequence[EnergyTerm], graph: Graph) -> tuple[Predicted, ...]:
    """What terms predict beside energies, differentiable by what they learn."""
    return tuple(found for term in terms if term.properties for found in _further(term, graph))


def _further(term: EnergyTerm, graph: Graph) -> tuple[Predicted, ...]:
    """What a term predicts beside energies, checked against its descriptions."""
    further = term.further_predictions(graph)
    made = tuple(found.property for found in further)
    if made != term.properties:
        raise ValueError(f"{type(term).__name__} predicts {made}, and its properties are {term.properties}")
    for found in further:
        rows = graph.n_atoms if found.property.per_atom else graph.n_structures
        if tuple(found.values.shape) != (rows, *found.property.shape):
            raise ValueError(
                f"{type(term).__name__} gives '{found.property.name}' in the shape {tuple(found.values.shape)}, and it "
                f"is to have {(rows, *found.property.shape)}"
            )
    return further


def _detached(prediction: Prediction) -> Prediction:
    return replace(prediction, further=tuple(replace(f, values=f.values.detach()) for f in prediction.further))


def _stress(graph: Graph, strains: Sequence[Tensor]) -> Tensor:
    """The virial, a sum of gradients by strain, over the volume, (B, 3, 3); NaN where it is not defined."""
    if not bool(graph.pbc.any()):
        return torch.full_like(graph.cell, torch.nan)
    defined = stress_is_defined(graph)
    volume = torch.where(defined, volumes(graph), 1.0)  # (B,)
    stress = reduce(torch.add, strains) / volume[:, None, None]
    return torch.where(defined[:, None, None], stress, torch.nan)
