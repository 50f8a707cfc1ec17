"""What docs/ says of the commands is what their help says; what it links to is there."""

import enum
import re
import shlex
from pathlib import Path
from typing import Annotated

import pytest
import typer
import typer.main

from tests.support.repository import ROOT, script

generator = script("docs/commands.py")
COMMANDS = generator.commands()
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
REMEDY = "run `make docs` and commit docs/commands"


def test_every_command_has_its_page_and_every_page_its_command() -> None:
    found = {path.name for path in generator.FOLDER.iterdir()}
    assert found == {f"{name}.md" for name in COMMANDS} | {generator.INDEX}, REMEDY


@pytest.mark.parametrize("name", generator.pages())
def test_a_page_says_what_the_help_says(name: str) -> None:
    written = (generator.FOLDER / name).read_text("utf-8")
    assert written == generator.pages()[name], REMEDY


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_and_each_option_is_for(name: str) -> None:
    command = COMMANDS[name]
    text = generator.page(name, command)
    assert generator.paragraphs(command), "its help says what it does"
    assert not re.search(r"\|\s*\|$", text, re.MULTILINE), "each option has help"
    for option in command.params:
        assert all(f"`{each}`" in text for each in option.opts if each.startswith("-"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_takes_its_own_examples(name: str) -> None:
    examples = generator.examples(COMMANDS[name])
    assert examples, "its help has a paragraph `Example: tune ...`"
    for example in examples:
        program, called, *arguments = words_of_command(example)
        assert (program, called) == ("tune", name)
        COMMANDS[name].make_context(name, arguments)  # raises what a user would read


def words_of_command(line: str) -> list[str]:
    """What a command gets of a line for the shell: nothing behind a pipe or a redirection."""
    words = shlex.split(line, comments=True)
    return words[: next((n for n, word in enumerate(words) if word in ("|", ">", "<")), None)]


class Size(enum.StrEnum):
    small = "small"
    large = "large"


def measure(
    files: Annotated[list[Path], typer.Argument(help="What to measure.")],
    size: Annotated[Size, typer.Option(help="With a | in it.")] = Size.large,
    wet: Annotated[bool, typer.Option("--wet/--dry", help="In water.")] = True,
    limit: Annotated[float | None, typer.Option("--limit", "-l", help="At most.")] = None,
) -> None:
    """Measure it.

    It takes a while,
    or not.

    Example: measure a --wet
    """


def test_a_page_holds_all_of_the_help() -> None:
    app = typer.Typer(add_completion=False)
    app.command()(measure)
    page = generator.page("measure", typer.main.get_command(app))
    for line in (
        "tune measure [OPTIONS] FILES...",
        "It takes a while, or not.",
        "measure a --wet",
        "| `FILES` | required | What to measure. |",
        "| `--size` `small`, `large` | `large` | With a \\| in it. |",
        "| `--wet` `--dry` | `--wet` | In water. |",
        "| `--limit` `-l` NUMBER |  | At most. |",
    ):
        assert line in page.splitlines()


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_text_links_to_is_there(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file = target.partition("#")[0]
            assert not file or (path.parent / file).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_that_a_text_shows_are_taken(path: Path) -> None:
    lines = re.findall(r"^(?: {4})?tune [^\[\n]*$", path.read_text("utf-8"), re.MULTILINE)
    for line in lines:
        _, name, *arguments = words_of_command(line.strip())
        if not name.startswith("-"):
            COMMANDS[name].make_context(name, arguments)
