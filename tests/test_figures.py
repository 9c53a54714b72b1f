"""Figures that show a preset are drawn from the preset as it is."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
from pathlib import Path

import pytest

from ase_nbody.architectures import architectures

ROOT = Path(__file__).parent.parent
FIGURE = ROOT / "docs" / "composition_scheme.png"


def texts(path: Path) -> dict[str, str]:
    """The texts in a PNG file by keyword (chunks tEXt and iTXt of the PNG specification, uncompressed)."""
    data, place, found = path.read_bytes(), 8, {}
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind in (b"tEXt", b"iTXt"):
            keyword, text = content.split(b"\0", 1)
            found[keyword.decode()] = text.lstrip(b"\0").decode()
        place += length + 12
    return found


def test_the_figure_of_the_composition_scheme_shows_the_preset_as_it_is():
    """If this fails, `make figures` draws it again; look at the picture, and at the README's words beside it."""
    nbody = architectures()["nbody"]
    now = nbody.settings(elements=("H", "C", "O"), **{**nbody.presets["medium"], "cutoff": 2.0})
    assert json.loads(texts(FIGURE)["Preset"]) == now.model_dump(mode="json")


@pytest.mark.parametrize("name", ["layers", "dataflow"])
def test_figures_of_the_package_show_it_as_it_is(name, monkeypatch):
    """If this fails, `make figures` draws them again; look at the pictures, and at the words of docs/evaluation.md."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks" / "figures")
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / "figures" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    drawn = (ROOT / "docs" / "figures" / f"{name}.svg").read_text(encoding="utf-8")
    assert re.search(r"<dc:description>(.*?)</dc:description>", drawn)[1] == module.shown()
