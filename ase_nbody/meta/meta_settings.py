"""MetaTrainingSettings: everything that decides how a start is meta-trained."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ase_nbody.training.settings import TrainingSettings


class InnerSettings(BaseModel):
    """Settings of the adaptation to one system, the inner loop. Frozen; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["fomaml", "maml", "reptile"] = Field(
        default="fomaml",
        description="maml: through the inner loop, with second derivatives; fomaml: without; reptile: along its path",
    )
    adapted: Literal["all", "radial", "readout"] = Field(
        default="all", description="parameters that the inner loop changes"
    )
    steps: int = Field(default=3, ge=1, description="steps of gradient descent")
    rate: float = Field(default=0.01, gt=0, description="rate of these steps")
    learned_rates: bool = Field(
        default=False,
        description="learn a rate for each group of parameters (radial, mixing, readout, rest), from `rate` on",
    )
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient of a step")
    support: int = Field(default=10, ge=1, description="structures of a system that the inner loop learns")
    query: int = Field(default=10, ge=1, description="other structures of it that judge the result")

    @model_validator(mode="after")
    def _rates_have_gradients(self) -> Self:
        if self.learned_rates and self.method == "reptile":
            raise ValueError(
                "reptile has no gradient by the rates; set method to fomaml or maml, or leave learned_rates"
            )
        return self


class MetaTrainingSettings(TrainingSettings):
    """Settings of one meta-training: those of a training, whose batches are of systems, and the inner loop."""

    batch_size: int = Field(default=4, ge=1, description="systems per step")
    inner: InnerSettings = Field(default_factory=InnerSettings, description="the adaptation to one system")

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        if self.devices != 1:
            raise ValueError(f"a meta-training runs on one device, not on {self.devices}; leave out devices")
        return self
