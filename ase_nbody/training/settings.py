"""TrainingSettings: everything that decides how a potential is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, ValidationError, field_validator, model_validator

from ase_nbody.architectures.theory import OwnParts


class FittingSettings(BaseModel):
    """Settings of the steps of a training. Frozen; unknown names are errors.

    Averaged weights, clipped gradients and AMSGrad, where AdamW is used, follow MACE's defaults (Batatia et al. 2022,
    doi 10.48550/arXiv.2206.07697, appendix A.5).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    batch_size: int = Field(default=5, ge=1, description="structures per step and device")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="decides initial weights, split and order of the structures"
    )

    optimizer: Literal["muon", "adamw"] = Field(
        default="muon", description="muon: orthogonalised steps of the mixing matrices and AdamW elsewhere"
    )
    learning_rate: float = Field(default=0.005, gt=0, description="largest learning rate, reached after the warm-up")
    warm_up: float = Field(default=0.02, ge=0, lt=1, description="fraction of the budget in which the rate rises")
    final_learning_rate: float = Field(
        default=0.001, ge=0, le=1, description="learning rate at the end as a fraction of the largest; a cosine before"
    )
    ema_decay: float = Field(default=0.99, ge=0, lt=1, description="decay per step of the averaged weights")
    gradient_clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient of the loss")
    weight_decay: float = Field(default=0.0, ge=0, description="decoupled weight decay per step and learning rate")

    energy_weight: float = Field(default=10.0, ge=0, description="weight of squared errors of the energy per atom")
    forces_weight: float = Field(default=1.0, ge=0, description="weight of squared errors of force components")
    stress_weight: float = Field(default=0.1, ge=0, description="weight of squared errors of the virial per atom")

    further_weights: Mapping[str, NonNegativeFloat] = Field(
        default_factory=dict,
        description="weights of squared errors of what terms predict beside these, by its name; 1 where not given",
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not any((self.energy_weight, self.forces_weight, self.stress_weight, *self.further_weights.values())):
            raise ValueError("all weights of the loss are zero; give energy_weight or forces_weight a positive value")
        return self


class TrainingSettings(FittingSettings):
    """Settings of one training."""

    data: tuple[Path, ...] = Field(
        default=(), description="files to train on; several are merged, and one given n times counts n times"
    )
    levels: Mapping[str, tuple[Path, ...]] = Field(
        default_factory=dict,
        description="in place of data: files by level of theory, the model's own first; one network learns all",
    )
    own_parts: OwnParts = Field(
        default="readout", description="what each level of theory has for itself; all else is shared"
    )
    valid: Path | None = Field(default=None, description="validation file; none: part of the data is set aside")
    n_valid: int | None = Field(
        default=None, ge=1, description="structures set aside for validation without valid; none: a tenth, at most 200"
    )
    test: tuple[Path, ...] = Field(default=(), description="files evaluated at the end, each by itself")
    isolated_atoms: Path | None = Field(
        default=None, description="file of labelled single atoms, one per element, for the reference energies"
    )
    isolated_energy_key: str | None = Field(
        default=None, description="name of the energy label in isolated_atoms; none: energy_key"
    )
    energy_key: str | None = Field(default=None, description="name of the energy label; none: found in the file")
    forces_key: str | None = Field(default=None, description="name of the forces label; none: found in the file")
    stress_key: str | None = Field(default=None, description="name of the stress label; none: found in the file")

    further_keys: Mapping[str, str] = Field(
        default_factory=dict,
        description="names of the labels of what terms predict beside these, by its name; found in the file otherwise",
    )

    start: str | None = Field(
        default=None, description="shipped model or model file whose network and reference energies are taken over"
    )
    start_level: str | None = Field(
        default=None, description="level of theory of the start; none: its first, or all where levels are given"
    )
    architecture: str = Field(default="nbody", description="name of the architecture")
    preset: Literal["small", "medium", "large"] = Field(default="small", description="size of the network")
    model: Mapping[str, Any] = Field(
        default_factory=dict,
        description="settings of the architecture in place of the preset's, such as cutoff (angstrom)",
    )

    minutes: float | None = Field(
        default=None, gt=0, description="budget on the wall clock from reading the data on, minutes; 30 without epochs"
    )
    epochs: int | None = Field(default=None, ge=1, description="passes over the data, in place of minutes")
    validation_atoms: int = Field(default=500, ge=1, description="largest number of atoms in a batch of validation")
    devices: int = Field(default=1, ge=1, description="devices that share the work")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto: cuda where there is one")
    dtype: Literal["float32", "float64"] = Field(default="float32", description="dtype of the network during training")

    checkpoint_seconds: float = Field(default=60.0, ge=0, description="time between checkpoints, seconds")
    method: str | None = Field(default=None, description="level of theory of the labels, kept in the model file")
    repulsion: bool = Field(
        default=True, description="add nuclear repulsion (ZBL) below the closest distances of the training structures"
    )
    purpose: str | None = Field(default=None, description="what the model is for, in words, kept in the model file")
    not_for: str | None = Field(default=None, description="what it is not for, in words, kept in the model file")
    licence: str | None = Field(default=None, description="licence of the model, kept in the model file")
    output: Path = Field(description="model file to write, *.safetensors")
    force: bool = Field(default=False, description="start afresh and overwrite what is there")

    @model_validator(mode="before")
    @classmethod
    def _one_budget(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        if values.get("minutes") is not None and values.get("epochs") is not None:
            raise ValueError("minutes and epochs were both given; give one of them")
        if values.get("minutes") is None and values.get("epochs") is None:
            return {**values, "minutes": 30.0}
        return values

    @field_validator("data", "test", mode="before")
    @classmethod
    def _several_files(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str | Path) else value

    @field_validator("levels", mode="before")
    @classmethod
    def _several_files_of_a_level(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: (files,) if isinstance(files, str | Path) else files for name, files in value.items()}

    @model_validator(mode="after")
    def _data_or_levels(self) -> Self:
        if bool(self.data) == bool(self.levels):
            raise ValueError("give either data, the files to train on, or levels, such files by level of theory")
        if any(not files for files in self.levels.values()):
            raise ValueError("levels: every level of theory needs a file")
        if self.levels:
            for name in ("valid", "method", "isolated_atoms", "start_level"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} is for one level of theory; leave it out, or give data in place of levels"
                    )
        return self

    @field_validator("output")
    @classmethod
    def _suffix(cls, value: Path) -> Path:
        if value.suffix != ".safetensors":
            raise ValueError(f"the output is a model file and must end in .safetensors, not '{value}'")
        return value

    @model_validator(mode="after")
    def _network_from_one_place(self) -> Self:
        decided = [n for n in ("architecture", "preset", "model", "isolated_atoms") if n in self.model_fields_set]
        if self.start is not None and decided:
            raise ValueError(
                f"the start '{self.start}' decides network and reference energies; leave out {', '.join(decided)} "
                "(options --architecture, --preset, --set, --cutoff, --isolated-atoms), or leave out start"
            )
        return self

    @model_validator(mode="after")
    def _key_of_a_file(self) -> Self:
        if self.isolated_energy_key is not None and self.isolated_atoms is None:
            raise ValueError("isolated_energy_key names the energies in isolated_atoms, which is not given; give both")
        return self


Settings = TypeVar("Settings", bound=TrainingSettings)


def training_settings(
    values: Mapping[str, Any],
    config: Path | None = None,
    kind: type[Settings] = TrainingSettings,  # type: ignore[assignment]
) -> Settings:
    """Settings from a YAML file and from values that go before it.

    Args:
        values: settings by name; None means not given.
        config: YAML file of settings by name; its relative paths are relative to the working directory.
        kind: class of the settings.

    Raises:
        ValueError: a name or value that is not allowed, a setting that is missing, or a file that is no YAML mapping.
    """
    given = {name: value for name, value in values.items() if value is not None}
    read = {} if config is None else _read_yaml(config)
    for budget, other in (("minutes", "epochs"), ("epochs", "minutes")):
        if budget in given and other not in given:
            read.pop(other, None)
    if isinstance(read.get("model"), Mapping) and "model" in given:
        given["model"] = {**read["model"], **given["model"]}
    try:
        return kind(**{**read, **given})
    except ValidationError as error:
        raise ValueError(_readable(error, kind)) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the settings file '{path}': {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is not a YAML file of training settings: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' must hold settings such as 'data: frames.xyz', not a {type(content).__name__}")
    return content


def _readable(error: ValidationError, kind: type[TrainingSettings]) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"no such setting; known are {', '.join(kind.model_fields)}"
        came = f" (came: {problem['input']!r})" if name and problem["type"] != "missing" else ""
        lines.append(f"{name}: {message}{came}" if name else message)
    return "training settings: " + "; ".join(lines)
