"""TensorBoard on runs: from their journals, alone and together, on this machine's loopback."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from tests.support.browser import watched_page
from tests.support.hparams_page import declared, rows
from tests.support.small_search import SmallSearch, small_search, tune, write_photos
from tuner.errors import RunError, SettingsError
from tuner.runs.lock import sole_writer
from tuner.runs.records import TrialRecord, trial_name
from tuner.runs.run import open_run
from tuner.storage.cache import Cache
from tuner.tensorboard.server import log_folder, serve
from tuner.tensorboard.writer import FOLDER

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def search() -> SmallSearch:
    return small_search()


@pytest.fixture
def runs(search: SmallSearch, tmp_path: Path) -> Path:
    return search.copy_of_runs(tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as opened:
        yield opened


def test_every_search_writes_its_folder(search: SmallSearch) -> None:
    found = rows(search.run / FOLDER)
    trials = open_run(search.runs, "small").journal.trials()
    assert len(found) == len(trials) > 1
    for trial, row in zip(trials, found.values(), strict=True):
        assert row.hyperparameters == pytest.approx(trial.hyperparameters)
        assert row.metrics["trial/score"] == pytest.approx(trial.score)
        assert row.metrics["trial/epochs"] == trial.epochs
        assert row.status == "STATUS_SUCCESS"
    assert sum(row.metrics["trial/winner"] for row in found.values()) == 1
    assert "learning_rate" in declared(search.run / FOLDER)
    assert "backbone_lr_factor" not in declared(search.run / FOLDER)


@pytest.mark.parametrize("damage", ["missing", "damaged", "of another program"])
def test_what_is_wrong_with_a_folder_is_made_good(
    runs: Path, cache: Cache, damage: str, tmp_path: Path
) -> None:
    folder = runs / "small" / FOLDER
    expected = rows(folder)
    if damage == "missing":
        shutil.rmtree(folder)
    else:
        for path in folder.rglob("events*"):
            path.write_bytes(b"no events" if damage == "damaged" else path.read_bytes()[:40])
    with log_folder([open_run(runs, "small")], cache, print) as shown:
        assert rows(shown) == expected
    assert rows(folder) == expected


def test_several_runs_are_told_apart(runs: Path, cache: Cache) -> None:
    shutil.copytree(runs / "small", runs / "other")
    opened = [open_run(runs, name) for name in ("small", "other")]
    with log_folder(opened, cache, print) as shown:
        found = rows(shown)
        assert set(declared(shown)) == set(declared(runs / "small" / FOLDER))
    one = rows(runs / "small" / FOLDER)
    assert set(found) == {f"{run}/{trial}" for run in ("small", "other") for trial in one}
    assert found["other/0000"] == found["small/0000"] == one["0000"]
    assert not shown.exists()


def test_a_run_that_is_searched_is_left_to_its_search(runs: Path, cache: Cache) -> None:
    run = open_run(runs, "small")
    before = sorted((run.folder / FOLDER).rglob("*"))
    with sole_writer(run.folder), log_folder([run], cache, print) as shown:
        assert shown == run.folder / FOLDER
        assert sorted(shown.rglob("*")) == before
    shutil.rmtree(run.folder / FOLDER)
    with sole_writer(run.folder), log_folder([run], cache, print) as shown:
        assert rows(shown)
    assert not (run.folder / FOLDER).exists()


def test_a_run_that_has_not_begun_is_refused(runs: Path, cache: Cache) -> None:
    run = open_run(runs, "small")
    run.journal._connection.execute("DELETE FROM notes")
    with pytest.raises(RunError, match="not yet begun"), log_folder([run], cache, print):
        pass


def test_of_several_runs_one_that_has_not_begun_is_left_out(runs: Path, cache: Cache) -> None:
    shutil.copytree(runs / "small", runs / "other")
    opened = [open_run(runs, name) for name in ("other", "small")]
    opened[0].journal._connection.execute("DELETE FROM notes")
    notes: list[str] = []
    with log_folder(opened, cache, notes.append) as shown:
        assert {name.partition("/")[0] for name in rows(shown)} == {"small"}
    (note,) = notes
    assert note.startswith("other is skipped: ")


def test_a_port_that_was_asked_for_and_is_taken_is_refused(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"{port}.*Choose another --port"):
            serve(tmp_path, port)


def test_no_runs_and_contradictions_are_refused(runs: Path, tmp_path: Path) -> None:
    none = tune("board", "--runs-dir", tmp_path / "nothing")
    assert (none.exit_code, none.stdout) == (2, "")
    assert "there are no runs" in none.stderr
    unknown = tune("board", "unknown", "--runs-dir", runs)
    assert (unknown.exit_code, "there is no run unknown" in unknown.stderr) == (2, True)
    both = tune("board", "small", "--all", "--runs-dir", runs)
    assert (both.exit_code, "Give names of runs or --all" in both.stderr) == (2, True)


@pytest.mark.slow
class TestCommand:
    """`tune board` as a user runs it."""

    @pytest.fixture
    def hostile_runs(self, tmp_path: Path) -> Path:
        """A run of images whose classes and files have names made to do harm."""
        photos, names = tmp_path / "photos", (HOSTILE, "b'\"\n<script>alert(2)")
        for number, name in enumerate(names):
            (photos / name).mkdir(parents=True)
            for image in range(20):
                noise = np.random.default_rng((number, image)).integers(0, 256, (40, 40, 3))
                file = photos / name / f"{image}\"'\n<b>.png"
                Image.fromarray(noise.astype(np.uint8)).save(file)
        result = tune(
            "search", photos, "--run", "hostile", "--weights", "none", "--image-size", "32",
            "--max-epochs", "1", "--fix", "unfreeze_blocks=0", "--runs-dir", tmp_path / "runs",
            "--cache-dir", tmp_path / "cache",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        return tmp_path / "runs"

    def test_it_serves_until_interrupted(self, hostile_runs: Path, browser: "Browser") -> None:
        with socket.create_server(("127.0.0.1", 6006)) if is_free(6006) else socket.socket():
            process, address = start(hostile_runs, "hostile")
        try:
            assert address.startswith("http://127.0.0.1:")
            assert not address.endswith(":6006/")
            look(browser, address, open_run(hostile_runs, "hostile").journal.trials())
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(timeout=30)
        assert code == 0

    def test_it_serves_a_search_that_is_running(self, tmp_path: Path) -> None:
        """Finished trials appear, sorted by score as asked, while another process trains on."""
        write_photos(tmp_path / "photos")
        search = subprocess.Popen(
            [
                sys.executable, "-c", "from tuner.cli import main; main()", "search",
                str(tmp_path / "photos"), "--run", "live", "--weights", "none", "--image-size",
                "32", "--max-epochs", "81", "--fix", "unfreeze_blocks=0", "--quiet", "--runs-dir",
                str(tmp_path / "runs"), "--cache-dir", str(tmp_path / "cache"),
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_for(lambda: (tmp_path / "runs" / "live" / FOLDER / "0001").exists(), search)
            process, address = start(tmp_path / "runs", "live")
            try:
                seen = len(wait_for(lambda: finished(address), search))
                found = wait_for(lambda: grown(finished(address), seen), search)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(timeout=60)
        finally:
            search.send_signal(signal.SIGINT)
            search.wait(timeout=120)
        scores = [score_of(row) for row in found]
        assert len(scores) > seen >= 1
        assert scores == sorted(scores, reverse=True)
        trials = open_run(tmp_path / "runs", "live").journal.trials()
        by_name = {f"{trial.id:04d}": trial for trial in trials}
        for row, score in zip(found, scores, strict=True):
            reached = [rung.score for rung in by_name[row["name"]].rungs]
            assert any(score == pytest.approx(each, abs=1e-6) for each in reached)


_PATIENCE_SECONDS = 300.0


def wait_for(look: Callable[[], Any], search: subprocess.Popen[bytes]) -> Any:
    """What a look gives as soon as that is something; the search has to go on until then."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while not (found := look()):
        assert search.poll() is None
        assert time.monotonic() < end
        time.sleep(0.5)
    assert search.poll() is None
    return found


