"""A run's folder: created, replaced, found, refused, locked and listed."""

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.repository import ROOT
from tests.support.small_search import contents
from tuner.data.dataset import Dataset, ImageFile
from tuner.errors import DataError, RunError, TuneError
from tuner.runs import journal as journal_module
from tuner.runs import run as run_module
from tuner.runs.journal import Journal
from tuner.runs.listing import summaries
from tuner.runs.lock import check_free, sole_writer
from tuner.runs.notes import Notes
from tuner.runs.records import RungRecord
from tuner.runs.run import (
    check_new,
    create_run,
    delete_run,
    is_writable,
    open_journal,
    open_run,
    run_names,
)
from tuner.settings import SearchSettings
from tuner.storage import locks

SETTINGS = SearchSettings(data="/photos", image_size=64)
NAMES = ("a", "b")
DATASET = Dataset(
    Path("/photos"),
    NAMES,
    tuple(
        ImageFile(f"{name}/{split}.png", name, split, f"{name}{split}")
        for name in NAMES
        for split in ("train", "validation", "test")
    ),
)


def test_a_created_run_can_be_opened(tmp_path: Path) -> None:
    made = create_run(tmp_path / "runs", "first", SETTINGS, DATASET, overwrite=False)
    found = open_run(tmp_path / "runs", "first")
    assert found.folder == made.folder == tmp_path / "runs" / "first"
    assert found.name == "first"
    assert found.settings == SETTINGS
    assert found.dataset(Path("/photos")) == DATASET
    assert found.journal.trials() == []
    assert {name for name in contents(tmp_path / "runs") if "-" not in name} == {
        "first",
        "first/settings.json",
        "first/dataset.json",
        "first/journal.db",
    }


def test_dataset_json(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    document = json.loads((tmp_path / "first" / "dataset.json").read_text("utf-8"))
    assert document["classes"] == ["a", "b"]
    assert document["files"][0] == {
        "path": "a/train.png",
        "label": "a",
        "split": "train",
        "sha256": "atrain",
        "group": "",
    }
    assert isinstance(document["schema"], int)


def test_file_names_that_are_not_utf8(tmp_path: Path) -> None:
    strange = os.fsdecode(b"gr\xfc\xdfe \xe2\x98\xba \n")
    files = tuple(
        ImageFile(f"{label}/{split}", label, split, "x")
        for label in (strange, "größe")
        for split in ("train", "validation", "test")
    )
    dataset = Dataset(tmp_path, (strange, "größe"), files)
    made = create_run(tmp_path, "first", SETTINGS, dataset, overwrite=False)
    assert made.dataset(tmp_path) == dataset


@pytest.mark.parametrize("name", ["first", "1", "größe", "a.b-c_d", "x" * 60, "ü" * 60, "_a"])
def test_good_names(tmp_path: Path, name: str) -> None:
    create_run(tmp_path, name, SETTINGS, DATASET, overwrite=False)
    assert open_run(tmp_path, name).name == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/a", "a\\b", ".a", "-a", "a b", "a\n", "a\0", "x" * 61, "a:b"],
)
def test_bad_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="cannot be named"):
        create_run(tmp_path / "runs", name, SETTINGS, DATASET, overwrite=True)
    assert contents(tmp_path) == {}


def test_a_path_that_sqlite_cannot_open_is_refused_at_once(tmp_path: Path) -> None:
    short, long = (tmp_path.joinpath(*["x" * 50] * count) for count in (6, 12))
    open_run(create_run(short, "first", SETTINGS, DATASET, overwrite=False).folder.parent)
    with pytest.raises(RunError, match=r"SQLite opens no more than 504.*shorter path"):
        check_new(long, "first", overwrite=False)
    with pytest.raises(RunError, match="SQLite opens no more"):
        open_journal(long / "first", overwrite=False, resume=False)


def test_moved_images_are_named_with_the_command_that_continues(tmp_path: Path) -> None:
    settings = SearchSettings(data=str(tmp_path / "photos"), image_size=64, fixed={"l2": "0"})
    run = create_run(tmp_path, "first", settings, DATASET, overwrite=False)
    remedy = (
        f"tune search NEW --run first --fix l2=0 --image-size 64 --resume --runs-dir {tmp_path}"
    )
    with pytest.raises(DataError, match=re.escape(remedy)), run.reading_images():
        raise DataError("a.png can no longer be read.")
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match=r"^a.png can no longer"), run.reading_images():
        raise DataError("a.png can no longer be read.")


