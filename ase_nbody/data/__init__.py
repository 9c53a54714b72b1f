"""Data: reading labelled structures, splits, reference energies, statistics, samples and errors."""

from ase_nbody.data.dataset import Dataset, Labels
from ase_nbody.data.errors import ErrorReport, Evaluation, energy_shifts, error_report, evaluate
from ase_nbody.data.plots import parity_plot
from ase_nbody.data.reading import labelled_dataset, read_dataset, read_structures
from ase_nbody.data.reference_energies import (
    ReferenceEnergies,
    all_isolated_energies,
    is_isolated_atom,
    isolated_atoms,
    isolated_energies,
    reference_energies,
    without_isolated_atoms,
)
from ase_nbody.data.samples import Sample, batch_samples, batches_of_samples, samples, targets
from ase_nbody.data.shifts import CompositionShift, shift_words
from ase_nbody.data.splits import default_validation_size, merge, split
from ase_nbody.data.statistics import Statistics, statistics

__all__ = [
    "CompositionShift",
    "Dataset",
    "ErrorReport",
    "Evaluation",
    "Labels",
    "ReferenceEnergies",
    "Sample",
    "Statistics",
    "all_isolated_energies",
    "batch_samples",
    "batches_of_samples",
    "default_validation_size",
    "energy_shifts",
    "error_report",
    "evaluate",
    "is_isolated_atom",
    "isolated_atoms",
    "isolated_energies",
    "labelled_dataset",
    "merge",
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
