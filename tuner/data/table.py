"""Read a table of images: CSV or TSV from any spreadsheet, or Parquet.

    path,label[,split][,group]

Paths are relative to the table's folder. Columns may be in any order, and others are ignored. The
delimiter may be a comma, a semicolon or a tab; the encoding UTF-8, UTF-16 or Windows-1252.
"""

import csv
import io
import itertools
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.data.listing import SPLIT_NAMES, Candidate, Manifest, class_name, readable
from tuner.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_NEEDED, _OPTIONAL = ("path", "label"), ("split", "group")
_DELIMITERS = ",;\t|"
# Byte order marks; without one a file is UTF-8, or else Windows-1252.
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_table(path: Path) -> bool:
    """Whether a file has the suffix of a table."""
    return path.suffix.lower() in TABLE_SUFFIXES


def table_manifest(path: Path) -> Manifest:
    """List the images of a table, with paths relative to its folder. Equal rows count once.

    Raises:
        DataError: the table is unreadable, lacks a column, or has an invalid row.
    """
    rows = _parquet_rows(path) if path.suffix.lower() == ".parquet" else _text_rows(path)
    seen: dict[str, tuple[int, Candidate]] = {}
    for number, row in rows:
        candidate = _candidate(path, number, row)
        first, before = seen.setdefault(candidate.path, (number, candidate))
        if before != candidate:
            raise DataError(
                f"{path.name} names {candidate.path} twice, in rows {first} and {number}, and not "
                "in the same way: keep one of them."
            )
    candidates = _with_splits([candidate for _, candidate in seen.values()])
    if not candidates:
        raise DataError(f"{path} names no images: give it rows of path,label.")
    manifest = Manifest(path.parent, candidates, _classes(path, candidates))
    manifest.check_classes()
    return manifest


def _candidate(path: Path, number: int, row: Mapping[str, str]) -> Candidate:
    for name in _NEEDED:
        if not row[name]:
            raise DataError(f"{path.name} has no {name} in row {number}: give it one.")
        if "\0" in row[name]:
            raise DataError(f"{path.name} is no text in row {number}: write it as CSV, UTF-8.")
    split = row.get("split") or None
    if split is not None and split.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{path.name} has the split {split!r} in row {number}: use train, validation or test."
        )
    return Candidate(
        _relative(path.parent, row["path"]),
        class_name(row["label"]),
        None if split is None else SPLIT_NAMES[split.lower()],
        row.get("group") or None,
    )


def _relative(root: Path, written: str) -> str:
    """The path with `/`, also if Windows wrote it."""
    if "\\" in written and not os.path.exists(root / written):  # noqa: PTH110 - never raises
        written = written.replace("\\", "/")
    return Path(written).as_posix()


def _with_splits(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort by path; if some have a split, those without one are for training."""
    found = sorted(candidates, key=lambda candidate: candidate.path)
    if any(candidate.split for candidate in found):
        return [replace(candidate, split=candidate.split or "train") for candidate in found]
    return found


def _classes(path: Path, candidates: Iterable[Candidate]) -> dict[str | None, tuple[str, ...]]:
    found: dict[str | None, set[str]] = {}
    for candidate in candidates:
        found.setdefault(candidate.split, set()).add(candidate.label)
    if None not in found and "train" not in found:
        raise DataError(f"{path.name} has no training images: give some of its rows that split.")
    order = (None, "train", "validation", "test")
    return {split: tuple(sorted(found[split])) for split in order if split in found}


def _text_rows(path: Path) -> Iterable[tuple[int, Mapping[str, str]]]:
    with readable(path):
        data = path.read_bytes()
    lines = io.StringIO(_decoded(path, data), newline="")
    before, first = 1, next(lines, "")
    while first and (not first.strip() or first.lower().startswith("sep=")):
        before, first = before + 1, next(lines, "")
    if not first:
        raise DataError(f"{path} is empty: give it rows of path,label.")
    reader = csv.reader(
        itertools.chain([first], lines), delimiter=max(_DELIMITERS, key=first.count), strict=True
    )
    try:
        columns = _columns(path, next(reader))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                padded = [*cells, *[""] * (max(columns.values()) + 1)]
                row = {name: padded[place].strip() for name, place in columns.items()}
                yield reader.line_num + before - 1, row
    except csv.Error as error:
        raise DataError(
            f"{path.name} is no table from line {reader.line_num + before - 1} on ({error}): write "
            "it as CSV again."
        ) from error


def _decoded(path: Path, data: bytes) -> str:
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    if b"\0" in data and encoding != "utf-16":
        raise DataError(f"{path} holds no text: write it as CSV, UTF-8.")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _columns(path: Path, header: Iterable[str], where: str = "its first row") -> dict[str, int]:
    names = [name.strip().strip("\ufeff").lower() for name in header]
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise DataError(
            f"{path.name} lacks the column {' and '.join(missing)}: {where} must name path and "
            f"label, and may name split and group, but it names {', '.join(names)}."
        )
    for name in (*_NEEDED, *_OPTIONAL):
        if names.count(name) > 1:
            raise DataError(f"{path.name} has the column {name} twice: keep one of them.")
    return {name: names.index(name) for name in (*_NEEDED, *_OPTIONAL) if name in names}


def _parquet_rows(path: Path) -> Iterable[tuple[int, Mapping[str, str]]]:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError(
            f"{path.name} needs pyarrow to be read: install it, or write the table as CSV."
        ) from error
    with readable(path):
        path.open("rb").close()
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            places = _columns(path, names, "its schema")
            table = file.read(columns=[names[place] for place in places.values()])
        columns = [map(_written, table[names[place]].to_pylist()) for place in places.values()]
        rows = [dict(zip(places, cells, strict=True)) for cells in zip(*columns, strict=True)]
    except DataError:
        raise
    except Exception as error:  # pyarrow raises its own types, and others
        reason = str(error).strip().rstrip(".")
        raise DataError(f"{path.name} cannot be read as Parquet: {reason}.") from error
    yield from enumerate(rows, start=1)


def _written(value: Any) -> str:
    """A value as text, empty if it is missing or NaN."""
    if value is None or value != value:
        return ""
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()
