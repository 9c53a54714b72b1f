"""AdaptationSettings: everything that decides how a start is adapted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from ase_nbody.training.settings import FittingSettings

Method = Literal["choose", "start", "readout", "radial", "low-rank", "all"]
FEW = 20
"""Structures below which several folds are held out in turn: one fold of two or three structures says little."""


class AdaptationSettings(FittingSettings):
    """Settings of one adaptation. Frozen; unknown names are errors."""

    method: Method = Field(default="choose", description="what is changed of the start; choose: by held-out errors")
    learning_rate: float = Field(
        default=0.002, gt=0, description="largest learning rate; the default is that of all weights"
    )
    minutes: float = Field(default=5.0, gt=0, description="budget on the wall clock, minutes")
    steps: int | None = Field(default=None, ge=1, description="steps of each training, in place of minutes")
    hold_out: float = Field(default=0.2, gt=0, le=0.5, description="share of the structures that is held out")
    folds: int | None = Field(
        default=None, ge=1, description="parts held out in turn; none: 1, and 3 for less than 20 structures"
    )
    rank: int = Field(default=16, ge=1, description="rank of the updates of low-rank")
    decay: float = Field(
        default=0.1, ge=0, description="decay of the distance to the start, per step and learning rate"
    )
    auxiliary_weight: float = Field(
        default=0.5, gt=0, description="weight of squared errors of force components of auxiliary structures"
    )
    accept_worse: bool = Field(
        default=False, description="keep the model also where the start or a training from scratch is better"
    )

    @model_validator(mode="after")
    def _folds_are_disjoint(self) -> Self:
        if self.folds is not None and self.folds * self.hold_out > 1:
            raise ValueError(
                f"{self.folds} folds of {self.hold_out:g} of the structures are more than there are; lower one of them"
            )
        return self

    def number_of_folds(self, n_structures: int) -> int:
        """Folds that are held out in turn."""
        if self.folds is not None:
            return self.folds
        return 1 if n_structures >= FEW else min(3, int(1 / self.hold_out))
