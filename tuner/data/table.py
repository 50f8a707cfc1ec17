"""Read a table of images: CSV or TSV from any spreadsheet, or Parquet.

    path,label[,split][,group]

Paths are relative to the table's folder. Columns may be in any order, and others are ignored. The
delimiter may be a comma, a semicolon, a tab or blanks; the encoding UTF-8, UTF-16 or Windows-1252.
"""

import csv
import io
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.data.folders import folder_manifest
from tuner.data.listing import USUAL, Candidate, Layout, Manifest, class_name, readable
from tuner.data.split_names import split_named, split_names
from tuner.data.table_paths import TablePaths
from tuner.errors import DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".txt", ".lst")
_NEEDED, _OPTIONAL = ("path", "label"), ("split", "group")
_DELIMITERS = ",;\t|"
# What programs and people write where there is no label.
_NO_LABEL = {
    *(
        "nan",
        "none",
        "null",
        "nil",
        "na",
        "n/a",
        "#n/a",
        "n.a.",
        "<na>",
        "-",
        "--",
        "---",
        "?",
        "??",
    ),
    *("undefined", "missing", "unlabeled", "unlabelled", "no label", "not labeled", "not labelled"),
}
# Byte order marks; without one a file is UTF-8, or else Windows-1252.
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def is_table(path: Path) -> bool:
    """Whether a file has the suffix of a table."""
    return path.suffix.lower() in TABLE_SUFFIXES


def listed(data: Path, layout: Layout = USUAL) -> Manifest:
    """List the images of a folder, a table, or a folder of tables, without reading them.

    Raises:
        DataError: there is no such folder, or it does not hold images in at least two classes.
        SettingsError: the layout's pattern of groups is unusable.
    """
    manifest = _found(data, layout)
    if layout.group_by is not None:
        manifest.group_by(layout.group_by)
    return manifest


def _found(data: Path, layout: Layout) -> Manifest:
    with readable(data):
        if data.is_file() and is_table(data):
            return table_manifest(data, layout)
    try:
        return folder_manifest(data, layout)
    except DataError as error:
        with readable(data):
            tables = sorted(filter(is_table, data.iterdir())) if data.is_dir() else []
        named = {path.stem: path for path in tables}
        if splits := split_names(named):
            return _manifest(data, {named[name]: split for split, name in splits}, layout)
        csv_tables = [path for path in tables if path.suffix.lower() != ".txt"]
        if csv_tables:
            raise DataError(f"{error} Or name a table: {csv_tables[0]}.") from error
        raise


def table_manifest(path: Path, layout: Layout = USUAL) -> Manifest:
    """List the images of a table, with paths relative to its folder. Equal rows count once.

    Raises:
        DataError: the table is unreadable, lacks a column, or has an invalid row.
    """
    return _manifest(path.parent, {path: None}, layout)


def _manifest(root: Path, tables: Mapping[Path, str | None], layout: Layout) -> Manifest:
    paths = TablePaths(root)
    seen: dict[str, tuple[str, int, Candidate]] = {}
    for path, split in tables.items():
        rows = _parquet_rows if path.suffix.lower() == ".parquet" else _text_rows
        for number, row in rows(path, layout):
            candidate = _candidate(path, number, row, paths)
            candidate = replace(candidate, split=split or candidate.split)
            name, first, before = seen.setdefault(candidate.path, (path.name, number, candidate))
            if before != candidate:
                where = f"{name} names" if name == path.name else f"{name} and {path.name} name"
                raise DataError(
                    f"{where} {candidate.path} twice, in rows {first} and {number}, and not "
                    "in the same way: keep one of them."
                )
    candidates = _with_splits([candidate for _, _, candidate in seen.values()])
    shown = " and ".join(map(str, tables))
    if not candidates:
        raise DataError(f"{shown} names no images: give it rows of path,label.")
    manifest = Manifest(root, candidates, _classes(shown, candidates))
    for candidate in candidates:
        if not paths.exists(candidate.path):
            manifest.hints[candidate.path] = (
                ", since addresses are not downloaded"
                if "://" in candidate.path
                else f" in {root}, where paths of the table begin"
            )
            if meant := paths.meant(candidate.path):
                manifest.hints[candidate.path] = f"; perhaps {meant} is meant"
    manifest.check_classes()
    return manifest


