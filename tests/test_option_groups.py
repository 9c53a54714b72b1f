"""Commands with options in groups are what they would be with single options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from ase_nbody.cli.option_groups import with_single_options

Name = Annotated[str, typer.Argument(help="Who.", show_default=False)]


@dataclass(frozen=True, kw_only=True)
class Greeting:
    """A group with an option before an argument."""

    times: Annotated[int, typer.Option(min=1, help="How often.")] = 1
    name: Name


@dataclass(frozen=True, kw_only=True)
class Tone:
    """Another group."""

    loud: Annotated[bool, typer.Option("--loud", help="In capitals.")] = False


def said(context: typer.Context, greeting: Greeting, tone: Tone, mark: str = ".") -> None:
    """Greet."""
    text = " ".join([f"hello {greeting.name}{mark}"] * greeting.times)
    source = context.get_parameter_source("times")
    typer.echo(f"{text.upper() if tone.loud else text} {source.name}")


def output(command, *arguments: str) -> str:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, arguments).output


def test_options_reach_their_groups() -> None:
    command = with_single_options(said)
    assert output(command, "Ada") == "hello Ada. DEFAULT\n"
    assert output(command, "--loud", "--mark", "!", "--times", "2", "Ada") == "HELLO ADA! HELLO ADA! COMMANDLINE\n"
    assert "Missing argument" in output(command)
    assert "--times" in output(command, "--times", "0", "Ada")  # refused


def test_the_help_is_that_of_single_options_in_their_order() -> None:
    def single_options(
        context: typer.Context,
        name: Name,
        times: Annotated[int, typer.Option(min=1, help="How often.")] = 1,
        loud: Annotated[bool, typer.Option("--loud", help="In capitals.")] = False,
        mark: str = ".",
    ) -> None:
        """Greet."""

    help_of_groups = output(with_single_options(said), "--help")
    single_options.__name__ = said.__name__
    assert help_of_groups == output(single_options, "--help")
    places = [help_of_groups.index(word) for word in ("Greet.", "--times", "--loud", "--mark")]
    assert places == sorted(places)


def test_a_command_of_single_options_stays_as_it_is() -> None:
    def alone(mark: Annotated[str, typer.Option(help="At the end.")] = ".") -> None:
        """Say nothing."""
        typer.echo(mark)

    assert output(with_single_options(alone), "--mark", "!") == "!\n"
    assert output(with_single_options(alone), "--help") == output(alone, "--help")


def test_two_options_of_one_name_are_refused() -> None:
    def twice(tone: Tone, loud: bool = False) -> None:
        """Not allowed."""

    with pytest.raises(ValueError, match="loud"):
        with_single_options(twice)
