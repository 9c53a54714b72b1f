"""Commands within the process of the tests, and a small untrained model for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ase_nbody.architectures import architectures
from ase_nbody.cli import main
from ase_nbody.model_file import model_information, save_model
from ase_nbody.potential import Potential


def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of nbody with some arguments."""
    monkeypatch.setattr(sys, "argv", ["nbody", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    captured = capsys.readouterr()
    return stopped.value.code or 0, captured.out, captured.err


def tiny_model(folder: Path, elements: tuple[str, ...], **information: Any) -> Path:
    """An untrained network, scaled so that its forces are some tenths of eV/angstrom."""
    nbody = architectures()["nbody"]
    settings = nbody.settings(elements=elements, cutoff=4.0, channels=8, radial_width=8, max_degree_edges=2)
    network = nbody.network(settings, generator=torch.Generator().manual_seed(0)).double()
    potential = Potential(network, dict.fromkeys(elements, -1.0), energy_scale=0.1)
    header = model_information(potential, name="tiny", reference_energies_source="given", method="none", **information)
    return save_model(folder / "tiny.safetensors", potential, header)
