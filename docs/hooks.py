"""What the site does beyond Markdown: it shows files of the repository that pages link to, notebooks and commands.

A page of `docs/` links to a file outside it as in any checkout, `../models/organic.md`. In the site that file becomes
a page of its own, below `repository/`: Markdown as it is, pictures as they are, and source text as a listing.
"""

from __future__ import annotations

import pkgutil
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbconvert
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from ase_nbody.cli import app

LANGUAGES = {".py": "python", ".sh": "sh", ".yaml": "yaml", ".json": "json", ".xyz": "text", ".txt": "text"}
PICTURES = {".png", ".svg"}
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
COMMANDS = "<!-- commands -->"
FIELDS = re.compile(r"<!-- fields of (\S+) -->")  # of a pydantic class by its full name
FENCE = re.compile(r"(^```.*?^```$)", flags=re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebooks as pages, and the files of the repository that pages link to."""
    root = Path(config.config_file_path).parent
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        for file in notebook_files(notebook, config):
            files.append(file)
    waiting = [*files.documentation_pages(), *files_of_nav(config.nav, config, root)]
    while waiting:
        file = waiting.pop()
        if files.get_file_from_path(file.src_uri) is None:
            files.append(file)
        elif file.src_uri.startswith("repository/"):
            continue
        if file.is_documentation_page():
            place = place_in_repository(file.src_uri)
            waiting += [repository_file(path, config, root) for path in linked(file.content_string, place)]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to files of the repository to their pages, and write out commands and fields of settings."""
    markdown = markdown.replace(COMMANDS, "\n".join(command_tables())) if COMMANDS in markdown else markdown
    markdown = FIELDS.sub(lambda wanted: "\n".join(field_table(wanted[1])), markdown)
    place = place_in_repository(page.file.src_uri)
    root = Path(config.config_file_path).parent

    def pointed(link: re.Match[str]) -> str:
        path = repository_path(link[2], place)
        if path is None:
            return link[0]
        target = page_of_document(path) if path.startswith("docs/") else page_of(path, root)
        return link[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri)) + link[3]

    pieces = FENCE.split(markdown)  # text and code in turn
    pieces[::2] = [LINK.sub(pointed, text) for text in pieces[::2]]
    return "".join(pieces)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show source code that a page asked for, which would wait for a click."""
    return html.replace('<details class="mkdocstrings-source"', '<details class="mkdocstrings-source" open')


def place_in_repository(page: str) -> str:
    """Path of a page's source from the root of the repository."""
    return page.removeprefix("repository/") if page.startswith("repository/") else f"docs/{page}"


def repository_path(target: str, place: str) -> str | None:
    """Path of a link's target from the root of the repository; None for addresses."""
    if ":" in target:
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), target))


def linked(text: str, place: str) -> Iterator[str]:
    """Paths outside docs/ that a page links to."""
    for piece in FENCE.split(text)[::2]:
        for link in LINK.finditer(piece):
            path = repository_path(link[2], place)
            if path is not None and not path.startswith("docs/"):
                yield path


def page_of_document(path: str) -> str:
    """Where the site shows a file of docs/: notebooks become pages."""
    return re.sub(r"\.ipynb$", ".md", path.removeprefix("docs/"))


def page_of(path: str, root: Path) -> str:
    """Where the site shows a file of the repository; a folder by its README.md."""
    if (root / path).is_dir():
        path = posixpath.join(path, "README.md")
    plain = posixpath.splitext(path)[1] in {".md", *PICTURES}
    return f"repository/{path}" + ("" if plain else ".md")


def repository_file(path: str, config: MkDocsConfig, root: Path) -> File:
    """A file of the repository as a page or a picture of the site.

    Raises:
        FileNotFoundError: a link leads nowhere.
    """
    page = page_of(path, root)
    source = root / page.removeprefix("repository/")
    if source.exists():
        return File.generated(config, page, abs_src_path=str(source))
    if not (root / path).exists():
        raise FileNotFoundError(f"a page links to {path}, which is not in the repository")
    language = LANGUAGES.get(posixpath.splitext(path)[1], "text")
    text = (root / path).read_text(encoding="utf-8")
    front = "---\nsearch:\n  exclude: true\n---\n"
    listing = f'{front}# {posixpath.basename(path)}\n\n`{path}`\n\n```{language} linenums="1"\n{text.rstrip()}\n```\n'
    return File.generated(config, page, content=listing)


def files_of_nav(nav: Any, config: MkDocsConfig, root: Path) -> Iterator[File]:
    """Files of the repository that the navigation names."""
    if isinstance(nav, str):
        if nav.startswith("repository/"):
            yield repository_file(nav.removeprefix("repository/"), config, root)
        return
    for entry in nav.values() if isinstance(nav, dict) else nav:
        yield from files_of_nav(entry, config, root)


def notebook_files(notebook: File, config: MkDocsConfig) -> Iterator[File]:
    """A notebook as a Markdown page under its own name, with its pictures beside it."""
    name = posixpath.splitext(notebook.src_uri)[0]
    exporter = nbconvert.MarkdownExporter()
    text, resources = exporter.from_filename(str(notebook.abs_src_path))
    stem = posixpath.basename(name)
    for picture, content in resources["outputs"].items():
        text = text.replace(f"({picture})", f"({stem}_{picture})")
        yield File.generated(config, f"{name}_{picture}", content=content)
    yield File.generated(config, f"{name}.md", content=text)


def command_tables() -> Iterator[str]:
    """Every command with its arguments and options, as `--help` has them."""
    group: Any = typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        context = command.make_context(name, [], resilient_parsing=True)
        yield f"## nbody {name}\n\n{cell(command.help)}\n\n| | | default |\n| --- | --- | --- |"
        for parameter in command.params:
            words = parameter.get_help_record(context)
            if words is not None:
                flags = parameter.name.upper() if parameter.param_type_name == "argument" else " ".join(parameter.opts)
                yield f"| `{flags}` | {cell(parameter.help)} | {default(parameter)} |"
        yield ""


def cell(text: str | None) -> str:
    """A text in one line, with nothing that Markdown or a table would take for its own."""
    return re.sub(r"([|*_<\[])", r"\\\1", " ".join((text or "").split()))


def default(parameter: Any) -> str:
    """What `--help` shows as a default; empty where there is none."""
    if isinstance(parameter.show_default, str):
        return cell(parameter.show_default)
    value = parameter.default
    if parameter.show_default is False or value is None or value is False or callable(value):
        return ""
    return cell(str(getattr(value, "value", value)))


def field_table(name: str) -> Iterator[str]:
    """The fields of a pydantic class with their defaults and descriptions."""
    settings = pkgutil.resolve_name(name)
    yield "| field | default | |\n| --- | --- | --- |"
    for field, information in settings.model_fields.items():
        value = information.get_default(call_default_factory=True)
        shown = "" if information.is_required() or value in (None, (), {}) else f"`{value}`"
        yield f"| `{field}` | {shown} | {cell(information.description)} |"