def grown(found: list[Any], before: int) -> list[Any]:
    return found if len(found) > before else []


def finished(address: str) -> list[dict[str, Any]]:
    """The rows of the HParams page that have a score, the best first, as it asks the server."""
    asked = {
        "startIndex": 0,
        "sliceSize": 1000,
        "allowedStatuses": ["STATUS_SUCCESS", "STATUS_RUNNING", "STATUS_UNKNOWN"],
        "aggregationType": "AGGREGATION_AVG",
        "colParams": [
            {"metric": {"group": "", "tag": "trial/score"}, "order": "ORDER_DESC",
             "missingValuesFirst": False}
        ],
    }  # fmt: skip
    request = urllib.request.Request(
        f"{address}data/plugin/hparams/session_groups",
        json.dumps(asked).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        rows = json.load(response).get("sessionGroups", [])
    return [row for row in rows if score_of(row) is not None]


def score_of(row: dict[str, Any]) -> Any:
    values = {each["name"]["tag"]: each["value"] for each in row.get("metricValues", [])}
    return values.get("trial/score")


def look(browser: "Browser", address: str, trials: list[TrialRecord]) -> None:
    """The pages, as a user sees them; screenshots go where TUNE_SCREENSHOTS says."""
    with watched_page(browser) as watched:
        page = watched.page
        page.goto(f"{address}#hparams")
        table = page.locator("tf-hparams-table-view")
        table.get_by_text("0000", exact=True).wait_for(timeout=60_000)
        assert table.get_by_text("winner", exact=True).count()
        picture(page, "hparams")
        rates = {trial_name(t.id): t.hyperparameters["learning_rate"] for t in trials}
        assert len(set(rates.values())) > 1
        for direction in ("Ascending", "Descending"):
            sort(page, "learning_rate", direction)
            wait_for_rows(page, rates, direction)
        page.goto(f"{address}#timeseries")
        page.get_by_text("epoch/val_accuracy", exact=True).first.wait_for(timeout=60_000)
        picture(page, "timeseries")
        page.goto(f"{address}?filter=images#images")
        page.reload()
        page.get_by_text(re.compile(re.escape(HOSTILE))).first.wait_for(timeout=60_000)
        picture(page, "images")
        assert page.locator("img[src=x]").count() == 0
    assert watched.dialogs == []
    assert watched.outside == []
    assert watched.errors == []


def sort(page: Any, column: str, direction: str) -> None:
    """Sorts the table of the HParams page as a user does."""
    menus = page.locator("tf-hparams-query-pane .sorting paper-dropdown-menu")
    for number, item in enumerate((column, direction)):
        menus.nth(number).click()
        menus.nth(number).locator("paper-item", has_text=item).click()
        page.locator("iron-dropdown:visible").wait_for(state="detached")


def wait_for_rows(page: Any, values: dict[str, float], direction: str) -> None:
    """Waits until the table shows the trials, from top to bottom, by their values."""
    table = page.locator("tf-hparams-table-view")
    expected = sorted(values.values(), reverse=direction == "Descending")
    deadline = time.monotonic() + 30
    while True:
        boxes = {
            name: table.get_by_text(name, exact=True).first.bounding_box() or {} for name in values
        }
        shown = sorted(values, key=lambda name: boxes[name].get("y", 0))
        if [values[name] for name in shown] == expected:
            return
        assert time.monotonic() < deadline, f"the rows are {shown}"
        page.wait_for_timeout(100)


def picture(page: Any, name: str) -> None:
    folder = os.environ.get("TUNE_SCREENSHOTS")
    if folder:
        page.wait_for_timeout(2000)
        page.screenshot(path=f"{folder}/board-{name}.png")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def start(runs: Path, *arguments: str) -> tuple[subprocess.Popen[str], str]:
    code = "from tuner.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "board", *arguments, "--runs-dir", str(runs)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, line
    return process, found[0]
