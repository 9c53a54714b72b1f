"""Excursions: what is said of structures outside a model's training, once for each kind and structure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ase_nbody.envelope import EnvelopeReport, OutsideTrainingError, OutsideTrainingWarning
from ase_nbody.graph import Graph


class Excursions:
    """Reports of structures outside the training, the first of each kind and structure.

    Args:
        outside: "warn" (an OutsideTrainingWarning), "raise" (an OutsideTrainingError) or "ignore".

    Attributes:
        outside: as given.
        reports: so far.
    """

    def __init__(self, outside: str) -> None:
        self.outside = outside
        self.reports: list[EnvelopeReport] = []
        self._said: set[tuple[str, bytes]] = set()

    def note(self, graph: Graph, found: Mapping[int, EnvelopeReport], numbers: Sequence[int] | None = None) -> None:
        """Warn or raise.

        Args:
            graph: B structures.
            found: reports of those outside, by number.
            numbers: those of a list given by the user, (B,).

        Raises:
            OutsideTrainingError: as said.
        """
        for place, report in found.items():
            if numbers is not None:
                report = replace(report, formula=f"structure {numbers[place]} ({report.formula})")
            if self.outside == "raise":
                raise OutsideTrainingError(report)
            atoms = graph.structure == place
            structure = graph.atomic_numbers[atoms].cpu().numpy().tobytes() + bytes(graph.pbc[place].tolist())
            new = {(kind, structure) for kind in report.kinds} - self._said
            if new:
                self._said |= new
                self.reports.append(report)
                warnings.warn(str(report), OutsideTrainingWarning, stacklevel=2)