@given(st.text(max_size=80))
def test_a_name_is_one_folder_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    runs = tmp_path_factory.getbasetemp()
    try:
        check_new(runs, name, overwrite=False)
    except RunError:
        return
    assert (runs / name).parent == runs
    assert len(os.fsencode(f".{name}.1234567.old")) <= 255


def test_a_run_is_replaced_only_on_request(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (tmp_path / "first" / "trials").mkdir()
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"the run first exists in .*--overwrite"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=False)
    assert contents(tmp_path) == before
    create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert open_run(tmp_path).settings == SearchSettings()
    assert not (tmp_path / "first" / "trials").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("names", [{}, {"journal.db": "x"}, {"dataset.json": "{}"}])
@pytest.mark.parametrize(
    "settings", ['{"editor.fontSize": 12}', "", '{"$schema": "https://x.org"}']
)
def test_a_folder_of_another_programs_settings_is_no_run(
    tmp_path: Path, settings: str, names: dict[str, str]
) -> None:
    (tmp_path / "app").mkdir()
    for name, text in {"settings.json": settings, "main.py": "mine", **names}.items():
        (tmp_path / "app" / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(RunError, match=r"is not a run. Choose another --run"):
        create_run(tmp_path, "app", SETTINGS, DATASET, overwrite=True)
    with pytest.raises(RunError, match=r"is not a run. Choose another project_name"):
        open_journal(tmp_path / "app", overwrite=True, resume=False)
    assert run_names(tmp_path) == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["journal.db", "settings.json", "dataset.json"])
@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_a_damaged_run_can_be_replaced(tmp_path: Path, name: str, content: bytes | None) -> None:
    folder = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False).folder
    if content is not None:
        (folder / name).write_bytes(content)
    elif name != "settings.json":
        (folder / name).unlink()
    create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert open_run(tmp_path).settings == SearchSettings()


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_other_files_are_never_replaced(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / "first").mkdir()
    elif kind == "file":
        (tmp_path / "first").write_text("kept")
    else:
        (tmp_path / "first").symlink_to("nowhere")
    with pytest.raises(RunError, match="is not a run"):
        create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=True)
    assert os.path.lexists(tmp_path / "first")


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), TuneError("the disk is full.")],
)
def test_a_full_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    before = contents(tmp_path)

    def fail(path: Path) -> Journal:
        raise error

    monkeypatch.setattr(journal_module.Journal, "create", fail)
    with pytest.raises(TuneError, match=r"first cannot be written: No space left|disk is full"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    assert contents(tmp_path) == before


def test_a_rename_that_fails_brings_the_old_run_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    before = contents(tmp_path)
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if target.name == "first" and not self.name.endswith(".old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(RunError, match="Input/output error"):
        create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
    left = contents(tmp_path)
    del left["first/lock"]
    assert left == before


def test_the_newest_run_is_opened(tmp_path: Path) -> None:
    for age, name in enumerate(("c", "a", "b")):
        create_run(tmp_path, name, SETTINGS, DATASET, overwrite=False)
        os.utime(tmp_path / name / "settings.json", (1000 - age, 1000 - age))
    (tmp_path / "other").mkdir()
    (tmp_path / "README.md").write_text("no run")
    assert run_names(tmp_path) == ["c", "a", "b"]
    assert open_run(tmp_path).name == "c"
    assert open_run(tmp_path, "b").name == "b"


def test_incomplete_runs_are_ignored(tmp_path: Path) -> None:
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (tmp_path / "first").rename(tmp_path / ".first.123")
    assert run_names(tmp_path) == []
    with pytest.raises(RunError, match=r"there are no runs in .* tune search DATA"):
        open_run(tmp_path)


def test_at_most_ten_runs_are_listed_as_choices(tmp_path: Path) -> None:
    for number in range(12):
        create_run(tmp_path, f"run-{number}", SETTINGS, DATASET, overwrite=False)
    with pytest.raises(RunError, match=r"there is no run other in .*\. Choose run-.*, \.\.\.\.$"):
        open_run(tmp_path, "other")


EMPTY = {"schema": 1, "classes": [], "given": [], "files": [], "warnings": []}


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (EMPTY | {"classes": ["a"]}, RunError),
        (EMPTY, RunError),
        ({"schema": 1, "classes": ["a"]}, DataError),
        ({"schema": 99, "classes": ["a"], "files": []}, DataError),
        ([], DataError),
    ],
)
def test_a_dataset_that_cannot_be_used(
    tmp_path: Path, document: object, error: type[Exception]
) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    (run.folder / "dataset.json").write_text(json.dumps(document))
    with pytest.raises(error, match=r"dataset\.json"):
        run.dataset(tmp_path)


