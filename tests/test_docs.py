"""The documentation is true: its examples run, its commands exist, its links lead somewhere, and the site builds."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch
import typer

from ase_nbody.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
COMMANDS = typer.main.get_command(app).commands
QUICK = {  # the examples of other pages run with the slow tests
    "index.md",
    "model_files.md",
    "new_architecture.md",
    "outside.md",
    "start.md",
    "theory.md",
    "which_model.md",
}
LARGEST_PICTURE = 200_000  # bytes


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def with_blocks(language: str):
    """Pages that have code blocks of a language; those that take long are marked."""
    return [
        pytest.param(page, marks=pytest.mark.slow if language == "python" and page not in QUICK else ())
        for page in PAGES
        if blocks(page, language)
    ]


@pytest.mark.parametrize("page", with_blocks("python"))
def test_examples_run_as_pasted_one_after_another(page, tmp_path):
    code = "".join(blocks(page, "python"))
    command = [sys.executable, "-W", "error", "-c", code]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def command_lines(page: str) -> list[list[str]]:
    lines = (line for block in blocks(page, "sh") for line in block.splitlines())
    return [shlex.split(line, comments=True) for line in lines if line.startswith("nbody ")]


@pytest.mark.parametrize("words", [words for page in PAGES for words in command_lines(page)], ids=" ".join)
def test_command_lines_can_be_parsed(words):
    """Every option exists, has a value that is allowed, and none that is required is missing."""
    context = COMMANDS[words[1]].make_context(words[1], words[2:])
    assert context.args == [] and context.params


@pytest.mark.parametrize("page", PAGES)
def test_mentioned_commands_options_and_targets_exist(page):
    options = {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for name, command in COMMANDS.items()
    }
    for mentioned in re.findall(r"`(nbody [a-z][^`]*)`", PAGES[page]):
        name, *words = mentioned.split()[1:]
        assert {word for word in words if word.startswith("--")} <= options[name] | {"--help"}, mentioned
    known = set().union(*options.values(), {"--help"})
    assert set(re.findall(r"`(--[a-z-]+)", PAGES[page])) <= known
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", PAGES[page])) <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", PAGES[page]):
        if not target.startswith("https://"):
            assert ((DOCS / page).parent / target).exists(), target


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    named = set(re.findall(r"^ +- (?!#)(?:[^#\n]*: )?([\w/-]+\.md)$", navigation, flags=re.MULTILINE))
    pages = {*PAGES, *(f"notebooks/{notebook.stem}.md" for notebook in NOTEBOOKS)}
    assert {name for name in named if not name.startswith("repository/")} == pages
    cards = {f"repository/models/{path.name}" for path in (ROOT / "models").glob("*.md")}
    assert {name for name in named if name.startswith("repository/models/")} == cards


def test_every_example_is_listed():
    listed = set(re.findall(r"\]\(\.\./examples/md/(\w+\.py)\)", PAGES["scripts.md"]))
    assert listed == {path.name for path in (ROOT / "examples" / "md").glob("*.py")}


def test_pictures_are_small_and_used():
    pictures = {path for path in DOCS.rglob("*") if path.suffix in {".png", ".svg"}}
    assert all(picture.stat().st_size < LARGEST_PICTURE for picture in pictures)
    text = "\n".join(PAGES.values())
    assert all(picture.name in text for picture in pictures)


def test_the_table_of_arrays_is_that_of_the_program():
    from ase.build import molecule

    from ase_nbody.architectures import architectures
    from ase_nbody.architectures.compiled import load
    from ase_nbody.neighbours import neighbour_graph

    architecture = architectures()["nbody"]
    settings = architecture.settings(elements=("H", "O"), **architecture.presets["medium"])
    network = architecture.network(settings, generator=torch.Generator().manual_seed(0))
    graph = neighbour_graph(molecule("H2O"), settings.cutoff)
    with torch.no_grad():
        program = load(network, frozenset(network.type_of_number[graph.atomic_numbers].tolist())).program
    table = re.search(r"<!-- arrays:begin -->(.*)<!-- arrays:end -->", PAGES["evaluation.md"], flags=re.DOTALL)[1]
    rows = [row.split("|") for row in table.strip().splitlines()[2:]]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row[1])}
    assert told == {re.sub(r"_\d+$", "", array.name) for array in program.arrays}
    phases = {name for row in rows for name in re.findall(r"`(\w+)`", row[4])} - {"load"}
    assert phases == set(program.phases)


def test_the_kernel_shown_is_the_one_that_is_written():
    from ase_nbody.algebra import Irrep, product_table
    from ase_nbody.compiler.kernel_settings import KernelSettings
    from ase_nbody.kernels.product_code import products

    vector, scalar = Irrep(1, -1), Irrep(0, 1)
    table = product_table((vector,), (vector,), (scalar,))
    (shown,) = blocks("evaluation.md", "llvm")
    assert shown.strip() == products(table, KernelSettings(bits=64, channels=2)).text().strip()


@cache
def notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_with_outputs_and_without_errors(path):
    cells = [cell for cell in notebook(path)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert path.stat().st_size < 500_000
    assert str(ROOT) not in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's packages
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path):
    pytest.importorskip("ipykernel")
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    content = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(content, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()


@pytest.mark.slow
def test_the_site_builds_without_a_network(tmp_path):
    """Strictly, and no page asks any host for a script, a style, a font or a picture."""
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    offline = "import socket, sys\nsocket.socket.connect = None\nfrom mkdocs.__main__ import cli\ncli(sys.argv[1:])"
    command = [sys.executable, "-c", offline, "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        assert not requests(page.read_text(encoding="utf-8")), page


def requests(html: str) -> list[str]:
    """Addresses of hosts that a page fetches by itself; links to follow are none."""
    fetched = r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?(https?://[^\"\s>]*)"
    styled = r"<link\b(?=[^>]*\brel=\"?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=\"?(https?://[^\"\s>]*)"
    return re.findall(fetched, html) + re.findall(styled, html)


def test_the_check_of_requests_finds_them():
    assert requests('<script src="https://example.org/a.js">') and requests("<img alt=a src=https://example.org/a.png>")
    assert requests('<link rel="stylesheet" href="https://example.org/a.css">')
    assert not requests('<a href="https://example.org">')
