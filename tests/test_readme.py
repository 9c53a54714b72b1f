"""The README is true: its example runs as pasted, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from ase_nbody.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def command_lines(text: str) -> list[list[str]]:
    """Command lines of nbody in code blocks of a shell, as words."""
    lines = (line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S) for line in block.splitlines())
    return [shlex.split(line, comments=True) for line in lines if line.startswith("nbody ")]


def mentioned_commands(text: str) -> list[list[str]]:
    """Command lines of nbody within sentences, as words."""
    return [found.split() for found in re.findall(r"`(nbody [a-z][^`]*)`", text)]


def options(command: str) -> set[str]:
    parameters = COMMANDS[command].params
    return {"--help", *(option for p in parameters for option in (*p.opts, *p.secondary_opts))}


def anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.skipif(
    not (ROOT / "models" / "organic.safetensors").exists(), reason="models/organic.safetensors is absent"
)
def test_examples_run_as_pasted_one_after_another(tmp_path):
    examples = blocks("python")
    assert len(examples) == 1
    assert len([line for line in examples[0].splitlines() if line]) <= 10
    command = [sys.executable, "-W", "error", "-c", "".join(examples)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert re.fullmatch(r"energy -\d+\.\d{3} eV, largest force \d\.\d{3} eV/Å", lines[0])
    assert re.fullmatch(r"after 100 fs: energy -\d+\.\d{3} eV, temperature \d+ K", lines[1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", command_lines(README), ids=" ".join)
def test_command_lines_can_be_parsed(words):
    """Every option exists, has a value that is allowed, and none that is required is missing."""
    context = COMMANDS[words[1]].make_context(words[1], words[2:])
    assert context.args == [] and context.params


def test_the_tour_shows_every_command():
    assert {words[1] for words in command_lines(README)} == COMMANDS.keys()


def test_a_command_with_an_option_that_is_not_there_is_found():
    with pytest.raises(Exception, match="No such option"):
        COMMANDS["md"].make_context("md", "CH3CH2OH --model organic --output o.traj --colour red".split())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_mentioned_commands_have_their_options(name):
    for words in mentioned_commands((ROOT / name).read_text(encoding="utf-8")):
        used = {word for word in words if word.startswith("--")}
        assert used <= options(words[1]), words


@pytest.mark.parametrize("name", DOCUMENTS)
def test_mentioned_options_exist(name):
    known = set().union(*(options(command) for command in COMMANDS))
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"`(--[a-z-]+)", text)) <= known


@pytest.mark.parametrize("name", DOCUMENTS)
def test_targets_of_make_exist(name):
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))
    text = (ROOT / name).read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    anchors = {anchor(heading) for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_the_readme_is_short():
    assert len(README.splitlines()) < 150


def test_pictures_are_small():
    assert all(picture.stat().st_size < 300_000 for picture in (ROOT / "docs").glob("*.png"))
