"""The check of an export as a table."""

from rich.table import Table

from tuner.artifacts import FORMATS
from tuner.deployment import Exported
from tuner.quantities import size
from tuner.tables import percent


def format_table(exported: Exported) -> Table:
    """One row a file, in 80 columns: accuracies, time, size, and how its answers differ from the
    network's: for how many images the class, and a probability by how much at most.
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
            "savedmodel, bytes", f"{encoded.differing} of {encoded.images}",
            f"{encoded.largest:.1e}", "", "", f"{encoded.milliseconds:.1f}", "",
        )  # fmt: skip
    return table


def _share(accuracy: float | None) -> str:
    return "" if accuracy is None else percent(accuracy)
