"""Further terms fitted by L-BFGS to labels of what they predict, beside the closed form, which takes no steps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import LBFGS

from ase_nbody.meta.fitting import Structures
from ase_nbody.potential import Potential, further_predictions
from ase_nbody.predictions import Prediction, Targets
from ase_nbody.training.loss import LossWeights, loss

EVALUATIONS = 100


def fit_terms(potential: Potential, structures: Structures, weights: LossWeights) -> None:
    """Fit the parameters of terms without energy, in place; those of other terms change energies, and stay.

    Args:
        potential: whose terms are changed.
        structures: labelled.
        weights: of the loss.
    """
    constant = [term for term in potential.others if term.constant]
    parameters = [p for term in constant for p in term.learnt_parameters.values() if p.requires_grad]
    if not parameters or not structures.scales:
        return
    batches = [
        (batch.graph, Targets({kind: batch.targets.labels[kind] for kind in structures.scales}))
        for batch in structures.batches()
    ]
    optimizer = LBFGS(parameters, max_iter=EVALUATIONS, max_eval=EVALUATIONS, line_search_fn="strong_wolfe")
    none = torch.zeros(0)

    def value() -> Tensor:
        optimizer.zero_grad()
        predictions = [
            Prediction(none, none, none, none, further_predictions(potential.others, graph)) for graph, _ in batches
        ]
        total = torch.stack(
            [loss(p, targets, graph, weights) for p, (graph, targets) in zip(predictions, batches, strict=True)]
        ).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(value)  # type: ignore[no-untyped-call]
