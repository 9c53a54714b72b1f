"""Data: reading labelled structures, splits, reference energies, statistics, samples and errors.

Names are imported on first use, so that what reads structures does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase_nbody.data.dataset import Dataset, Labels
    from ase_nbody.data.dataset_references import (
        ReferenceEnergies,
        all_isolated_energies,
        is_isolated_atom,
        isolated_atoms,
        isolated_energies,
        reference_energies,
        without_isolated_atoms,
    )
    from ase_nbody.data.dataset_statistics import Statistics, statistics
    from ase_nbody.data.errors import ErrorReport, energy_shifts, error_report, error_words, evaluate
    from ase_nbody.data.evaluation import Compared, Evaluation, not_predicted
    from ase_nbody.data.graph_samples import Sample, batch_samples, batches_of_samples, samples, targets
    from ase_nbody.data.mean_errors import MeanErrors
    from ase_nbody.data.packed_samples import PackedSamples
    from ase_nbody.data.plots import parity_plot
    from ase_nbody.data.reading import labelled_dataset, read_dataset, read_structures
    from ase_nbody.data.shifts import CompositionShift, shift_words
    from ase_nbody.data.splits import default_validation_size, merge, split

__all__ = [
    "Compared",
    "CompositionShift",
    "Dataset",
    "ErrorReport",
    "Evaluation",
    "Labels",
    "MeanErrors",
    "PackedSamples",
    "ReferenceEnergies",
    "Sample",
    "Statistics",
    "all_isolated_energies",
    "batch_samples",
    "batches_of_samples",
    "default_validation_size",
    "energy_shifts",
    "error_report",
    "error_words",
    "evaluate",
    "is_isolated_atom",
    "isolated_atoms",
    "isolated_energies",
    "labelled_dataset",
    "merge",
    "not_predicted",
    "parity_plot",
    "read_dataset",
    "read_structures",
    "reference_energies",
    "samples",
    "shift_words",
    "split",
    "statistics",
    "targets",
    "without_isolated_atoms",
]

_MODULES = {
    "Compared": "evaluation",
    "CompositionShift": "shifts",
    "Dataset": "dataset",
    "ErrorReport": "errors",
    "Evaluation": "evaluation",
    "Labels": "dataset",
    "MeanErrors": "mean_errors",
    "PackedSamples": "packed_samples",
    "ReferenceEnergies": "dataset_references",
    "Sample": "graph_samples",
    "Statistics": "dataset_statistics",
    "all_isolated_energies": "dataset_references",
    "batch_samples": "graph_samples",
    "batches_of_samples": "graph_samples",
    "default_validation_size": "splits",
    "energy_shifts": "errors",
    "error_report": "errors",
    "error_words": "errors",
    "evaluate": "errors",
    "is_isolated_atom": "dataset_references",
    "isolated_atoms": "dataset_references",
    "isolated_energies": "dataset_references",
    "labelled_dataset": "reading",
    "merge": "splits",
    "not_predicted": "evaluation",
    "parity_plot": "plots",
    "read_dataset": "reading",
    "read_structures": "reading",
    "reference_energies": "dataset_references",
    "samples": "graph_samples",
    "shift_words": "shifts",
    "split": "splits",
    "statistics": "dataset_statistics",
    "targets": "graph_samples",
    "without_isolated_atoms": "dataset_references",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"ase_nbody.data.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ase_nbody.data' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
