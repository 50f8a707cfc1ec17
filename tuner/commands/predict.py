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
            help="Image files, folders, quoted patterns; - for names on standard input."
        ),
    ],
    top: Annotated[
        int | None,
        typer.Option(help="Most probable classes to print; default 1, with --json 3."),
    ] = None,
    kind: Annotated[
        ExportFormat | None,
        typer.Option("--format", help="Format of the exported model to use; default keras."),
    ] = None,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names on standard input end with a null byte.")
    ] = False,
    quiet: Quiet = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Predict the classes of images with an exported model.

    Example: tune predict model photos "more/*.jpg" --top 3 --csv > classes.csv
    """
    if as_csv and as_json:
        raise InputError("--csv and --json exclude each other. Give one of them.")
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
        raise InputError("standard input names no image. Give one name per line.")
    streaming, output, errors = as_csv or as_json, sys.stdout, 0
    # Rows on a terminal show the progress themselves.
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
                output.write(line)  # typer.echo would write above the progress bar
                output.flush()
        else:
            rows = list(predictions())
    if not streaming:
        print_table(prediction_table(rows, shown))
    if errors == len(paths):
        raise InputError(
            "none of the images could be read. Give JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC or "
            "PPM files."
        )
