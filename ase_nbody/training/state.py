"""TrainingState: all that changes while training, and its form as tensors and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import Parameter

from ase_nbody.architectures.base import Network
from ase_nbody.training.history_row import HistoryRow, history_row
from ase_nbody.training.muon import Muon
from ase_nbody.training.settings import FittingSettings


@dataclass
class Counters:
    """Where a training stands.

    Attributes:
        epoch: passes over the data that are complete.
        batch: batches taken of the current pass.
        step: steps taken.
        seconds: time spent, seconds.
        loss_sum: sum of the losses since the last validation.
        loss_count: number of them.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0

    def advance(self, loss: float, batches: int) -> None:
        """Count one step of a pass that has this many batches."""
        self.step += 1
        self.batch += 1
        self.loss_sum += loss
        self.loss_count += 1
        if self.batch == batches:
            self.epoch += 1
            self.batch = 0


@dataclass
class TrainingState:
    """All that changes while training.

    Attributes:
        network: the network that is trained.
        optimizers: hold the moments of its gradients.
        averaged: exponential moving average of its parameters, by name.
        beside: what the objective learns beside the network, by name.
        terms: parameters of other terms of the potential, by name.
        best: averaged parameters with the lowest score so far, and parameters of terms then, by name; empty before the
            first validation.
        counters: where the training stands.
        history: validations so far.
    """

    network: Network
    optimizers: tuple[torch.optim.Optimizer, ...]
    averaged: dict[str, Tensor]
    beside: dict[str, Parameter] = field(default_factory=dict)
    terms: dict[str, Parameter] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    counters: Counters = field(default_factory=Counters)
    history: list[HistoryRow] = field(default_factory=list)

    def learnt(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters that steps change, with the names that a checkpoint has for them."""
        yield from ((f"network.{name}", parameter) for name, parameter in self.network.named_parameters())
        yield from ((f"lessons.{name}", parameter) for name, parameter in self.beside.items())
        yield from ((f"terms.{name}", parameter) for name, parameter in self.terms.items())

    def zero_gradients(self) -> None:
        """Forget the gradients of all that is learnt."""
        for _, parameter in self.learnt():
            parameter.grad = None

    def average(self, decay: float) -> None:
        """Move the averaged parameters towards the network's; in the first steps faster than `decay` says.

        The early decay (1 + step) / (10 + step) is TensorFlow's ExponentialMovingAverage with num_updates.
        """
        step = self.counters.step
        weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.values()), list(self.network.parameters()), weight)

    def take_best(self) -> None:
        """Put the best parameters into the network and the other terms."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(self.best[name])
            for name, parameter in self.terms.items():
                parameter.copy_(self.best[f"terms.{name}"])

    def record(self, row: HistoryRow) -> bool:
        """Keep a validation and, if its score is the lowest, the averaged parameters; whether it is the lowest."""
        lowest = row.score < min((earlier.score for earlier in self.history), default=float("inf"))
        if lowest:
            self.best = {name: tensor.clone() for name, tensor in self.averaged.items()}
            self.best |= {f"terms.{name}": tensor.detach().clone() for name, tensor in self.terms.items()}
        self.history.append(row)
        self.counters.loss_sum, self.counters.loss_count = 0.0, 0
        return lowest


def initial_state(
    network: Network,
    settings: FittingSettings,
    beside: dict[str, Parameter],
    terms: dict[str, Parameter] | None = None,
) -> TrainingState:
    """The state before the first step, with averaged parameters equal to the network's.

    Args:
        network: that is trained.
        settings: of its optimizers.
        beside: what the objective learns beside it; it does not decay.
        terms: parameters of other terms of the potential, likewise.
    """
    optimizers = network_optimizers(
        network, settings.optimizer, learning_rate=settings.learning_rate, weight_decay=settings.weight_decay
    )
    averaged = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizers += further_optimizers([*beside.values(), *(terms or {}).values()], settings.learning_rate)
    return TrainingState(network, optimizers, averaged, beside, terms or {})


def further_optimizers(parameters: Sequence[Parameter], learning_rate: float) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW without decay for what is learnt beside a network; none where there is nothing."""
    return (torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0),) if parameters else ()


def network_optimizers(
    network: Network, name: Literal["muon", "adamw"], *, learning_rate: float, weight_decay: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the mixing matrices and AdamW with AMSGrad for all other parameters, or AdamW for all.

    Parameters that want no gradient are in none of them.

    Args:
        network: whose parameters are changed.
        name: "muon" or "adamw".
        learning_rate: of both.
        weight_decay: decoupled, per step and learning rate.
    """
    matrices = [m for m in network.mixing_matrices() if m.requires_grad] if name == "muon" else []
    of_muon = {id(matrix) for matrix in matrices}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in of_muon]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices, learning_rate, weight_decay=weight_decay))
    if rest:
        optimizers.append(
            torch.optim.AdamW(rest, lr=learning_rate, weight_decay=weight_decay, amsgrad=True, fused=True)
        )
    return tuple(optimizers)


def state_tensors(state: TrainingState) -> dict[str, Tensor]:
    """The tensors of a state by name: network, what is learnt beside it, averaged, best and optimizer."""
    tensors = {}
    for name, parameter in state.learnt():
        tensors[name] = parameter.detach()
        for optimizer in state.optimizers:
            if parameter in optimizer.state:
                moments = optimizer.state[parameter].items()
                tensors.update({f"optimizer.{k}.{name.removeprefix('network.')}": v for k, v in moments})
    tensors.update({f"averaged.{name}": tensor for name, tensor in state.averaged.items()})
    tensors.update({f"best.{name}": tensor for name, tensor in state.best.items()})
    return tensors


def state_numbers(state: TrainingState) -> dict[str, Any]:
    """The rest of a state, for JSON."""
    return {"counters": asdict(state.counters), "history": [row.to_json_dict() for row in state.history]}


def restore(state: TrainingState, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put the tensors and numbers of an earlier state into this one, which has the same network."""
    with torch.no_grad():
        owners = {p: o for o in state.optimizers for group in o.param_groups for p in group["params"]}
        for name, parameter in state.learnt():
            parameter.copy_(tensors[name])
            owners[parameter].state[parameter] = {
                key.split(".")[1]: tensor.to(parameter.device)
                for key, tensor in tensors.items()
                if key.startswith("optimizer.") and key.split(".", 2)[2] == name.removeprefix("network.")
            }
        for name, averaged in state.averaged.items():
            averaged.copy_(tensors[f"averaged.{name}"])
    best = {key.removeprefix("best."): tensor for key, tensor in tensors.items() if key.startswith("best.")}
    places = {**state.averaged, **{f"terms.{name}": parameter for name, parameter in state.terms.items()}}
    state.best = {name: tensor.to(places[name].device) for name, tensor in best.items()}
    state.counters = Counters(**numbers["counters"])
    state.history = [history_row(row) for row in numbers["history"]]
