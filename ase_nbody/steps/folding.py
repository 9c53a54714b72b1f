"""Rewrites of descriptions that do at once, when weights are loaded, what is linear and known for each element.

Each keeps the energies: `forward` of what comes out is that of what went in. Tests hold them to it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import Tensor

from ase_nbody.algebra import Irrep
from ase_nbody.steps.contract import Contract, ContractElements
from ase_nbody.steps.description import Description, Step
from ase_nbody.steps.elements import Embed, ScaleByElement
from ase_nbody.steps.hand_out import HandOut
from ase_nbody.steps.mix import Linear, Mix
from ase_nbody.steps.readout import EnergyStep, Readout
from ase_nbody.steps.state_irreps import Block, state_irreps
from ase_nbody.steps.weights import Radial, StepWeights

SCALAR = Irrep(0, 1)

Network = tuple[Description, StepWeights]


def folded(description: Description, weights: StepWeights) -> Network:
    """All rewrites."""
    return fold_readouts(*fold_messages(*fold_elements(description, weights)))


def folded_with_features(description: Description, weights: StepWeights) -> Network:
    """The same, and the scalars of each of `energy_steps` are handed out, those that nothing else needs too."""
    return fold_readouts(*hand_out(*fold_messages(*fold_elements(description, weights))))


def fold_elements(description: Description, weights: StepWeights) -> Network:
    """States that are vectors by element become part of what reads them: contractions, and sums with other states.

    Raises:
        ValueError: a product or a gate reads such a state, or edges of one kind have senders of several elements.
    """
    elements = _element_states(description)
    made: dict[str, Tensor] = {}
    new = _copied(weights)
    steps: list[Step] = []
    for step in description.steps:
        vectors = _vectors_made(step, made, weights)
        if vectors is not None and step.out in elements:
            made[step.out] = made[step.out] + vectors if step.out in made else vectors
        elif vectors is not None and isinstance(step, Embed | Linear):
            name = f"{step.weights}_by_element"
            new.vectors[name] = vectors
            steps.append(Embed(step.out, name))
        elif isinstance(step, Contract) and step.source in made:
            new.radial[step.radial] = _with_senders(step, weights, made[step.source])
            steps.append(ContractElements(step.out, step.table, step.channels, step.radial))
        elif any(name in made for name in step.reads):
            raise ValueError(f"{step} reads a state that is one vector by element: let a contraction read it first")
        else:
            steps.append(step)
    return description.replaced(steps), new


def _element_states(description: Description) -> set[str]:
    """States all of whose sources are vectors by element."""
    by_element = {step.out for step in description.steps if step.out}
    while True:
        others = {
            step.out for step in description.steps if step.out in by_element and not _stays_by_element(step, by_element)
        }
        if not others:
            return by_element
        by_element -= others


def _stays_by_element(step: Step, elements: set[str]) -> bool:
    if isinstance(step, Embed):
        return True
    return isinstance(step, Linear) and step.source in elements


def _vectors_made(step: Step, made: dict[str, Tensor], weights: StepWeights) -> Tensor | None:
    """What a step adds to each element's vector, (T, columns); None where it reads more than elements."""
    if isinstance(step, Embed):
        return weights.vectors[step.weights]
    if isinstance(step, Linear) and step.source in made:
        vectors = made[step.source]
        if isinstance(step, ScaleByElement):
            return vectors * weights.vectors[step.weights]
        matrices = weights.matrices[f"{step.weights}_{SCALAR}"]  # (columns, columns') or (T, columns, columns')
        return torch.matmul(vectors.unsqueeze(1), matrices)[:, 0]
    return None


def _with_senders(step: Contract, weights: StepWeights, vectors: Tensor) -> Radial:
    """Radial weights times the vector of the sender's element."""
    radial, paths, count = weights.radial[step.radial], step.table.n_paths, len(vectors)
    sender_of: dict[int, int] = {}
    for pair, kind in enumerate(weights.kind_of_pair.tolist()):
        if sender_of.setdefault(kind, pair % count) != pair % count:
            raise ValueError(f"edges of kind {kind} have senders of several elements: give them a kind for each")

    def last(kinds: list[int]) -> Tensor:
        matrices = radial.last(kinds)  # (kinds, H, paths C)
        senders = vectors[[sender_of[kind] for kind in kinds]].to(matrices.dtype)
        by_path = matrices.view(*matrices.shape[:2], paths, -1)
        return (by_path * senders[:, None, None]).flatten(2)

    return replace(radial, last=last, network=None)


