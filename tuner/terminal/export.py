"""The result of an export, and of the checks of its files."""

import shlex
import textwrap
from pathlib import Path

import typer
from rich.table import Table

from tuner.export.files import Exported
from tuner.export.formats import FORMATS
from tuner.terminal.tables import print_table
from tuner.text import percent, size


def format_table(exported: Exported) -> Table:
    """One row per file: images whose class differs from the network's, the largest difference of a
    probability, accuracies, time and size. It fits 80 columns.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("file", overflow="fold")
    for name in ("differ", "by", "validation", "test", "ms/image", "size"):
        table.add_column(name, justify="right", overflow="fold")
    for name, parity in exported.parities.items():
        quantized = exported.quantize if name == "litert" else None
        table.add_row(
            FORMATS[name].file + (f", {quantized}" if quantized else ""),
            f"{parity.differing} of {parity.images}",
            f"{parity.largest:.1e}",
            _share(parity.validation_accuracy),
            _share(parity.test_accuracy),
            f"{parity.milliseconds:.1f}",
            size(exported.bytes[name]),
        )
    encoded = exported.encoded
    if encoded is not None:
        table.add_row(
            "savedmodel, bytes",
            f"{encoded.differing} of {encoded.images}",
            f"{encoded.largest:.1e}",
            "",
            "",
            f"{encoded.milliseconds:.1f}",
            "",
        )
    return table


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else percent(accuracy)


def print_export(export: Path, exported: Exported) -> None:
    """Print the exported files, and how they compare with the network."""
    reference = exported.reference
    files = [FORMATS[name].file for name in exported.parities]
    files += ["labels.json", "MODEL_CARD.md", "export.json"]
    typer.echo(f"Exported to {export}: {', '.join(files)}")
    typer.echo(
        f"Checked by other processes, on {reference.validation} validation and "
        f"{len(reference.paths) - reference.validation} test images:"
    )
    print_table(format_table(exported))
    plain = sum(reference.plain)
    if plain < len(reference.paths):
        typer.echo(
            f"{len(reference.paths) - plain} of the images need more than plain decoding; "
            "MODEL_CARD.md says what."
        )
    calibration = exported.calibration
    if (
        calibration.before is not None
        and calibration.after is not None
        and (calibration.temperature is not None)
    ):
        typer.echo(
            f"Calibrated with temperature {calibration.temperature:.3f}: calibration error on the "
            f"test images {percent(calibration.before)} before, {percent(calibration.after)} after"
        )
    if calibration.warning is not None:
        typer.echo("\n".join(textwrap.wrap(calibration.warning, 79)))
    typer.echo(f"Next: {shlex.join(['tune', 'predict', str(export), 'IMAGE'])}")
