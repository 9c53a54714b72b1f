"""The adapted model: its potential with repulsion, and what its file says of start, method, errors and envelope."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ase_nbody.data import Dataset, Statistics, statistics
from ase_nbody.meta.adapt import Adaptation
from ase_nbody.meta.held_out import Row
from ase_nbody.model_file import DataFile, ModelInformation, model_information
from ase_nbody.onsets import repulsion_onsets
from ase_nbody.potential import Potential
from ase_nbody.repulsion import Repulsion
from ase_nbody.training.finish import envelope_of


@dataclass(frozen=True)
class StartModel:
    """The model that is adapted.

    Attributes:
        potential: of the model.
        information: header of its file; None where there is no file.
        sha256: hash of its file; None likewise.
        name: of the model.
    """

    potential: Potential
    information: ModelInformation | None
    sha256: str | None
    name: str

    @property
    def licence(self) -> str | None:
        """Licence of the model, which what is made of it keeps."""
        return None if self.information is None else self.information.licence

    def to_json_dict(self) -> dict[str, Any]:
        """Name, level of theory, hash and data of the model as JSON values."""
        files = () if self.information is None else self.information.data
        data = [file.model_dump(mode="json") for file in files]
        level = None if self.information is None else self.information.method
        return {"name": self.name, "level_of_theory": level, "sha256": self.sha256, "data": data}


def adapted_model(
    adaptation: Adaptation,
    origin: StartModel,
    data: Dataset,
    *,
    name: str,
    level: str | None,
    command: str | None = None,
    auxiliary: Dataset | None = None,
) -> tuple[Potential, ModelInformation]:
    """A potential with the start's repulsion beyond what the structures have, and its information.

    The envelope is that of the structures alone: what the start was shown says nothing of weights that have changed, or
    of another level of theory. The repulsion sets in below the closest distances of both.

    Args:
        adaptation: what was found.
        origin: the start.
        data: the structures.
        name: of the new model.
        level: of theory of the structures; None: what they say.
        command: that asked for it.
        auxiliary: structures whose forces at another level of theory were learnt beside.
    """
    own = adaptation.referenced.potential
    own.network.requires_grad_(False)
    of_data = statistics(data, own.reference_energies, own.network.settings.cutoff)
    potential = replace(own, repulsion=Repulsion(repulsion_onsets(own, _closest(of_data, origin))))
    files = DataFile(name=Path(data.source).name, sha256=data.sha256, role="train", n_structures=len(data))
    information = model_information(
        potential,
        name=name,
        reference_energies_source=adaptation.referenced.source,
        method=level or data.level_of_theory,
        licence=origin.licence,
        purpose=f"structures like the {len(data)} of {files.name}, which it was adapted to",
        not_for="structures unlike those: that its start knew them proves nothing here",
        label_source=data.label_source,
        data=(files,),
        errors=_held_out(adaptation),
        envelope=envelope_of(of_data),
        training=_record(adaptation, origin, data, command) | _auxiliary(auxiliary),
    )
    return potential, information


def _held_out(adaptation: Adaptation) -> dict[str, dict[str, Any]]:
    """Errors before and after."""
    rows = {"held out, the start": adaptation.rows[0], "held out": adaptation.chosen}
    return {name: row.report.to_json_dict() for name, row in rows.items()}


def _closest(of_data: Statistics, origin: StartModel) -> dict[str, float]:
    """Closest distances of the structures and of the start's data, angstrom, by pair."""
    ours = of_data.closest_distances
    starts = {} if origin.information is None else origin.information.envelope.closest_distances
    return {pair: min(d[pair] for d in (ours, starts) if pair in d) for pair in sorted({*ours, *starts})}


def _record(adaptation: Adaptation, origin: StartModel, data: Dataset, command: str | None) -> dict[str, Any]:
    held_out, n_folds = adaptation.n_held_out
    return {
        "command": command,
        "start": origin.to_json_dict(),
        "adaptation": {
            "method": adaptation.chosen.candidate.name,
            "new_elements": dict(adaptation.new_elements),
            "reason": adaptation.reason,
            "held_out_structures": held_out,
            "folds": n_folds,
            "tried": [_tried(row) for row in adaptation.rows],
        },
        "seconds": adaptation.seconds,
        "steps": adaptation.steps,
        "n_structures": len(data),
    }


def _auxiliary(dataset: Dataset | None) -> dict[str, Any]:
    if dataset is None:
        return {}
    file = {"name": Path(dataset.source).name, "sha256": dataset.sha256, "n_structures": len(dataset)}
    return {"auxiliary": {**file, "level_of_theory": dataset.level_of_theory}}


def _tried(row: Row) -> dict[str, Any]:
    written = row.report.to_json_dict()
    return {
        "method": row.candidate.name,
        "score": row.score,
        **{name: written[name] for name in (errors.name_of("mae") for errors in row.errors)},
        "steps": row.steps,
        "seconds": row.seconds,
        "compared": row.compared,
    }
