"""What a user types, and the one sentence that each mistake is answered with."""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import pytest
from typer.testing import CliRunner

from tests.support.repository import ROOT
from tests.support.small_search import SEARCH, contents, small_search, tune, write_photos
from tuner import settings
from tuner.cli import app
from tuner.errors import InputError, TuneError
from tuner.hyperband.schedule import Schedule, hyperband
from tuner.observer import Counting, EpochEnds, SearchEvent
from tuner.runs.journal import Journal
from tuner.runs.lock import sole_writer
from tuner.runs.notes import Notes
from tuner.runs.records import RungRecord
from tuner.search import pipeline as search_module
from tuner.search.estimate import Estimate
from tuner.terminal.search_progress import SearchProgress

TRIAL_FIELDS = {
    "id",
    "status",
    "score",
    "hyperparameters",
    "bracket",
    "recipe",
    "rungs",
    "epochs",
    "seconds",
    "message",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that can be named wrongly, and `photos`, which are good."""
    place = tmp_path_factory.mktemp("place")
    write_photos(place / "photos", per_class=4)
    (place / "empty").mkdir()
    shutil.copytree(place / "photos" / "blue sky", place / "one" / "blue sky")
    shutil.copytree(place / "photos", place / "few")
    for path in list((place / "few" / "red brick").iterdir())[2:]:
        path.unlink()
    for name in ("a", "b"):
        (place / "unreadable" / name).mkdir(parents=True)
        (place / "unreadable" / name / "x.jpg").write_bytes(b"no image")
    (place / "file").write_text("text")
    (place / "text.weights.h5").write_text("no HDF5")
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    small.save_weights(place / "foreign.weights.h5")
    (place / "full").mkdir()
    (place / "full" / "kept.txt").write_text("kept")
    unfinished_run(place / "unfinished" / "begun")
    return place


def unfinished_run(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(settings.SearchSettings().to_json())
    Journal.create(folder / "journal.db").close()


def sentence(result: Any, code: int = 2) -> str:
    """The error of a command: the last line on stderr, and nothing like a traceback."""
    lines = result.stderr.splitlines()
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    errors = [line for line in lines if line.startswith("Error: ")]
    assert errors == ([] if code == 130 else lines[-1:]), result.stderr
    assert re.search(r"[.?)]$|: tune \w+.*$", lines[-1]), "it ends like a sentence"
    return str(lines[-1])


BAD_DATA = {
    "missing": r"missing does not exist",
    "file": r"file is a file: name a folder",
    "empty": r"must hold one folder per class",
    "one": r"has one class, blue sky, but at least two are needed",
    "few": r"Class red brick has 2 different images to split, but needs at least 3",
    "unreadable": r"None of the 2 images in .* can be read; the first, a/x.jpg",
}

BAD_OPTIONS = {
    "--weights nowhere.h5": r"no weights file .*/nowhere.h5\. Pass imagenet, none, or the path",
    "--weights {place}": r"there is no weights file",
    "--weights {place}/text.weights.h5": r"is not a Keras weights file",
    "--weights {place}/foreign.weights.h5": r"does not hold the weights of a ResNet50",
    "--image-size 31": r"--image-size must be at least 32, but is 31",
    "--fix depth=3": r"no hyperparameter 'depth' to fix\. Choose unfreeze_blocks, .*_rate",
    "--fix unfreeze_blocks=4": r"unfreeze_blocks cannot be '4'\. Choose 0, 1, 2, 3, 6, 9, 16",
    "--fix dropout=0.7": r"dropout must be from 0 to 0\.6, not '0\.7'",
    "--fix dropout": r"--fix takes name=value, such as unfreeze_blocks=0, not 'dropout'",
    "--fix dropout=0 --fix dropout=0.1": r"--fix dropout is given twice",
    "--space vgg": r"no search space 'vgg'\. Choose resnet50",
    "--space nowhere:Space": r"search space 'nowhere:Space' cannot be loaded",
    "--run a/b": r"cannot be named 'a/b'\. Use up to 60 letters",
    "--run ..": r"cannot be named '\.\.'",
    "--run=": r"--run is empty\. Is a variable of your script not set\?",
    "--cache-dir {place}": r"/place0? is not a cache folder of this program, and not empty",
    "--run .hidden": r"cannot be named '\.hidden'",
    "--run=-x": r"cannot be named '-x'",
    f"--run {'x' * 61}": r"cannot be named",
    "--max-epochs 0": r"--max-epochs must be at least 1, but is 0",
    "--max-epochs=-3": r"--max-epochs must be at least 1, but is -3",
    "--factor 1": r"--factor must be at least 2, but is 1",
    "--iterations 0": r"--iterations must be at least 1",
    "--batch-size=-1": r"--batch-size must be at least 1",
    "--seed=-1": r"--seed must be at least 0",
    "--split-seed=-1": r"--split-seed must be at least 0",
    "--val-fraction=-0.1": r"--val-fraction must be between 0 and 1",
    "--val-fraction nan": r"--val-fraction must be between 0 and 1",
    "--test-fraction 1": r"--test-fraction must be between 0 and 1",
    "--val-fraction 0.5 --test-fraction 0.5": r"must leave something to train on",
    "--time-budget nonsense": r"'nonsense' is not a time\. Give a number with d, h, m or s",
    "--time-budget 30": r"'30' is not a time",
    "--time-budget 0s": r"--time-budget must be above 0 s, but is 0 s",
    "--cache-limit much": r"'much' is not a size\. Give a number with KB, MB, GB or TB",
    "--resume --overwrite": r"--overwrite starts over and --resume continues\. Give one of them",
    "--max-epochs many": r"--max-epochs.*valid integer",
    "--objective accuracy": r"not one of 'val_accuracy', 'val_balanced_accuracy', 'val_loss'",
    "--depth 3": r"No such option: --depth",
    "--runs-dir {place}/file": r"runs folder .*/file cannot be written\. Choose another",
    "--runs-dir {place}/file/runs": r"runs folder .*/file/runs cannot be written",
    "--cache-dir {place}/file": r"cache folder .*/file cannot be used",
}


@pytest.mark.parametrize(
    "words",
    [
        ["data", ""],
        ["search", "", "--run", "first"],
        ["search", "photos", "--cache-dir", ""],
        ["search", "photos", "--runs-dir="],
        ["predict", "model", ""],
        ["cache", "--prune", "--cache-dir", ""],
        ["best", "first", "--export", ""],
        [""],
    ],
)
def test_an_empty_argument_is_never_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(r"^Error: (an argument|--\S+) is empty\. ", sentence(tune(*words)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--runs-dir=~/runs"], ["--runs-dir", "~/runs"]])
def test_a_home_that_the_shell_did_not_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tune("runs", *words).stdout == f"There are no runs in {tmp_path}/runs.\n"


RUN_TUNE = 'python=$0; run() { "$python" -c "from tuner.cli import main; main()" "$@"; }; run '


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("--version >&-", 1),
        ("--version >/dev/full", 1),
        ("--help >/dev/full", 1),
        ("runs --json >/dev/full", 1),
        ("runs --json >&- 2>&- <&-", 1),
        ("runs --json 2>&-", 0),
        ("runs --json 2>/dev/full <&-", 0),
        ("trials 2>/dev/full", 2),
        ("--help | head -n 0; exit ${PIPESTATUS[1]}", 0),
    ],
)
def test_closed_and_full_streams(tmp_path: Path, words: str, code: int) -> None:
    finished = subprocess.run(
        ["bash", "-c", RUN_TUNE + words, sys.executable],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == code
    said = "Error: the result could not be printed: "
    lines = finished.stderr.splitlines()
    assert [line.startswith(said) for line in lines] == [True] * (code == 1 and "2>" not in words)


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data(place: Path, tmp_path: Path, name: str) -> None:
    result = tune("search", place / name, *SEARCH, "--runs-dir", tmp_path / "runs")
    assert re.search(BAD_DATA[name], sentence(result))
    assert not (tmp_path / "runs").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_data_without_permission(place: Path, tmp_path: Path) -> None:
    photos = Path(shutil.copytree(place / "photos", tmp_path / "photos"))
    (photos / "red brick").chmod(0)
    try:
        result = tune("search", photos, *SEARCH, "--runs-dir", tmp_path / "runs")
    finally:
        (photos / "red brick").chmod(0o700)
    assert "permission denied" in sentence(result)


@pytest.mark.parametrize("options", BAD_OPTIONS)
def test_bad_options(place: Path, tmp_path: Path, options: str) -> None:
    runs = tmp_path / "runs"
    given = options.format(place=place).split(" ")
    before = contents(place)
    result = tune(
        "search", place / "photos", *SEARCH, "--runs-dir", runs, "--cache-dir", tmp_path, *given
    )
    code = 1 if options == "--cache-dir {place}/file" else 2
    if given[0] in ("--depth", "--objective", "--max-epochs") and code == 2:
        assert result.exit_code == 2
        assert re.search(BAD_OPTIONS[options], result.stderr)
        assert "Traceback" not in result.output
    else:
        assert re.search(BAD_OPTIONS[options], sentence(result, code))
    assert not runs.exists()
    assert contents(place) == before


def test_imagenet_weights_without_a_network(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise Exception("URL fetch failure: [Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr(keras.utils, "get_file", unreachable)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    result = tune(
        "search", place / "photos", *SEARCH, "--weights", "imagenet", "--runs-dir", tmp_path / "r"
    )
    message = sentence(result)
    assert re.search(r"Fetch https://\S+/resnet50_weights_tf_\w+_notop\.h5 on another", message)
    assert f"put it in {tmp_path / 'keras' / 'models'}, which then works offline" in message
    assert "--weights FILE" in message
    assert not (tmp_path / "r").exists()


def test_a_run_that_exists_is_kept(place: Path, tmp_path: Path) -> None:
    unfinished_run(tmp_path / "first")
    before = contents(tmp_path)
    arguments = ("search", place / "photos", *SEARCH, "--runs-dir", tmp_path, "--run", "first")
    message = sentence(tune(*arguments))
    assert "the run first exists" in message
    assert "--overwrite" in message
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "bad", ["--weights nowhere.h5", "--fix depth=3", "--max-epochs 0", "--space vgg", "DATA"]
)
def test_overwrite_replaces_nothing_before_all_is_good(
    place: Path, tmp_path: Path, bad: str
) -> None:
    unfinished_run(tmp_path / "first")
    before = contents(tmp_path)
    data = place / ("empty" if bad == "DATA" else "photos")
    given = [] if bad == "DATA" else bad.split()
    sentence(
        tune(
            "search", data, *SEARCH, "--runs-dir", tmp_path, "--run", "first", "--overwrite", *given
        )
    )
    assert contents(tmp_path) == before


def test_a_folder_that_is_no_run_is_never_replaced(place: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "kept.txt").write_text("kept")
    result = tune(
        "search",
        place / "photos",
        *SEARCH,
        "--runs-dir",
        tmp_path,
        "--run",
        "full",
        "--overwrite",
    )
    assert "is not a run" in sentence(result)
    assert (tmp_path / "full" / "kept.txt").read_text() == "kept"


@pytest.mark.parametrize("command", ["trials", "best"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--runs-dir {place}/empty", r"no runs in .*empty\. Begin one with: tune search DATA"),
        ("--runs-dir {place}/missing", r"there are no runs in"),
        ("--runs-dir {place}/file", r"there are no runs in"),
        ("other --runs-dir {place}/unfinished", r"no run other in .*\. Choose begun\."),
        ("../empty --runs-dir {place}/unfinished", r"no run \.\./empty"),
    ],
)
def test_a_run_that_is_not_there(place: Path, command: str, arguments: str, expected: str) -> None:
    assert re.search(expected, sentence(tune(command, *arguments.format(place=place).split())))


def test_a_run_without_a_finished_trial(place: Path, tmp_path: Path) -> None:
    runs = place / "unfinished"
    message = sentence(tune("best", "--runs-dir", runs, "--export", tmp_path / "model"))
    assert "no trial of run begun has finished yet" in message
    assert not (tmp_path / "model").exists()
    assert "There are no trials yet." in tune("trials", "--runs-dir", runs).stdout
    assert json.loads(tune("trials", "--runs-dir", runs, "--format", "json").stdout) == []


def test_a_run_whose_trials_all_failed(tmp_path: Path) -> None:
    unfinished_run(tmp_path / "begun")
    journal = Journal.open(tmp_path / "begun" / "journal.db")
    journal.fail(journal.begin_trial({}, slot=(0, 0)).id, "the loss became NaN\nin epoch 1")
    assert sentence(tune("best", "--runs-dir", tmp_path)) == (
        "Error: every trial of run begun failed, the last one with: the loss became NaN in epoch 1."
    )


DAMAGED = {
    ("settings.json", "{"): r"settings .* cannot be read",
    ("settings.json", "[]"): r"settings .* cannot be read",
    ("settings.json", '{"schema": 1, "colour": "red"}'): r"settings.json .*damaged",
    ("settings.json", '{"schema": 1, "image_size": "64"}'): r"settings.json .*damaged",
    ("settings.json", '{"schema": 1, "image_size": 3}'): r"settings.json is damaged: --image-size",
    ("settings.json", '{"schema": "one"}'): r"settings .* cannot be read",
    ("settings.json", '{"schema": 99}'): r"newer version \(schema 99",
    ("journal.db", "no database" * 100): r"journal .* damaged",
    ("journal.db", ""): r"journal.db is not a journal",
    ("dataset.json", "{"): r"dataset.json is damaged",
    ("dataset.json", "[]"): r"dataset.json is damaged",
    ("dataset.json", '{"schema": 99, "classes": [], "files": []}'): r"upgrade this program",
    ("dataset.json", '{"schema": 1, "classes": ["a"], "files": []}'): r"dataset.json is damaged",
    ("dataset.json", None): r"dataset.json cannot be read",
    ("journal.db", None): r"no journal",
}


@pytest.mark.parametrize(("name", "text"), DAMAGED)
def test_a_damaged_run(tmp_path: Path, name: str, text: str | None) -> None:
    run = small_search().copy_of_runs(tmp_path) / "small"
    if name == "journal.db":
        for path in run.glob("journal.db*"):
            path.unlink()
    (run / name).unlink(missing_ok=True)
    if text is not None:
        (run / name).write_text(text)
    before = contents(tmp_path)
    export = tmp_path / "model"
    message = sentence(tune("best", "--runs-dir", run.parent, "--export", export))
    assert re.search(DAMAGED[name, text], message, re.IGNORECASE)
    assert {key: value for key, value in contents(tmp_path).items() if "journal" not in key} == {
        key: value for key, value in before.items() if "journal" not in key
    }


def test_a_journal_of_a_newer_version(tmp_path: Path) -> None:
    unfinished_run(tmp_path / "begun")
    with contextlib.closing(sqlite3.connect(tmp_path / "begun" / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert "newer version (schema 99" in sentence(tune("trials", "--runs-dir", tmp_path))


def test_a_journal_damaged_in_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "begun" / "journal.db"
    unfinished_run(path.parent)
    journal = Journal.open(path)
    for number in range(200):
        journal.begin_trial({"note": "x" * 100}, slot=(0, number))
    journal.close()
    data = bytearray(path.read_bytes())
    data[5000:-4096] = b"\xff" * (len(data) - 9096)
    path.write_bytes(data)
    assert "journal" in sentence(tune("trials", "--runs-dir", tmp_path))


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (OSError(28, "No space left on device", "/x/y"), 1, "/x/y cannot be used: no space left"),
        (OSError(28, "No space left on device"), 1, "Error: no space left on device."),
        (OSError("unable to write"), 1, "Error: unable to write."),
        (InputError("odd \x1b[31m\nname."), 2, "Error: odd \ufffd[31m name."),
        (TuneError("it went wrong."), 1, "Error: it went wrong."),
        (KeyboardInterrupt(), 130, "Stopped."),
    ],
)
def test_what_the_library_raises_becomes_a_sentence(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, expected: str
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("tuner.runs.run.open_run", fail)
    assert expected in sentence(tune("trials"), code)


@pytest.mark.parametrize("target", ["full", "file", "file/model"])
def test_an_export_folder_that_cannot_be_used(place: Path, target: str) -> None:
    before = contents(place)
    result = tune("best", "--runs-dir", small_search().runs, "--export", place / target)
    expected = "is not an empty folder" if target != "file/model" else "cannot be written"
    assert expected in sentence(result)
    assert contents(place) == before


@pytest.mark.parametrize("command", [("search",), ("trials",), ("best",), ("predict", "m", "i")])
@pytest.mark.parametrize(
    ("variable", "config", "expected"),
    [
        ("jax", {}, "backend jax, but only tensorflow is supported. Change the environment"),
        ("", {"backend": "torch"}, "backend torch, but only tensorflow"),
        ("", {"image_data_format": "channels_first"}, "image_data_format channels_first"),
        ("", {"floatx": "float16"}, "floatx float16, but only float32 is supported. Change"),
    ],
)
def test_another_keras(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    variable: str,
    config: dict[str, str],
    expected: str,
) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(config))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_BACKEND", variable)
    message = sentence(tune(*command))
    assert expected in message
    assert variable or str(tmp_path / "keras.json") in message


def test_a_damaged_image_among_good_ones_is_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any) -> None:
        raise InputError("the images were read.")

    monkeypatch.setattr("tuner.search.pipeline.prepare", end)
    photos = Path(shutil.copytree(place / "photos", tmp_path / "photos"))
    (photos / "red brick" / "cut.png").write_bytes(
        (photos / "red brick" / "00.png").read_bytes()[:99]
    )
    result = tune("search", photos, *SEARCH, "--runs-dir", tmp_path)
    assert "Warning: red brick/cut.png is left out: it is cut short." in result.stderr
    assert "12 images in 3 classes" in result.stderr
    options = ("--runs-dir", tmp_path, "--json", "--quiet")
    events = [
        json.loads(line)
        for line in tune("search", photos, *SEARCH, *options).stdout.split("\n")[:-1]
    ]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert "Warning: red brick/cut.png is left out: it is cut short." in notes


def test_in_a_real_process(place: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "https_proxy": "http://127.0.0.1:9",
        "KERAS_HOME": str(tmp_path / "keras"),
        "PYTHONPATH": str(ROOT),
    }
    finished = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tuner.cli import main; main()",
            "search",
            place / "photos",
            "--image-size",
            "32",
            "--runs-dir",
            tmp_path / "runs",
            "--cache-dir",
            tmp_path / "cache",
        ],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert finished.returncode == 2, finished.stderr
    assert finished.stdout == ""
    assert "Traceback" not in finished.stderr
    last = finished.stderr.splitlines()[-1]
    assert last.startswith("Error: the ImageNet weights could not be downloaded. Fetch https://")
    assert not (tmp_path / "runs").exists()


def test_the_search_prints_its_trials_and_what_comes_next() -> None:
    search = small_search()
    lines = search.result.stdout.splitlines()
    assert lines[0].split()[:4] == ["trial", "score", "ep.", "status"]
    assert [line for line in lines if " leads by val_accuracy." in line]
    assert lines[-1] == (
        f"Next: tune best small --runs-dir {search.runs} --cache-dir {search.cache} --export model"
    )
    assert "60 images in 3 classes: 42 train, 9 validation, 9 test." in search.result.stderr
    assert "The blog head is skipped: it contradicts --fix." in search.result.stderr


def test_trials_as_json() -> None:
    rows = json.loads(tune("trials", "--runs-dir", small_search().runs, "--format", "json").stdout)
    assert rows == json.loads(tune("trials", "--runs-dir", small_search().runs, "--json").stdout)
    assert sorted(row["id"] for row in rows) == ["0000", "0001"]
    for row in rows:
        assert set(row) == TRIAL_FIELDS
        assert row["status"] == "COMPLETED"
        assert row["rungs"] == [{"from": 0, "to": 1, "score": row["score"]}]
        assert row["epochs"] == 1
        assert row["seconds"] > 0
        assert row["hyperparameters"]["unfreeze_blocks"] == 0
        assert row["hyperparameters"]["head_layers"] == 0
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert {row["recipe"] for row in rows} == {"plain head", None}
    assert {row["bracket"] for row in rows} == {None, 0}


def test_trials_as_csv() -> None:
    runs = small_search().runs
    printed = tune("trials", "small", "--runs-dir", runs, "--format", "csv").stdout
    assert "\r" not in printed
    rows = list(csv.DictReader(io.StringIO(printed)))
    expected = json.loads(tune("trials", "--runs-dir", runs, "--json").stdout)
    assert [row["id"] for row in rows] == [row["id"] for row in expected]
    assert [float(row["learning_rate"]) for row in rows] == [
        row["hyperparameters"]["learning_rate"] for row in expected
    ]
    assert {"status", "score", "bracket", "epochs", "seconds"} <= set(rows[0])


def test_trials_as_a_table() -> None:
    lines = tune("trials", "--runs-dir", small_search().runs).stdout.splitlines()
    assert lines[2].startswith("*000")
    assert all(len(line) <= 80 for line in lines)
    assert "Always answering the most frequent class: 33.3 %" in lines


def test_trials_are_shown_without_the_description_of_the_images(tmp_path: Path) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    (runs / "small" / "dataset.json").unlink()
    result = tune("trials", "--runs-dir", runs)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2].startswith("*000")
    assert "Always answering" not in result.stdout


def test_best_as_json_and_as_text() -> None:
    search = small_search()
    given = ("best", "--runs-dir", search.runs, "--cache-dir", search.cache)
    row = json.loads(tune(*given, "--json").stdout)
    trials = json.loads(tune("trials", "--runs-dir", search.runs, "--json").stdout)
    assert row["trial"] == trials[0]["id"]
    assert row["hyperparameters"] == trials[0]["hyperparameters"]
    assert row["validation_accuracy"] == trials[0]["score"]
    assert row["test_images"] == 9
    assert row["test_accuracy"] * 9 == pytest.approx(round(row["test_accuracy"] * 9))
    assert row["majority_rate"] == pytest.approx(1 / 3)
    text = tune(*given).stdout
    assert f"Winner: trial {row['trial']}" in text
    assert f"{row['test_accuracy']:.1%}".replace("%", " %") in text
    assert "Always answering the most frequent class: 33.3 % (test), 33.3 % (validation)" in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_images_that_vanished_since_the_search(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    document = json.loads((runs / "small" / "dataset.json").read_text())
    (runs / "small" / "dataset.json").write_text(
        json.dumps(document | {"root": str(tmp_path / "gone")})
    )
    result = tune("best", "--runs-dir", runs, "--cache-dir", tmp_path / "cache")
    assert re.search(r"\.png can no longer be read \(not found\)", sentence(result))
    assert json.loads(tune("trials", "--runs-dir", runs, "--json").stdout)


def test_the_newest_run_is_taken(tmp_path: Path) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    unfinished_run(runs / "newer")
    os.utime(runs / "small" / "settings.json", (1, 1))
    assert tune("trials", "--runs-dir", runs, "--json").stdout == "[]\n"
    assert json.loads(tune("trials", "small", "--runs-dir", runs, "--json").stdout)


def test_the_table_shows_hostile_text_as_text(tmp_path: Path) -> None:
    unfinished_run(tmp_path / "begun")
    journal = Journal.open(tmp_path / "begun" / "journal.db")
    trial = journal.begin_trial({"[red]": "[bold]x\x1b[31m"}, slot=(0, 0)).id
    journal.finish_rung(trial, RungRecord(0, 1, 0.5, 1.0), [{}], completed=True)
    shown = tune("trials", "--runs-dir", tmp_path).stdout
    assert "[red]" in shown
    assert "[bold]x\ufffd[31m" in shown
    assert "\x1b" not in shown


def test_help_and_version_need_no_tensorflow() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from tuner.cli import app\n"
        "for given in (['--help'], ['--version'], ['search', '--help']):\n"
        "    assert CliRunner().invoke(app, given).exit_code == 0\n"
        "assert not {'tensorflow', 'keras', 'sklearn'} & set(sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_every_command_has_an_example() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.callback.__name__
        assert f"Example: tune {name}" in tune(name, "--help").stdout


def test_no_command_shows_the_help() -> None:
    assert "Commands" in tune().output
    assert tune().exit_code == 2


# Going on


def search_again(runs: Path, *options: object) -> Any:
    """The command that made the small search, on features that are stored."""
    search = small_search()
    return tune(
        "search",
        search.photos,
        "--run",
        "small",
        *SEARCH,
        "--fix",
        "unfreeze_blocks=0",
        "--fix",
        "head_layers=0",
        "--runs-dir",
        runs,
        "--cache-dir",
        search.cache,
        *options,
    )


def without_seconds(result: Any) -> list[dict[str, Any]]:
    rows = json.loads(result.stdout)
    for row in rows:
        del row["seconds"]
    return list(rows)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sends a signal after every event of one kind."""
    small_search()  # which none interrupts

    def at(kind: type[SearchEvent]) -> None:
        on_event = SearchProgress.on_event

        def interrupted(self: SearchProgress, event: SearchEvent) -> None:
            on_event(self, event)
            if isinstance(event, kind):
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(SearchProgress, "on_event", interrupted)

    return at


def test_a_search_is_begun_by_resume_stopped_by_a_signal_and_gone_on_with(
    tmp_path: Path, interrupted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "my runs"
    interrupted(EpochEnds)
    result = search_again(runs, "--resume")
    monkeypatch.undo()
    message = sentence(result, 130)
    cache = small_search().cache
    assert re.fullmatch(
        r"Stopped and saved: [01] of 2 trials, 1 of 2 epochs(, best 0\.\d{4})?\. Continue with: "
        + re.escape(f"tune resume small --runs-dir '{runs}' --cache-dir {cache}"),
        message,
    )
    assert "Stopping: this epoch is finished and saved." in result.stderr
    assert result.stdout == ""
    (row,) = json.loads(tune("runs", "--runs-dir", runs, "--json").stdout)
    assert (row["state"], row["trials"]) == ("interrupted", 1)

    resumed = tune("resume", "small", "--runs-dir", runs, "--cache-dir", cache)
    assert resumed.exit_code == 0, resumed.output
    assert "Done before: 1 trial and 1 epoch." in resumed.stderr
    given = ("trials", "--json", "--runs-dir")
    assert without_seconds(tune(*given, runs)) == without_seconds(tune(*given, small_search().runs))
    (row,) = json.loads(tune("runs", "--runs-dir", runs, "--json").stdout)
    assert (row["state"], row["trials"]) == ("done", 2)


def test_a_run_that_was_overwritten_is_gone_on_with_and_not_overwritten_again(
    tmp_path: Path, interrupted: Any
) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    interrupted(EpochEnds)
    message = sentence(search_again(runs, "--overwrite"), 130)
    assert "Continue with: tune resume small --runs-dir " in message
    assert len(json.loads(tune("trials", "--runs-dir", runs, "--json").stdout)) == 1


@pytest.mark.parametrize("option", ["--overwrite", "--quiet"])
def test_before_a_run_is_begun_the_command_itself_goes_on(
    tmp_path: Path, interrupted: Any, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    if option != "--overwrite":
        shutil.rmtree(runs)
    before = contents(tmp_path)
    interrupted(Counting)
    monkeypatch.setattr(sys, "argv", ["tune", "search", "my photos", option])
    message = sentence(search_again(runs, option), 130)
    assert message == (
        f"Stopped before the training began. Continue with: tune search 'my photos' {option}"
    )
    assert contents(tmp_path) == before


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built: what needs a network fails."""

    def never(*_: Any) -> None:
        raise AssertionError("it builds a network")

    monkeypatch.setattr(search_module, "space_of", never)


def test_a_complete_run_is_resumed_at_once_with_the_same_table(
    tmp_path: Path, at_once: None
) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    for result in (
        tune("resume", "--runs-dir", runs, "--cache-dir", search.cache),
        search_again(runs, "--resume"),
    ):
        assert result.exit_code == 0, result.output
        lines, expected = result.stdout.splitlines(), search.result.stdout.splitlines()
        assert lines[:-1] == expected[:-1]
        assert lines[-1].startswith("Next: tune best small --runs-dir ")
        assert "The search is complete. Add to it with: tune resume small --iterations 2" in (
            result.stderr
        )


def test_resume_as_json(tmp_path: Path, at_once: None) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    given = ("resume", "--runs-dir", runs, "--cache-dir", search.cache, "--json")
    row = json.loads(tune(*given).stdout.splitlines()[-1])
    del row["time"]
    best = json.loads(tune("trials", "--runs-dir", runs, "--json").stdout)[0]
    assert row == {
        "event": "result",
        "run": "small",
        "folder": str(runs / "small"),
        "winner": int(best["id"]),
        "trial": best["id"],
    }


def test_a_run_goes_on_with_its_own_settings_alone(tmp_path: Path, at_once: None) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    before = contents(runs)
    message = sentence(search_again(runs, "--resume", "--seed", "1", "--batch-size", "16"))
    assert "begun with other settings: --batch-size was 32, not 16; --seed was 0, not 1." in message
    assert contents(runs) == before


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--runs-dir {place}/empty", r"no runs in .*empty\. Begin one with: tune search DATA"),
        ("other --runs-dir {place}/unfinished", r"no run other in .*\. Choose begun\."),
        ("--runs-dir {place}/unfinished --time-budget nonsense", r"'nonsense' is not a time"),
        ("--runs-dir {place}/unfinished --iterations 0", r"must be at least the run's 1, but is 0"),
        ("--runs-dir {place}/unfinished --cache-limit much", r"'much' is not a size"),
    ],
)
def test_what_cannot_be_resumed(place: Path, arguments: str, expected: str) -> None:
    before = contents(place)
    assert re.search(expected, sentence(tune("resume", *arguments.format(place=place).split())))
    assert contents(place) == before


def test_a_budget_that_is_used_up_before_the_first_trial_says_how_to_go_on(tmp_path: Path) -> None:
    result = search_again(tmp_path, "--time-budget", "0.001s")
    message = sentence(result)
    assert "tune resume small" in message
    assert "The time budget is used up: 2 of 2 planned epochs are left" in result.stderr
    resumed = tune(
        "resume",
        "--runs-dir",
        tmp_path,
        "--cache-dir",
        small_search().cache,
        "--time-budget",
        "10000d",
    )
    assert resumed.exit_code == 0, resumed.output
    assert json.loads(tune("trials", "--runs-dir", tmp_path, "--json").stdout)


# Without doing it


def test_a_dry_run_prints_what_would_be_done_and_makes_no_run(tmp_path: Path) -> None:
    result = search_again(tmp_path / "runs", "--dry-run", "--max-epochs", "9")
    assert result.exit_code == 0, result.output
    first, *brackets, last = result.stdout.splitlines()
    assert re.fullmatch(
        r"Hyperband: 18 trials, 84 epochs in all, up to 9 a trial, about \d.*\.", first
    ), first
    assert brackets == [
        "  recipes (known to be good): 1 to epoch 9",
        "  bracket 2: 9 to epoch 1, the best 3 to epoch 3, the best 1 to epoch 9",
        "  bracket 1: 5 to epoch 3, the best 2 to epoch 9",
        "  bracket 0: 3 to epoch 9",
    ]
    assert re.fullmatch(
        r"Before it, unless they are stored: features, about \d.*s and \d.* [KM]?B\.", last
    ), last
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_as_json(tmp_path: Path) -> None:
    result = search_again(tmp_path / "runs", "--dry-run", "--json", "--time-budget", "1h")
    row = json.loads(result.stdout)
    assert set(row) == {
        "schedule",
        "preparation_seconds",
        "training_seconds",
        "stored_bytes",
        "imbalance",
        "trials",
    }
    assert row["imbalance"] is None
    assert row["trials"] == 2
    assert row["schedule"]["brackets"] == [
        {"number": 0, "rungs": [{"size": 1, "start_epoch": 0, "end_epoch": 1}]}
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("told", [None, "Class cat has 60 training images and class dog 9: ..."])
def test_a_dry_run_tells_of_unequal_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    found = Estimate(Schedule(hyperband(3, 3), 1, ()), None, None, 0, told)
    monkeypatch.setattr("tuner.search.estimate.estimate", lambda *_: found)
    result = tune("search", "--dry-run", "--runs-dir", tmp_path / "runs")
    assert result.exit_code == 0, result.output
    assert result.stderr.split() == (told or "").split()


def test_a_dry_run_of_nothing_is_an_error(place: Path, tmp_path: Path) -> None:
    result = tune("search", place / "empty", *SEARCH, "--dry-run", "--runs-dir", tmp_path / "runs")
    assert re.search(BAD_DATA["empty"], sentence(result))


# All runs


def answer(text: str, *arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=text)


@pytest.fixture
def several(tmp_path: Path) -> Path:
    """Runs of every state but "running"; the newest first is done, interrupted, damaged."""
    runs = small_search().copy_of_runs(tmp_path)
    unfinished_run(runs / "begun")
    unfinished_run(runs / "broken")
    (runs / "broken" / "journal.db").write_bytes(b"no database" * 100)
    for age, name in enumerate(("small", "begun", "broken")):
        os.utime(runs / name / "settings.json", (1000 - age, 1000 - age))
    return runs


def test_runs_as_a_table(several: Path) -> None:
    with sole_writer(several / "begun"):
        result = tune("runs", "--runs-dir", several)
    assert result.exit_code == 0
    header, _, *rows = result.stdout.splitlines()
    assert header.split() == ["run", "data", "state", "trials", "best", "size"]
    best = json.loads(tune("trials", "small", "--runs-dir", several, "--json").stdout)[0]
    assert [row.split()[:5] for row in rows] == [
        ["small", "photos", "done", "2", f"{best['score']:.4f}"],
        ["begun", "digits", "running", "0", "-"],
        ["broken", "digits", "damaged", "-", "-"],
    ]
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_runs_as_json(several: Path) -> None:
    rows = json.loads(tune("runs", "--runs-dir", several, "--json").stdout)
    assert [(row["name"], row["state"]) for row in rows] == [
        ("small", "done"),
        ("begun", "interrupted"),
        ("broken", "damaged"),
    ]
    assert set(rows[0]) == {
        "name",
        "data",
        "state",
        "trials",
        "best_score",
        "objective",
        "size_bytes",
    }


def test_where_there_are_no_runs_that_is_said(tmp_path: Path) -> None:
    result = tune("runs", "--runs-dir", tmp_path / "missing")
    assert (result.exit_code, result.stdout) == (0, f"There are no runs in {tmp_path}/missing.\n")
    assert json.loads(tune("runs", "--runs-dir", tmp_path, "--json").stdout) == []


@pytest.mark.parametrize("text", ["n\n", "\n"])
def test_a_run_is_deleted_only_if_that_is_wanted(several: Path, text: str) -> None:
    before = contents(several)
    result = answer(text, "runs", "--runs-dir", several, "--delete", "small")
    assert "small with everything in it?" in result.output
    assert "Error: nothing was deleted." in result.stderr
    assert result.exit_code == 2
    assert contents(several) == before


@pytest.mark.parametrize("options", [(), ("--yes",)])
@pytest.mark.parametrize("name", ["small", "broken"])
def test_a_run_is_deleted(several: Path, name: str, options: tuple[str, ...]) -> None:
    result = answer(
        "" if options else "y\n", "runs", "--runs-dir", several, "--delete", name, *options
    )
    assert result.exit_code == 0, result.output
    assert ("with everything in it?" in result.output) is not bool(options)
    assert f"Deleted {several / name}." in result.stderr
    assert {path.name for path in several.iterdir()} == {"small", "begun", "broken"} - {name}


def test_a_run_that_is_not_there_cannot_be_deleted(several: Path) -> None:
    result = tune("runs", "--runs-dir", several, "--delete", "other", "--yes")
    assert "no run other in" in sentence(result)


# While a process searches


def test_a_run_that_is_being_searched_can_be_looked_at() -> None:
    search = small_search()
    with sole_writer(search.run):
        assert json.loads(tune("trials", "--runs-dir", search.runs, "--json").stdout)
        best = tune("best", "--runs-dir", search.runs, "--cache-dir", search.cache, "--json")
        assert json.loads(best.stdout)["test_images"] == 9
        (row,) = json.loads(tune("runs", "--runs-dir", search.runs, "--json").stdout)
        assert row["state"] == "running"


@pytest.mark.parametrize("how", ["--resume", "--overwrite", "resume", "--delete"])
def test_a_run_that_is_being_searched_is_left_alone(several: Path, at_once: None, how: str) -> None:
    with sole_writer(several / "small"):
        before = contents(several)
        if how == "resume":
            result = tune("resume", "small", "--runs-dir", several)
        elif how == "--delete":
            result = tune("runs", "--runs-dir", several, "--delete", "small", "--yes")
        else:
            result = search_again(several, how)
        message = sentence(result)
        assert f"the run small is being searched by process {os.getpid()} on " in message
        assert "Wait until it ends, or choose another --run." in message
        assert contents(several) == before


# Damage


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A run of which one trial's score is another than was written, and nothing else."""
    unfinished_run(tmp_path / "begun")
    journal = Journal.open(tmp_path / "begun" / "journal.db")
    for number, score in enumerate((0.25, 0.75, 0.5)):
        journal.begin_trial({"width": number}, slot=(0, 0))
        journal.finish_rung(number, RungRecord(0, 1, score, 1.0), [{}], completed=True)
    journal.set_notes(Notes(finished_iterations=1))
    journal.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "begun" / "journal.db")) as connection:
        connection.execute("UPDATE rungs SET score = 0.99 WHERE trial = 0")
        connection.commit()
    return tmp_path


def test_what_is_readable_of_a_damaged_run_is_listed(damaged: Path) -> None:
    result = tune("trials", "--runs-dir", damaged)
    message = sentence(result)
    assert "journal.db is damaged: the checksum of a row does not match. Restore a copy" in message
    rows = [line.split() for line in result.stdout.splitlines()[2:5]]
    assert [row[:2] for row in rows] == [["*0001", "0.7500"], ["0002", "0.5000"], ["0000", "-"]]


@pytest.mark.parametrize("given", [("--json",), ("--format", "json"), ("--format", "csv")])
def test_what_is_readable_is_listed_in_every_format(damaged: Path, given: tuple[str, ...]) -> None:
    result = tune("trials", "--runs-dir", damaged, *given)
    sentence(result)
    if "csv" in given:
        scores = [row["score"] for row in csv.DictReader(io.StringIO(result.stdout))]
        assert scores == ["0.75", "0.5", ""]
    else:
        assert [row["score"] for row in json.loads(result.stdout)] == [0.75, 0.5, None]


def test_a_damaged_run_has_no_winner(damaged: Path) -> None:
    assert "journal.db is damaged" in sentence(tune("best", "--runs-dir", damaged))
    (row,) = json.loads(tune("runs", "--runs-dir", damaged, "--json").stdout)
    assert row["state"] == "damaged"


@pytest.mark.parametrize("finished", ["1", "0"])
def test_a_damaged_run_is_not_resumed(tmp_path: Path, finished: str) -> None:
    runs = small_search().copy_of_runs(tmp_path)
    journal = Journal.open(runs / "small" / "journal.db")
    journal.set_notes(Notes(finished_iterations=int(finished)))
    journal.close()
    with contextlib.closing(sqlite3.connect(runs / "small" / "journal.db")) as connection:
        connection.execute("UPDATE rungs SET score = 0.99 WHERE trial = 0")
        connection.commit()
    given = ("resume", "--runs-dir", runs, "--cache-dir", small_search().cache)
    assert "journal.db is damaged: the checksum of a row does not match" in sentence(tune(*given))


def test_a_journal_of_an_older_version(tmp_path: Path) -> None:
    unfinished_run(tmp_path / "begun")
    with contextlib.closing(sqlite3.connect(tmp_path / "begun" / "journal.db")) as connection:
        connection.execute("PRAGMA user_version = 1")
    message = sentence(tune("trials", "--runs-dir", tmp_path))
    assert "written by an older version (schema 1" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{place}/missing", r"missing does not exist"),
        ("{place}/one", r"at least two are needed"),
        ("{place}/photos --model {place}/none.keras", r"none\.keras"),
        ("{place}/photos --model {place}/file", r"is not a model\. Give a \.keras file or"),
        ("{place}/photos --weights {place}/none.h5", r"there is no weights file"),
        ("{place}/photos --weights none --image-size 31", r"at least 32"),
        ("{place}/photos --val-fraction 0", r"val_fraction must be above 0"),
        ("{place}/photos --seed -1", r"seed"),
        ("{place}/photos --save-recalibrated {place}/mine.h5", r"must end in \.weights\.h5"),
    ],
)
def test_a_diagnosis_of_nothing_is_one_sentence(
    place: Path, tmp_path: Path, arguments: str, message: str
) -> None:
    given = arguments.format(place=place).split()
    result = tune("diagnose", *given, "--cache-dir", str(tmp_path))
    assert re.search(message, sentence(result))


