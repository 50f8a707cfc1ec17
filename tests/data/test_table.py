"""Tables of images, as people and their spreadsheets write them."""

import builtins
from pathlib import Path
from typing import Any

import pytest

from tuner.data.listing import Candidate
from tuner.data.table import is_table, table_manifest
from tuner.errors import DataError

PLAIN = "path,label\na/1.jpg,cat\nb/2.jpg,dog\n"
TWO = [Candidate("a/1.jpg", "cat"), Candidate("b/2.jpg", "dog")]


@pytest.fixture
def table(tmp_path: Path) -> Any:
    def written(text: str | bytes, name: str = "images.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


@pytest.mark.parametrize(
    "written",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        "sep=;\n" + PLAIN.replace(",", ";"),
        "\n" + PLAIN + "\n,,\n",
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        "label , Path\ncat, a/1.jpg\ndog,b/2.jpg\n",
        'number,path,label\n1,"a/1.jpg",cat\n2,b/2.jpg,"dog"\n',
        PLAIN + "a/1.jpg,cat\n",
        PLAIN.replace("a/1", ".\\a\\1"),
    ],
)
def test_every_way_of_writing_it_says_the_same(table: Any, written: str | bytes) -> None:
    manifest = table_manifest(table(written))
    assert manifest.candidates == TWO
    assert manifest.classes == {None: ("cat", "dog")}
    assert manifest.given == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_letters_of_any_encoding(table: Any, encoding: str) -> None:
    text = 'path,label\nKäse/"ü".jpg,Käse\nb.jpg,Brot € hell\n'.replace('"', "")
    labels = [each.label for each in table_manifest(table(text.encode(encoding))).candidates]
    assert labels == ["Käse", "Brot € hell"]


def test_a_letter_is_the_same_composed_or_not(table: Any) -> None:
    text = "path,label\na.jpg,Ka\u0308se\nb.jpg,K\u00e4se\nc.jpg,猫\n"
    assert table_manifest(table(text)).classes == {None: ("K\u00e4se", "猫")}


def test_a_backslash_may_be_part_of_a_name(table: Any, tmp_path: Path) -> None:
    (tmp_path / "a\\1.jpg").write_bytes(b"")
    manifest = table_manifest(table("path,label\na\\1.jpg,cat\nb\\2.jpg,dog\n"))
    assert [each.path for each in manifest.candidates] == ["a\\1.jpg", "b/2.jpg"]


