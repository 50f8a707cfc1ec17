"""`tune predict`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.commands.options import DEFAULTS, AsJson, ExportFormat, Quiet
from tuner.errors import InputError

if TYPE_CHECKING:  # these need TensorFlow
    from tuner.export.predict import Prediction


def predict(
    export: Annotated[Path, typer.Argument(help="Folder that tune best --export wrote.")],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders, patterns in quotes; - for names on standard input."
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(help="Most probable classes to name of each image; left out, 1, in JSON 3."),
    ] = None,
    kind: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Which model of the export; left out, the Keras one."),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names on standard input end with a zero byte.")
    ] = False,
    quiet: Quiet = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Name the class of images, with an exported model.

    Example: tune predict model photos "more/*.jpg" --top 3 --csv > classes.csv
    """
    if as_csv and as_json:
        raise InputError("--csv and --json are two ways to print. Give one of them.")
    from tuner.export.image_arguments import LISTED, chosen_images
    from tuner.export.predict import Export
    from tuner.terminal.predictions import csv_lines, json_lines, prediction_table
    from tuner.terminal.search_progress import SearchProgress
    from tuner.terminal.tables import print_table

    loaded = Export(export, kind and kind.value)
    count, shown = loaded.check_top(top), top or 1
    listed = sys.stdin.buffer.read() if LISTED in images else b""
    paths = chosen_images(images, listed, b"\0" if null else b"\n")
    if not paths:
        raise InputError("no image is named on standard input. Give names, one on each line.")
    streaming, output, errors = as_csv or as_json, sys.stdout, 0
    # On a terminal the rows that appear are progress enough.
    silent = quiet or (streaming and output.isatty())
    with SearchProgress(DEFAULTS.objective, silent) as progress:

        def predictions() -> Iterator["Prediction"]:
            nonlocal errors
            for done, found in enumerate(loaded.predict(paths, count), start=1):
                errors += found.error is not None
                yield found
                progress.count("predicting", done, len(paths))

        if streaming:
            found = predictions()
            for line in csv_lines(found, shown) if as_csv else json_lines(found):
                output.write(line)  # not echoed: that would go where the progress goes
                output.flush()
        else:
            rows = list(predictions())
    if not streaming:
        print_table(prediction_table(rows, shown))
    if errors == len(paths):
        raise InputError(
            "none of the images could be read. Give JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF files."
        )