def test_a_dataset_with_a_label_that_is_no_class(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    text = (run.folder / "dataset.json").read_text().replace('"label": "a"', '"label": "z"', 1)
    (run.folder / "dataset.json").write_text(text)
    with pytest.raises(RunError, match=r"dataset.json is damaged"):
        run.dataset(tmp_path)


def test_a_missing_folder_is_writable_if_it_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert is_writable(Path("a/b"))
    assert not is_writable(Path("file"))
    assert not is_writable(Path("file/b"))


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    dead = dead_process()
    gone = [f".first.{dead}.new", f".first.{dead}.old", f".first.{os.getpid()}.new"]
    kept = [f".first.{os.getppid()}.new", f".second.{dead}.new", ".first.notes", "other"]
    for name in (*gone, *kept):
        (tmp_path / name / "trials").mkdir(parents=True)
    create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    assert {path.name for path in tmp_path.iterdir()} == {"first", *kept}


# Who searches


def test_checking_the_lock_keeps_no_process_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    looking = locks.take(run.folder / "lock", exclusive=True)
    assert looking is not None
    monkeypatch.setattr("tuner.runs.lock.time.sleep", lambda seconds: os.close(looking))
    with sole_writer(run.folder):
        assert run.busy


@contextlib.contextmanager
def another_process(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that searches in a run's folder until it is killed."""
    script = (
        "import pathlib, time; from tuner.runs.run import sole_writer\n"
        f"with sole_writer(pathlib.Path({str(folder)!r})): print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_the_first_is_named(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    assert not run.busy
    with another_process(run.folder) as process:
        assert run.busy
        expected = (
            f"the run first is being searched by process {process.pid} on {socket.gethostname()}"
        )
        with pytest.raises(RunError, match=expected), sole_writer(run.folder):
            raise AssertionError("there are two")
        with pytest.raises(RunError, match=expected):
            check_free(run.folder)
        process.kill()
        process.wait()
    assert not run.busy
    check_free(run.folder)


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    with another_process(run.folder):
        pass  # and killed
    assert "process" in (run.folder / "lock").read_text()
    with sole_writer(run.folder):
        assert f"process {os.getpid()} on" in (run.folder / "lock").read_text()
        assert run.busy
    assert not run.busy


def test_a_run_that_is_being_searched_can_be_read(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    with sole_writer(run.folder):
        found = open_run(tmp_path)
        assert found.journal.trials() == []
        assert found.dataset(Path("/photos")) == DATASET


def test_a_run_that_is_being_searched_is_not_replaced(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    with sole_writer(run.folder):
        before = contents(tmp_path)
        with pytest.raises(RunError, match="is being searched by process"):
            create_run(tmp_path, "first", SearchSettings(), DATASET, overwrite=True)
        assert contents(tmp_path) == before


def test_a_run_that_is_being_searched_is_not_deleted(tmp_path: Path) -> None:
    run = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False)
    with sole_writer(run.folder):
        before = contents(tmp_path)
        with pytest.raises(RunError, match="is being searched by process"):
            delete_run(run.folder)
        assert contents(tmp_path) == before


def test_a_run_is_deleted_with_everything(tmp_path: Path) -> None:
    for name in ("first", "second"):
        create_run(tmp_path, name, SETTINGS, DATASET, overwrite=False)
    (tmp_path / "first" / "trials" / "0000").mkdir(parents=True)
    delete_run(open_run(tmp_path, "first").folder)
    assert [path.name for path in tmp_path.iterdir()] == ["second"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_run_can_be_read_but_not_searched(tmp_path: Path) -> None:
    folder = create_run(tmp_path, "first", SETTINGS, DATASET, overwrite=False).folder
    folder.chmod(0o555)
    try:
        assert open_run(tmp_path).journal.trials() == []
        (summary,) = summaries(tmp_path)
        assert (summary.state, summary.trials) == ("interrupted", 0)
        with pytest.raises(RunError, match="first cannot be written"), sole_writer(folder):
            raise AssertionError("it is written")
    finally:
        folder.chmod(0o755)


# What runs there are


def finished_run(runs_dir: Path, name: str, *scores: float, iterations: int = 1) -> Path:
    settings = SearchSettings(data="/my photos", objective="val_loss", iterations=iterations)
    run = create_run(runs_dir, name, settings, DATASET, overwrite=False)
    for score in scores:
        trial = run.journal.begin_trial({}, slot=(0, 0)).id
        run.journal.finish_rung(trial, RungRecord(0, 1, score, 1.0), [{}], completed=True)
    run.journal.close()
    return run.folder


def test_a_summary(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "first", 0.75, 0.5, 0.625)
    (summary,) = summaries(tmp_path)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert (summary.name, summary.data, summary.objective) == ("first", "/my photos", "val_loss")
    assert (summary.trials, summary.best_score, summary.size_bytes) == (3, 0.5, size)


@pytest.mark.parametrize("iterations", [1, 2])
def test_a_run_is_done_when_all_its_iterations_are(tmp_path: Path, iterations: int) -> None:
    folder = finished_run(tmp_path, "first", 0.5, iterations=iterations)
    states = []
    for done in range(iterations + 1):
        journal = Journal.open(folder / "journal.db")
        journal.set_notes(Notes(finished_iterations=done))
        journal.close()
        states += [summary.state for summary in summaries(tmp_path)]
    assert states == ["interrupted"] * iterations + ["done"]
    assert open_run(tmp_path).complete


def test_a_locked_run_is_running(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "first", 0.5)
    with sole_writer(folder):
        (summary,) = summaries(tmp_path)
    assert (summary.state, summary.trials) == ("running", 1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("journal.db", b"no database" * 100),
        ("journal.db", None),
        ("settings.json", b"{"),
        ("settings.json", b'{"schema": 1, "image_size": 3}'),
        ("settings.json", b'{"schema": Infinity}'),
        ("settings.json", b"[" * 100_000),
    ],
)
def test_a_damaged_run_hides_no_other(tmp_path: Path, name: str, content: bytes | None) -> None:
    file = finished_run(tmp_path, "first", 0.5) / name
    finished_run(tmp_path, "second", 0.25)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    found = {summary.name: summary for summary in summaries(tmp_path)}
    assert found["first"].state == "damaged"
    assert (found["first"].trials, found["first"].best_score) == (None, None)
    assert (found["second"].state, found["second"].best_score) == ("interrupted", 0.25)


def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    folder = finished_run(tmp_path, "first", 0.5)
    for name in ("dataset.json", "settings.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    with pytest.raises(RunError, match=r"dataset\.json .* it is no file but a pipe or a device"):
        run_module.Run(folder, SETTINGS).dataset()
    with pytest.raises(RunError, match=r"settings\.json .* it is no file but a pipe or a device"):
        SearchSettings.load(folder / "settings.json")


def test_a_row_with_a_wrong_checksum_makes_a_run_damaged(tmp_path: Path) -> None:
    path = finished_run(tmp_path, "first", 0.5) / "journal.db"
    data = path.read_bytes()
    assert data.count(b"COMPLETED") > 1  # in the schema, and in the trial's row
    path.write_bytes(data[::-1].replace(b"COMPLETED"[::-1], b"COMPLETEd"[::-1], 1)[::-1])
    assert [summary.state for summary in summaries(tmp_path)] == ["damaged"]


def test_without_runs_the_list_is_empty(tmp_path: Path) -> None:
    assert summaries(tmp_path) == summaries(tmp_path / "missing") == []