@pytest.mark.parametrize("option", ["--model", "--weights"])
def test_a_diagnosis_looks_at_model_and_weights_before_it_reads_images(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("tuner.data.load.survey", lambda data, *_: read.append(data))
    path = tmp_path / ("mine.keras" if option == "--model" else "mine.weights.h5")
    path.write_bytes(b"no such thing")
    result = tune(
        "diagnose", place / "photos", option, path, "--image-size", "32", "--cache-dir", tmp_path
    )
    assert path.name in sentence(result)
    assert not read


@pytest.mark.parametrize("option", ["--json", "--details", ""])
def test_a_diagnosis_is_shown_and_kept(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """The experiments are a stand-in: their own tests run them."""
    from dataclasses import replace

    from tests.support.diagnosed import DROP_LEAKS, diagnosis, finding
    from tuner.data.load import load_dataset
    from tuner.diagnose.result import Diagnosis
    from tuner.diagnose.stored import kept_diagnosis
    from tuner.storage.cache import Cache

    leak = replace(finding("leak", 0.1, None), remedy=DROP_LEAKS)
    steps: list[str] = []

    def run(*given: Any) -> Diagnosis:
        steps.append(given[3].__self__._of)
        return diagnosis(leak)

    monkeypatch.setattr("tuner.diagnose.experiments.run_prepared", run)
    images, cache_dir = place / "photos", tmp_path / "cache"
    command = shlex.join(["tune", "search", str(images), "--weights", "none", "--image-size", "32"])
    result = tune(
        "diagnose",
        images,
        "--weights",
        "none",
        "--image-size",
        "32",
        "--cache-dir",
        cache_dir,
        "--quiet",
        *filter(None, [option]),
    )
    assert result.exit_code == 0, result.output
    assert steps == [" in this step"]  # the time left is not that of the whole
    remedy = f"{command} --drop-leaks leaves them out."
    if option == "--json":
        row = json.loads(result.stdout)
        assert row["causes"][0]["remedy"] == remedy
        assert row["causes"][0]["effect"] == "+10.0 points"
    else:
        # A terminal may break a long path anywhere.
        assert "".join(remedy.split()) in "".join(result.stdout.split())
        assert ("One head over" in result.stdout) is bool(option)
    with Cache(cache_dir) as cache:
        kept = kept_diagnosis(cache_dir, load_dataset(images, cache=cache).fingerprint)
    assert kept is not None
    assert kept["found"]["causes"][0]["remedy"] == remedy