def test_splits_and_groups(table: Any) -> None:
    text = (
        "path,label,split,group\n1.jpg,cat,Train,burst 1\n2.jpg,dog,,\n3.jpg,cat,val,burst 1\n"
        "4.jpg,dog,valid,\n5.jpg,cat,TEST,\n6.jpg,dog,test,x\n"
    )
    manifest = table_manifest(table(text))
    assert manifest.given == ("train", "validation", "test")
    assert [each.split for each in manifest.candidates] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ]
    assert [each.group for each in manifest.candidates] == [
        "burst 1",
        None,
        "burst 1",
        None,
        None,
        "x",
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", r"images\.csv is empty: give it rows of path,label"),
        ("path,label\n", r"images\.csv names no images"),
        ("file,label\na,b\n", r"images\.csv lacks the column path: .* it names file, label"),
        ("a.jpg,cat\nb.jpg,dog\n", r"lacks the column path and label"),
        ("path,label\na.jpg,\nb.jpg,dog\n", r"images\.csv has no label in row 2: give it one"),
        ("path,label\n\na.jpg,cat\n,dog\n", r"images\.csv has no path in row 4"),
        ("path,label\na.jpg\n", r"images\.csv has no label in row 2"),
        ("path,label,split\na.jpg,cat,tset\n", r"has the split 'tset' in row 2: use train, val"),
        (
            "path,label\na.jpg,cat\nb.jpg,dog\n./a.jpg,dog\n",
            r"names a\.jpg twice, in rows 2 and 4, and not in the same way: keep one",
        ),
        ("path,label\na.jpg,cat\n", r"has one class, cat, but at least two are needed"),
        ("path,label,split\na.jpg,cat,test\nb.jpg,dog,test\n", r"has no training images"),
        (
            "path,label,split\na,cat,train\nb,dog,train\nc,cow,val\n",
            r"There are validation images of cow, but no training images: add some, or remove",
        ),
        (
            "path,label\na,cat\nb,NaN\n",
            r"has no label in row 3 \(NaN\): give it one, or remove",
        ),
        ("path,label\na,cat\nb,N/A\n", r"has no label in row 3 \(N/A\)"),
        ('path,label\n"a.jpg,cat\nb.jpg,dog\n', r"images\.csv is no table from line 3 on"),
        (b"path,label\n\0\0", r"images\.csv holds no text"),
        ("path,label\na\0.jpg,cat\n".encode("utf-16"), r"images\.csv is no text in row 2"),
        ("path,label,Label\na.jpg,cat,dog\n", r"images\.csv has the column label twice"),
    ],
)
def test_what_cannot_be_is_a_sentence(table: Any, written: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        table_manifest(table(written))


def test_a_table_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images\.csv cannot be read: no such file"):
        table_manifest(tmp_path / "images.csv")


def test_a_path_that_is_too_long_is_left_to_be_found_missing(table: Any) -> None:
    text = f"path,label\na\\{'x' * 300}.jpg,cat\nb.jpg,dog\n"
    assert table_manifest(table(text)).candidates[0].path == f"a/{'x' * 300}.jpg"


def test_which_files_are_tables() -> None:
    assert all(is_table(Path(name)) for name in ("a.csv", "a.TSV", "a.parquet", "a.txt"))
    assert not any(is_table(Path(name)) for name in ("a.xlsx", "a", "a.jpg"))


# Parquet

GROUPS = ["burst", None, None, None]


def parquet(path: Path, frame: Any, **options: Any) -> Path:
    frame.to_parquet(path / "images.parquet", **options)
    return path / "images.parquet"


@pytest.fixture
def pandas() -> Any:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    return pytest.importorskip("pandas", reason="pandas writes the tables that are read here")


def test_parquet_says_the_same(tmp_path: Path, pandas: Any) -> None:
    frame = pandas.DataFrame({"label": ["dog", "cat"], "path": ["b/2.jpg", "a/1.jpg"]})
    assert table_manifest(parquet(tmp_path, frame)).candidates == TWO


def test_an_index_of_parquet_is_a_column(tmp_path: Path, pandas: Any) -> None:
    frame = pandas.DataFrame({"label": ["dog", "cat"], "path": ["b/2.jpg", "a/1.jpg"]})
    assert table_manifest(parquet(tmp_path, frame.set_index("path"))).candidates == TWO


@pytest.mark.parametrize(
    ("labels", "groups", "classes", "group"),
    [
        (["cat", "dog", "cat", "dog"], GROUPS, ("cat", "dog"), "burst"),
        ([7, 12, 7, 12], ["3", None, None, None], ("12", "7"), "3"),
        ([True, False, True, False], ["", "", None, " "], ("False", "True"), None),
        ([b"cat", b"dog", b"cat", b"dog"], [b"burst", None, None, b""], ("cat", "dog"), "burst"),
    ],
)
@pytest.mark.parametrize("dtype", [None, "category"])
def test_values_of_parquet(
    tmp_path: Path,
    pandas: Any,
    dtype: str | None,
    labels: list[Any],
    groups: list[Any],
    classes: tuple[str, ...],
    group: str | None,
) -> None:
    frame = pandas.DataFrame(
        {
            "Path": [f"{number}.jpg" for number in range(4)],
            "label": pandas.Series(labels, dtype=dtype),
            "split": pandas.Series(["train", None, "val", "val"], dtype=dtype),
            "group": pandas.Series(groups, dtype=dtype),
            "more": [1, 2, 3, 4],
        }
    )
    manifest = table_manifest(parquet(tmp_path, frame))
    assert manifest.classes == {"train": classes, "validation": classes}
    assert manifest.candidates == [
        Candidate(
            f"{number}.jpg",
            labels[number].decode() if isinstance(labels[number], bytes) else str(labels[number]),
            "train" if number < 2 else "validation",
            None if number else group,
        )
        for number in range(4)
    ]


def test_a_whole_number_of_parquet_stays_one_beside_a_missing_one(
    tmp_path: Path, pandas: Any
) -> None:
    frame = pandas.DataFrame(
        {
            "path": ["1.jpg", "2.jpg"],
            "label": [1, 2],
            "group": pandas.array([5, None], dtype="Int64"),
        }
    )
    candidates = table_manifest(parquet(tmp_path, frame)).candidates
    assert [candidate.group for candidate in candidates] == ["5", None]


def test_a_number_that_is_none_is_missing(tmp_path: Path, pandas: Any) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    names = {"path": ["1.jpg", "2.jpg"], "label": ["cat", "dog"], "group": [float("nan"), 2.5]}
    write_table(pyarrow.table(names), tmp_path / "images.parquet")
    candidates = table_manifest(tmp_path / "images.parquet").candidates
    assert [candidate.group for candidate in candidates] == [None, "2.5"]


def test_what_parquet_cannot_be_is_a_sentence(tmp_path: Path, pandas: Any) -> None:
    def refused(message: str, **columns: list[Any]) -> None:
        if columns:
            parquet(tmp_path, pandas.DataFrame(columns))
        with pytest.raises(DataError, match=message):
            table_manifest(tmp_path / "images.parquet")

    paths = ["1.jpg", "2.jpg"]
    refused(r"cannot be read: no such file")
    refused(
        r"lacks the column label: its schema must name .* it names path, class\.",
        path=paths,
        **{"class": ["cat", "dog"]},
    )
    refused(r"has no label in row 2: give it one", path=paths, label=["cat", None])
    refused(r"has the split 'tset' in row 1", path=paths, label=paths, split=["tset", None])
    refused(r"has the column label twice", path=paths, label=paths, Label=paths)
    refused(
        r"cannot be read as Parquet: .*can't decode byte .*[^.]\.$", path=paths, label=[b"\xff"] * 2
    )
    refused(r"names no images", path=[], label=[])
    (tmp_path / "images.parquet").write_bytes(b"PAR1")
    refused(r"cannot be read as Parquet: .*[^.]\.$")


def test_a_folder_that_is_named_like_a_column_adds_none(tmp_path: Path, pandas: Any) -> None:
    (tmp_path / "label=cat").mkdir()
    frame = pandas.DataFrame({"path": ["1.jpg", "2.jpg"]})
    with pytest.raises(DataError, match="lacks the column label"):
        table_manifest(parquet(tmp_path / "label=cat", frame))


@pytest.mark.parametrize("missing", ["pyarrow", "pandas"])
def test_parquet_needs_pyarrow_alone(
    table: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pandas: Any, missing: str
) -> None:
    imported = builtins.__import__

    def refuse(name: str, *given: Any, **options: Any) -> Any:
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return imported(name, *given, **options)

    path = parquet(
        tmp_path, pandas.DataFrame({"path": ["a/1.jpg", "b/2.jpg"], "label": ["cat", "dog"]})
    )
    monkeypatch.setattr(builtins, "__import__", refuse)
    if missing == "pandas":
        assert table_manifest(path).candidates == TWO
        return
    with pytest.raises(DataError) as raised:
        table_manifest(path)
    assert str(raised.value) == (
        "images.parquet needs pyarrow to be read: install it, or write the table as CSV."
    )