def fold_messages(description: Description, weights: StepWeights) -> Network:
    """The mixing of what a contraction of elements makes becomes part of its radial weights.

    That is possible where each irrep has one path, and nothing else reads the state before mixing.
    """
    steps, new = list(description.steps), _copied(weights)
    readers = _readers(description)
    for number, step in enumerate(description.steps):
        if not isinstance(step, ContractElements) or max(step.table.output_multiplicities) > 1:
            continue
        mix = readers[step.out][0] if len(readers[step.out]) == 1 else None
        if not isinstance(mix, Mix) or _writers(description, mix.out) != [mix]:
            continue
        out = description.irreps_of[mix.out]
        if out != state_irreps(step.table.output_irreps, out[0].columns):
            continue
        new.radial[step.radial] = _with_mixing(step, mix, weights)
        steps[number] = ContractElements(mix.out, step.table, out[0].columns, step.radial)
        steps.remove(mix)
    return description.replaced(steps), new


def _with_mixing(step: ContractElements, mix: Mix, weights: StepWeights) -> Radial:
    """Radial weights times the matrix of each path's irrep."""
    radial = weights.radial[step.radial]
    mixing = torch.stack([weights.matrices[f"{mix.weights}_{path.irrep}"] for path in step.table.paths])

    def last(kinds: list[int]) -> Tensor:
        matrices = radial.last(kinds)
        by_path = matrices.view(*matrices.shape[:2], step.table.n_paths, -1)
        return torch.einsum("khpc,pcd->khpd", by_path, mixing.to(matrices.dtype)).flatten(2)

    return replace(radial, last=last, network=None)


def hand_out(description: Description, weights: StepWeights) -> Network:
    """The scalars of each of `energy_steps` are handed out where its turn comes, side by side in their order."""
    new, steps, irreps_of = _copied(weights), list[Step](), dict(description.states)
    total = sum(_columns(step, weights) for step in description.steps if isinstance(step, EnergyStep))
    first = 0
    for step in description.steps:
        if isinstance(step, EnergyStep):
            source = step.source if isinstance(step, Readout) else f"{step.weights}_ones"
            if source not in irreps_of:  # of a shift, which is the same for all atoms with neighbours
                new.vectors[source] = torch.ones_like(weights.vectors[step.weights])
                irreps_of[source] = (Block(SCALAR, 1),)
                steps.append(Embed(source, source))
            steps.append(HandOut(source, first, total))
            first += _columns(step, weights)
        steps.append(step)
    return replace(description, states=tuple(irreps_of.items()), steps=tuple(steps)), new


def _columns(step: EnergyStep, weights: StepWeights) -> int:
    return weights.vectors[step.weights].shape[1]


def fold_readouts(description: Description, weights: StepWeights) -> Network:
    """Mixing of which only energies are wanted becomes part of their readout; it stays for what is handed out."""
    steps, new = list(description.steps), _copied(weights)
    readers = _readers(description)
    for step in description.steps:
        if not isinstance(step, Readout):
            continue
        handed_out = [reader for reader in readers[step.source] if isinstance(reader, HandOut)]
        if readers[step.source] != [*handed_out, step]:
            continue
        sources = _writers(description, step.source)
        if not all(isinstance(source, Mix) for source in sources):
            continue
        place = steps.index(step)
        steps.remove(step)
        made = []
        for mix in sources:
            assert isinstance(mix, Mix)
            is_invariant = description.irreps_of[mix.source][0].irrep == SCALAR
            if is_invariant:
                name = f"{mix.weights}_{step.weights}"
                new.vectors[name] = weights.vectors[step.weights] @ weights.matrices[f"{mix.weights}_{SCALAR}"].T
                made.append(Readout(mix.source, name))
            if not (is_invariant and handed_out):
                steps.remove(mix)
                place -= 1
        steps[place:place] = made
    return description.replaced(steps), new


def _readers(description: Description) -> dict[str, list[Step]]:
    readers: dict[str, list[Step]] = defaultdict(list)
    for step in description.steps:
        for name in step.reads:
            readers[name].append(step)
    return readers


def _writers(description: Description, name: str) -> list[Step]:
    return [step for step in description.steps if step.out == name]


def _copied(weights: StepWeights) -> StepWeights:
    return StepWeights(weights.kind_of_pair, dict(weights.matrices), dict(weights.vectors), dict(weights.radial))
