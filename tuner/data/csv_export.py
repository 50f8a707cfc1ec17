"""Write a dataset and its split as a CSV table."""

import csv
import io
import os
from collections import Counter
from pathlib import Path

from tuner.data.dataset import Dataset
from tuner.errors import DataError
from tuner.storage.atomic import write_text


def check_table(path: Path) -> None:
    """Raise DataError unless `path` is a new .csv file in an existing folder."""
    if path.suffix.lower() != ".csv":
        raise DataError(f"{path} must end in .csv to be read again: choose another name.")
    if not path.parent.is_dir():
        raise DataError(f"there is no folder {path.parent} to write {path.name} to: make it.")
    if os.path.lexists(path):
        raise DataError(f"{path} exists: remove it, or choose another name.")


def write_table(dataset: Dataset, path: Path) -> None:
    """Write rows of path,label,split,group, which `load_dataset` reads; paths are relative to it.

    Raises:
        DataError: a name cannot be written in a table, or the file cannot be written.
    """
    counts = Counter(file.group for file in dataset.files)
    shared = {group: group for group, count in counts.items() if count > 1}
    root, folder = dataset.root.resolve(), path.parent.resolve()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group"])
    for file in dataset.files:
        relative = Path(os.path.relpath(root / file.path, folder)).as_posix()
        if any(name != name.strip() for name in (relative, file.label)):
            raise DataError(f"{file.path} has a blank at an end of its name or class: rename it.")
        writer.writerow([relative, file.label, file.split, shared.get(file.group, "")])
    try:
        write_text(path, text.getvalue())
    except UnicodeEncodeError as error:
        raise DataError(
            f"A name in {dataset.root} is no text and cannot be written in a table: rename it."
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} cannot be written: {reason}.") from error