def _candidate(path: Path, number: int, row: Mapping[str, str], paths: TablePaths) -> Candidate:
    for name in _NEEDED:
        if not row[name]:
            raise DataError(f"{path.name} has no {name} in row {number}: give it one.")
        if "\0" in row[name]:
            raise DataError(f"{path.name} is no text in row {number}: write it as CSV, UTF-8.")
    if row["label"].casefold() in _NO_LABEL:
        raise DataError(
            f"{path.name} has no label in row {number} ({row['label']}): give it one, or remove "
            "the row; if that is the name of a class, choose another."
        )
    split = row.get("split") or None
    if split is not None and split_named(split) is None:
        raise DataError(
            f"{path.name} has the split {split!r} in row {number}: use train, validation or test."
        )
    return Candidate(
        paths.find(row["path"]),
        class_name(row["label"]),
        None if split is None else split_named(split),
        row.get("group") or None,
    )


def _with_splits(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort by path; if some have a split, those without one are for training."""
    found = sorted(candidates, key=lambda candidate: candidate.path)
    if any(candidate.split for candidate in found):
        return [replace(candidate, split=candidate.split or "train") for candidate in found]
    return found


def _classes(shown: str, candidates: Iterable[Candidate]) -> dict[str | None, tuple[str, ...]]:
    found: dict[str | None, set[str]] = {}
    for candidate in candidates:
        found.setdefault(candidate.split, set()).add(candidate.label)
    if None not in found and "train" not in found:
        raise DataError(f"{shown} has no training images: give some of its rows that split.")
    order = (None, "train", "validation", "test")
    return {split: tuple(sorted(found[split])) for split in order if split in found}


def _text_rows(path: Path, layout: Layout) -> Iterable[tuple[int, Mapping[str, str]]]:
    with readable(path):
        data = path.read_bytes()
    lines = io.StringIO(_decoded(path, data), newline="")
    before, first = 1, next(lines, "")
    while first and (not first.strip() or first.lower().startswith("sep=")):
        before, first = before + 1, next(lines, "")
    if not first:
        raise DataError(f"{path} is empty: give it rows of path,label.")
    delimiter = max(_DELIMITERS, key=first.count)
    delimiter = delimiter if delimiter in first else " "
    text = itertools.chain([first], lines)
    reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        top = next(reader)
        columns = _numbered(path, len(top), layout)
        rows = reader if columns is None else itertools.chain([top], reader)
        columns = columns or _columns(path, top, layout)
        for cells in rows:
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


def _wanted(layout: Layout) -> dict[str, str]:
    """The column that is to be read for each meaning."""
    given = (layout.path_column, layout.label_column, layout.split_column, None)
    return {
        name: chosen or name for name, chosen in zip((*_NEEDED, *_OPTIONAL), given, strict=True)
    }


def _numbered(path: Path, count: int, layout: Layout) -> dict[str, int] | None:
    """The places of columns that are given by number; None if they are given by name."""
    numbers = {name: int(c) - 1 for name, c in _wanted(layout).items() if c.isdecimal()}
    if not numbers:
        return None
    if missing := [name for name in _NEEDED if name not in numbers]:
        raise DataError(
            f"--{missing[0]}-column must be a number like the other, since {path.name} is read "
            "without a row of names."
        )
    for name, place in numbers.items():
        if not 0 <= place < count:
            raise DataError(f"--{name}-column is {place + 1}, but {path.name} has {count} columns.")
    return numbers


def _columns(
    path: Path, header: Iterable[str], layout: Layout, where: str = "its first row"
) -> dict[str, int]:
    names = [name.strip().strip("\ufeff").lower() for name in header]
    wanted = {name: chosen.strip().lower() for name, chosen in _wanted(layout).items()}
    missing = [
        chosen
        for name, chosen in wanted.items()
        if chosen not in names and (name in _NEEDED or chosen != name)
    ]
    if missing:
        raise DataError(
            f"{path.name} lacks the column {' and '.join(missing)}: {where} must name path and "
            f"label, and may name split and group, but it names {', '.join(names)}. Other names "
            "are given by --path-column, --label-column and --split-column, or numbers from 1 if "
            "there is no row of names."
        )
    for chosen in wanted.values():
        if names.count(chosen) > 1:
            raise DataError(f"{path.name} has the column {chosen} twice: keep one of them.")
    return {name: names.index(chosen) for name, chosen in wanted.items() if chosen in names}


def _parquet_rows(path: Path, layout: Layout) -> Iterable[tuple[int, Mapping[str, str]]]:
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
            places = _columns(path, names, layout, "its schema")
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
