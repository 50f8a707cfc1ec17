"""The command line: commands in the order of the help, errors as sentences and exit codes."""

import functools
import io
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from tuner.commands import best, board, cache, data, diagnose, predict, report, runs, search
from tuner.environment import check_keras_config, versions
from tuner.errors import InputError, StoppedError, TuneError
from tuner.interrupt import EXIT_CODE


class _Commands(typer.core.TyperGroup):
    """Commands that refuse an empty argument, which would be the current folder, and expand "~"."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, unless a word of the command line is empty."""
        for before, word in zip(["", *args], args, strict=False):
            option, equals, value = word.partition("=")
            if not word or (option.startswith("--") and equals and not value):
                name = option or (before if before.startswith("-") else "an argument")
                _print_error(f"{name} is empty. Is a variable of your script not set?")
                raise typer.Exit(2)
        # A shell leaves "--runs-dir=~/runs" as it is.
        home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
        expand = functools.partial(re.sub, r"^(--[a-z-]+=)?~(?=/|$)", lambda m: (m[1] or "") + home)
        return super().parse_args(ctx, list(map(expand, args)))


app = typer.Typer(
    name="tune",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_COMMANDS = (
    search.search,
    search.resume,
    runs.runs,
    runs.trials,
    board.board,
    best.best,
    report.report,
    predict.predict,
    data.data,
    diagnose.diagnose,
    cache.cache,
)


def main() -> None:
    """Run the command line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    os.environ.pop("PYTHONWARNINGS", None)  # "error" would end this and its child processes
    warnings.simplefilter("ignore")
    sys.stdin = sys.stdin or open(_open_null(os.O_RDONLY))  # noqa: SIM115
    # Writing to a closed output fails, so that its loss is noticed.
    output = sys.stdout = _Stream.of(sys.stdout, os.O_RDONLY)
    sys.stderr = _Stream.of(sys.stderr, os.O_WRONLY)
    code: Any = 0
    try:
        app()
    except SystemExit as ended:
        code = ended.code
    try:
        output.flush()
    except BrokenPipeError as error:  # the reader, such as head, has ended
        output.failure = error
    else:
        if output.failure is not None:
            reason = (output.failure.strerror or str(output.failure)).lower()
            _print_error(f"the result could not be printed: {reason}. What was saved is intact.")
            code = code or 1
    if output.failure is not None:  # Python would try again, and report it, when it ends
        os.dup2(_open_null(os.O_WRONLY), 1)
    sys.exit(code)


class _Stream(io.TextIOWrapper):
    """A standard stream that keeps its first error, and drops what is written after it."""

    failure: OSError | None = None

    @classmethod
    def of(cls, stream: Any, flags: int) -> "_Stream":
        """Make one of a stream; of None, which is a closed one, on the null device."""
        buffer = open(_open_null(flags), "wb") if stream is None else stream.buffer  # noqa: SIM115
        # The encoding of the terminal may lack characters of a file name.
        encoding = getattr(stream, "encoding", "utf-8")
        return cls(buffer, encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        """Write, unless writing has failed."""
        self._attempt(super().write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, unless writing has failed."""
        self._attempt(super().flush)

    def _attempt(self, function: Callable[..., object], *arguments: str) -> None:
        try:
            if self.failure is None:
                function(*arguments)
        except BrokenPipeError:
            raise
        except OSError as error:
            self.failure = error


def _open_null(flags: int) -> int:
    """Open the null device, as the lowest free descriptor: a closed standard stream's, if any."""
    return os.open(os.devnull, flags)


@app.callback()
def tune(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print versions.", is_eager=True)
    ] = False,
) -> None:
    """Find the best ResNet50 transfer-learning classifier for your own photos.

    Begin with: tune data PHOTOS, where PHOTOS holds one folder for each class. Then: tune search
    PHOTOS --run first, and: tune best first.
    """
    if show_version:
        typer.echo("\n".join(f"{name} {number}" for name, number in versions().items()))
        raise typer.Exit


def _guarded(function: Callable[..., None]) -> Callable[..., None]:
    """The command with its errors printed as one sentence, and an exit code."""

    @functools.wraps(function)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            check_keras_config()
            function(*arguments, **options)
        except StoppedError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(EXIT_CODE) from error
        except TuneError as error:
            _print_error(str(error))
            raise typer.Exit(2 if isinstance(error, InputError) else 1) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            _print_error(_explanation(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(EXIT_CODE) from None

    return run


def _explanation(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename} cannot be used: {reason}." if error.filename else f"{reason}."


def _print_error(message: str) -> None:
    line = " ".join(message.split())
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
    typer.echo(f"Error: {shown}", err=True)


for _command in _COMMANDS:
    app.command()(_guarded(_command))
# `tune --version` needs no command.
app.registered_callback.invoke_without_command = True  # type: ignore[union-attr]
