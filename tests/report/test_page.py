"""A report of runs in every state, with numbers that were counted by hand."""

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
)

from tests.support.small_search import SEARCH, small_search, tune
from tests.support.synthetic_run import (
    CLASSES,
    HOSTILE_CLASS,
    HOSTILE_FILE,
    PREPARED,
    many_contents,
    many_trials,
    synthetic_run,
)
from tuner.command_lines import search_command
from tuner.data.dataset import ImageFile
from tuner.data.pixel_store import prepare_images
from tuner.data.splits import SPLITS
from tuner.diagnose.stored import keep_diagnosis
from tuner.errors import DataError, SettingsError
from tuner.metrics.intervals import Proportion
from tuner.observer import RungEnds, SearchEvent
from tuner.report import axes, charts, image_sections, page, thumbnails
from tuner.report.comparison import _sentence, compare
from tuner.report.contents import Contents, _diagnosis, diagnose_command, gather
from tuner.report.headline import Contender, answer_of
from tuner.report.image_sections import Doubts
from tuner.report.importance import EPOCHS, LEAST_TRIALS, importances
from tuner.report.run_data import Absent, read_run_data
from tuner.report.time_shares import time_shares
from tuner.report.validation import Calibration, Matrix, Validation, class_rows, worst
from tuner.report.write import check_page
from tuner.runs.notes import Notes
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import COMPLETED, FAILED, RungRecord, TrialRecord
from tuner.runs.run import Run, open_run
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache, default_cache_dir
from tuner.terminal.search_progress import SearchProgress

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
NAMES = ("cat", "dog", "hen")
opened: list[str] | None = None


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None:
        opened.append(str(arguments[0]))


sys.addaudithook(note)  # for good: it cannot be removed


def silent(what: str, done: int, count: int) -> None:
    pass


def gathered(run: Run, cache: Path) -> Contents:
    with Cache(cache) as opened:
        return gather(run, opened, silent)


@pytest.fixture(scope="module")
def synthetic() -> Run:
    return many_trials()


@pytest.fixture(scope="module")
def contents() -> Contents:
    return many_contents()


@pytest.fixture(scope="module")
def html(contents: Contents) -> str:
    return page.render(contents, NOW)


class Outline(HTMLParser):
    """Tags, attributes and text of a page; what browsers take for code stands apart."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.code: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        inside = self.tags and self.tags[-1][0] in ("script", "style") and self.lasttag
        (self.code if inside in ("script", "style") else self.text).append(data)


def test_the_answer_comes_first_with_its_interval_and_baselines(html: str) -> None:
    text = " ".join(" ".join(Outline(html).text).split())
    answer = text[text.index("The answer") : text.index("Hyperband with factor")]
    assert re.search(r"classifies \d+ of 1432 validation images correctly, \d", answer)
    assert "95 % interval" in answer
    assert "more than plain head" in answer
    assert "always the most frequent class" in answer


def test_the_test_set_is_not_asked_for(html: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.data import pixel_store

    decoded: list[str] = []

    def noting(files: Sequence[ImageFile], *others: Any, **options: Any) -> np.ndarray:
        decoded.extend(file.path for file in files)
        return prepare_images(files, *others, **options)

    monkeypatch.setattr(pixel_store, "prepare_images", noting)
    search = small_search()
    run = open_run(search.runs)
    dataset = run.dataset(search.photos)
    gathered(run, search.cache)
    paths = {name: {file.path for file in dataset.of(name)} for name in SPLITS}
    assert paths["test"].isdisjoint(decoded)
    assert paths["train"] | paths["validation"] == set(decoded)
    assert "not yet measured" in html


def test_the_test_set_is_not_opened(synthetic: Run, tmp_path: Path) -> None:
    global opened
    dataset = synthetic.dataset()
    opened = []
    found = gathered(synthetic, tmp_path)
    seen, opened = set(opened), None
    assert isinstance(found.validation, Validation)
    assert {str(dataset.root / image.path) for image in found.validation.worst} <= seen
    assert seen.isdisjoint(str(dataset.root / file.path) for file in dataset.of("test"))


def test_what_best_measured_is_shown(synthetic: Run, contents: Contents) -> None:
    assert contents.answer.winner is not None
    winner = contents.answer.winner
    measured = {"test_correct": 30, "test_images": 40, "opponents": [], "left_out": []}
    measured |= {"epochs": winner.epochs, "details": {"mistakes": []}}
    synthetic.journal.set_evaluation(winner.id, measured)
    data = read_run_data(synthetic)
    synthetic.journal.set_evaluation(winner.id, {"epochs": 0})
    found = answer_of(data)
    assert found.test is not None
    assert found.test.share == 0.75
    assert "not yet" not in " ".join(found.sentences)
    shown = page.render(dataclasses.replace(contents, data=data, answer=found), NOW)
    numbers = re.findall(r'<div class="figure( main)?"><b>([^<]+)</b>', shown)
    assert numbers[0] == (" main", "75.0\u00a0%")
    assert all(not main for main, _ in numbers[1:])
    assert answer_of(read_run_data(synthetic)).test is None


def test_hostile_names_are_text_everywhere(html: str) -> None:
    outline = Outline(html)
    assert [tag for tag, _ in outline.tags if tag == "script"] == ["script"] * 2
    assert all(
        attributes["src"] and attributes["src"].startswith("data:image/jpeg;base64,")
        for tag, attributes in outline.tags
        if tag == "img"
    )
    for _, attributes in outline.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    for markup in (*set(CLASSES) - {"plain"}, "line <b>"):
        assert markup not in html
    text = "".join(outline.text)
    assert HOSTILE_CLASS in text
    assert "</script><script>alert(2)</script>" in text
    shown = HOSTILE_FILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert f"-{shown}" in text
    assert "\u202e" not in html
    alts = [attributes.get("alt") or "" for tag, attributes in outline.tags if tag == "img"]
    assert any(shown in alt for alt in alts)


def test_a_name_that_is_no_text_is_shown(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    image = dataclasses.replace(contents.validation.worst[0], path="a\udcff\x00.png")
    validation = dataclasses.replace(contents.validation, worst=(image,))
    shown = page.render(dataclasses.replace(contents, validation=validation), NOW)
    assert "a\\udcff\\x00.png" in shown
    shown.encode("utf-8")


def test_the_policy_names_every_script_and_style(html: str) -> None:
    import base64
    import hashlib

    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', html)
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    inline = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", html, re.DOTALL)
    assert len(inline) == 2
    for style, script in inline:
        digest = base64.b64encode(hashlib.sha256((style or script).encode()).digest()).decode()
        assert f"sha256-{digest}" in policy


def test_every_bracket_shows_who_was_promoted(contents: Contents) -> None:
    first = charts.brackets(contents.data)[0]
    assert [column.note for column in first.columns] == [
        "27 of 27", "9 of 9", "3 of 3", "1 of 1",
    ]  # fmt: skip
    assert len(first.lines) == 9 + 3 + 1
    assert len(first.points) == 27 + 9 + 3 + 1
    assert first.label.startswith("27 trials to epoch 1, of these 9 trials to epoch 3")


def test_what_may_still_be_promoted_is_not_said_to_have_ended(tmp_path: Path) -> None:
    run = synthetic_run(tmp_path, trials=9, images=140)
    run.journal.set_notes(Notes(finished_iterations=0))
    found = gathered(run, tmp_path / "cache")
    assert found.data.state == "interrupted"
    text = page.render(found, NOW)
    assert "went no further" not in text
    assert (
        text.count(", no further so far</title>") == len(charts.brackets(found.data)[0].points) > 0
    )
    assert "</svg>no further so far</li>" in text
    assert "was not promoted, or not yet." in text
    run.journal.set_notes(Notes(finished_iterations=run.settings.iterations))
    text = page.render(gathered(run, tmp_path / "cache"), NOW)
    assert "so far" not in text
    assert "went no further</title>" in text
    assert "was not promoted." in text


def test_what_was_planned_is_known_before_every_recipe_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, on_event = small_search(), SearchProgress.on_event

    def interrupted(self: SearchProgress, event: SearchEvent) -> None:
        on_event(self, event)
        if isinstance(event, RungEnds):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(SearchProgress, "on_event", interrupted)
    runs = tmp_path / "runs"
    result = tune(
        "search", search.photos, "--run", "begun", *SEARCH, "--fix", "unfreeze_blocks=0",
        "--runs-dir", runs, "--cache-dir", search.cache,
    )  # fmt: skip
    assert result.exit_code == 130, result.output
    run = open_run(runs, "begun")
    assert [trial.recipe for trial in run.journal.trials()] == ["plain head"]
    planned = read_run_data(run).schedule
    assert planned.recipes == ("plain head", "blog head")
    assert (planned.total_trials, planned.total_epochs) == (3, 3)
    run.journal._connection.execute("DELETE FROM notes")  # as of a damaged journal
    assert read_run_data(run).schedule.recipes == ("plain head",)


@pytest.mark.parametrize("objective", ["val_accuracy", "val_loss"])
def test_better_scores_are_higher_up_for_losses_too(contents: Contents, objective: str) -> None:
    settings = dataclasses.replace(contents.data.settings, objective=objective)
    first = charts.brackets(dataclasses.replace(contents.data, settings=settings))[0]
    rows = {float(tick.text): tick.place for tick in first.rows}
    best = max(rows) if objective == "val_accuracy" else min(rows)
    assert rows[best] == max(rows.values())


@pytest.mark.parametrize("is_loss", [False, True])
def test_a_hopeless_score_does_not_flatten_the_others(is_loss: bool) -> None:
    scores = [0.70 + 0.01 * (number % 8) for number in range(24)]
    low, high = axes.score_ends([*scores, 9.0 if is_loss else 0.01], is_loss)
    assert low <= 0.70
    assert high >= 0.77
    assert high - low < 0.5


def test_time_adds_up(contents: Contents) -> None:
    data = contents.data
    before = sum(data.prepared.values())
    for title, shares in time_shares(data).items():
        if title != "The slowest trials":
            total = data.seconds + (before if title == "All of it" else 0)
            assert sum(each.share for each in shares) == pytest.approx(1)
            assert sum(each.seconds for each in shares) == pytest.approx(total)


def test_what_went_before_the_training_has_its_bars(contents: Contents, html: str) -> None:
    shown = {share.name: share.seconds for share in time_shares(contents.data)["All of it"]}
    assert shown == PREPARED | {"training": pytest.approx(contents.data.seconds)}
    text = "".join(Outline(html).text)
    assert all(name in text for name in PREPARED)
    assert "images were read and decoded and frozen features computed: 1m22s" in text


def test_the_versions_are_those_of_the_search(contents: Contents) -> None:
    data = dataclasses.replace(contents.data, versions={"keras": "3.0.1", "numpy": "2.9"})
    versions = {"keras": "3.0.1", "numpy": "2.8"}
    shown = page.render(dataclasses.replace(contents, data=data, versions=versions), NOW)
    text = " ".join("".join(Outline(shown).text).split())
    assert "keras3.0.1numpy2.9 (this page: 2.8)" in text


OUTCOMES = Outcomes(
    np.array([0, 0, 1, 1, 2, 1], "<u2"),
    np.array([0.9, 0.5, 0.8, 0.95, 0.6, 0.99], "<f2"),
    np.array([0.9, 0.5, 0.1, 0.95, 0.6, 0.0], "<f2"),
)
LABELS = np.array([0, 0, 0, 1, 2, 2])


def test_classes_are_counted_as_scikit_learn_counts_them() -> None:
    predicted = OUTCOMES.predicted.astype(int)
    rows = class_rows(predicted, LABELS, NAMES)
    assert [row.recall.share for row in rows] == pytest.approx(
        recall_score(LABELS, predicted, average=None)
    )
    assert [row.precision for row in rows] == pytest.approx(
        precision_score(LABELS, predicted, average=None)
    )
    assert [row.f1 for row in rows] == pytest.approx(f1_score(LABELS, predicted, average=None))
    assert [(row.other, row.mistakes) for row in rows] == [("dog", 1), (None, 0), ("dog", 1)]
    matrix = Matrix.of(confusion_matrix(LABELS, predicted), NAMES)
    assert matrix.rows == [[2, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert matrix.shades == [[7, 4, 0], [0, 10, 0], [0, 5, 5]]
    assert matrix.pairs == [("cat", "dog", 1), ("hen", "dog", 1)]


def test_the_worst_mistake_is_the_most_confident_one() -> None:
    assert list(worst(OUTCOMES, LABELS, 9)) == [5, 2]
    assert list(worst(OUTCOMES, LABELS, 1)) == [5]


def test_calibration_of_a_model_that_is_right_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.5, 1, 20_000)
    right = random.random(20_000) < confidence
    honest, boastful = Calibration.of(confidence, right), Calibration.of(np.sqrt(confidence), right)
    assert honest.error < 0.01
    assert "can be trusted" in honest.verdict
    gap = float((np.sqrt(confidence) - confidence).mean())
    assert boastful.error == pytest.approx(gap, abs=0.01)
    assert "overconfident" in boastful.verdict
    assert Calibration.of(confidence**2, right).verdict.endswith("it is underconfident.")


def trial(number: int, score: float, epochs: int = 9, **values: Any) -> TrialRecord:
    rung = RungRecord(0, epochs, score, 1.0)
    return TrialRecord(number, None, 0, 1, values, COMPLETED, 1, None, (rung,))


def test_what_decides_the_score_comes_first() -> None:
    random = np.random.default_rng(0)
    trials = []
    for number in range(60):
        rate, drop = random.uniform(size=2)
        epochs = int(random.choice([1, 3, 9]))
        score = rate + 0.1 * drop + 0.3 * np.log(epochs)
        trials.append(
            trial(number, float(score), epochs, rate=float(rate), drop=float(drop), same=1)
        )
    found = importances(trials)
    assert found is not None
    assert {row.name for row in found.rows} == {"rate", "drop", EPOCHS}
    shares = {row.name: row.share for row in found.rows}
    assert shares["rate"] > 3 * shares["drop"]
    assert shares[EPOCHS] > 3 * shares["drop"]
    assert found.r2 > 0.6
    assert "can be trusted" in found.trust


def test_noise_is_not_to_be_trusted() -> None:
    random = np.random.default_rng(0)
    trials = [
        trial(number, float(random.normal()), rate=float(random.uniform())) for number in range(40)
    ]
    found = importances(trials)
    assert found is not None
    assert "do not draw conclusions" in found.trust


def test_few_trials_have_no_importances() -> None:
    few = [trial(number, float(number), rate=number) for number in range(LEAST_TRIALS - 1)]
    assert importances(few) is None
    failed = dataclasses.replace(trial(99, 1.0, rate=1), status=FAILED)
    assert importances([*few, failed]) is None


def test_heat_is_brightest_where_it_is_hottest() -> None:
    grey = np.full((40, 40, 3), 128, np.uint8)
    shown = thumbnails.overlay(grey, np.array([[0.0, 0.0], [0.0, 1.0]]))
    brightness = shown.astype(int).sum(axis=-1)
    assert brightness[35, 35] > brightness[5, 5] + 100


@pytest.mark.parametrize(("size", "places"), [(64, 2), (127, 3), (128, None)])
def test_a_heat_map_of_few_places_is_left_out(size: int, places: int | None) -> None:
    reason = image_sections._no_heat(SearchSettings(image_size=size, weights="none"), 4)
    assert (f"{places} x {places} places, too few" in reason) if places else not reason


@pytest.mark.parametrize(
    "word",
    ["A bracket is", "A rung is", "A recipe is", "Precision: ", "F1: ", "calibration error, the"],
)
def test_a_word_is_explained_where_it_first_stands(html: str, word: str) -> None:
    text = " ".join("".join(Outline(html).text).split())
    term = word.removeprefix("A ").split()[0].rstrip(":").casefold()
    assert word in text
    before = text[text.index("The answer") : text.index(word)].casefold()
    assert not re.search(rf"\b{term}s?\b", before) or term == "calibration"


SETTINGS = [
    SearchSettings(),
    SearchSettings(
        data="/photos/of mine", fixed={"unfreeze_blocks": "0", "dropout": "0.5"}, weights="none",
        image_size=64, crop=True, batch_size=16, max_epochs=9, factor=4, iterations=2,
        objective="val_loss", seed=3, val_fraction=0.2, test_fraction=0.1, split_seed=5,
        drop_leaks=True, keep_conflicts=True, near_duplicates="warn",
        augment="light", views=6, class_weights="balanced",
        time_budget_seconds=1234567.5,
    ),
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=["defaults", "everything"])
def test_the_command_asks_for_the_same(
    settings: SearchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.commands import search as search_module

    searched: list[SearchSettings] = []
    monkeypatch.setattr(
        search_module, "_search", lambda found, *rest, **options: searched.append(found)
    )
    words = shlex.split(search_command(settings, "again"))
    result = tune(*words[1:])
    assert result.exit_code == 0, result.output
    assert searched == [settings]


def test_the_diagnosis_that_is_missing_is_made_by_its_command(tmp_path: Path) -> None:
    command = diagnose_command(SETTINGS[1], tmp_path / "my cache")
    assert shlex.split(command) == [
        "tune", "diagnose", "/photos/of mine", "--weights", "none", "--image-size", "64", "--crop",
        "--val-fraction", "0.2", "--test-fraction", "0.1", "--split-seed", "5", "--drop-leaks",
        "--keep-conflicts", "--near-duplicates", "warn", "--cache-dir", str(tmp_path / "my cache"),
    ]  # fmt: skip
    plain = SearchSettings(data="photos")
    assert diagnose_command(plain, default_cache_dir()) == "tune diagnose photos"


def test_digits_cannot_be_diagnosed(synthetic: Run, tmp_path: Path) -> None:
    data = read_run_data(synthetic)
    digits = dataclasses.replace(data, settings=dataclasses.replace(data.settings, data=None))
    with Cache(tmp_path) as cache:
        found = _diagnosis(digits, cache)
    assert isinstance(found, Absent)
    assert "digits lie in no folder to diagnose" in found.reason
    assert "tune diagnose" not in found.reason


def test_with_a_time_budget_the_same_trials_are_not_promised(contents: Contents) -> None:
    promise = "give the same trials and scores:"
    assert promise in page.render(contents, NOW)
    settings = dataclasses.replace(contents.data.settings, time_budget_seconds=60.0)
    data = dataclasses.replace(contents.data, settings=settings)
    limited = page.render(dataclasses.replace(contents, data=data), NOW)
    assert promise not in limited
    assert "depends on how fast the machine is" in limited


def test_a_real_run_has_every_section(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    run = open_run(runs, "small")
    price = {"cause": "scaled input", "sentence": "It was tried.", "remedy": "", "gain": 0.3,
             "cost": "costs 30.0 points", "certainty": "p 0.01"}  # fmt: skip
    older = {"cause": "learning rate", "sentence": "It was too.", "remedy": "", "gain": 0.2}
    found = {"causes": [], "excluded": [], "prices": [price, older], "model": None,
             "training_images": 42,
             "validation_images": 9, "accuracy": 0.5, "train_accuracy": 0.75,
             "majority_rate": 0.25}  # fmt: skip
    options = {"weights": "none", "image_size": 32}
    keep_diagnosis(search.cache, run.dataset().fingerprint, found, options)
    out = tmp_path / "page.html"
    result = tune("report", "--runs-dir", runs, "--cache-dir", search.cache, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    text = " ".join(Outline(out.read_text("utf-8")).text)
    assert "42 training and 9 validation images, with weights none at 32 px: a plain" in text
    assert "Nothing was found that holds accuracy back." in text
    assert "(costs 30.0 points, p 0.01). It was tried." in text
    assert "(+20.0 points). It was too." in text
    assert "Validation images by their label" in text
    assert "confident learning" in text
    assert "up to 1 epoch a trial" in text
    assert not re.search(r"\b1 (\w+ )?(trials|epochs|images|configurations|curves|answers)\b", text)
    assert " after 1 epoch</title>" in out.read_text("utf-8")
    assert "computing frozen features" in text
    for name in ("python", "keras", "keras-tuner", "numpy"):
        assert name in run.journal.notes().versions
        assert name in text
    assert "blue sky" in text
    assert run.dataset().fingerprint in text
    assert run.journal.evaluation(0) is None


def empty(run: Run) -> None:
    with run.journal._transaction() as execute:
        for table in ("outcomes", "epochs", "rungs", "trials"):
            execute(f"DELETE FROM {table}")


def all_failed(run: Run) -> None:
    empty(run)
    run.journal.begin_trial({"dropout": 0.1}, slot=(0, 0))
    run.journal.fail(0, "the loss became <b>NaN</b>")
    run.journal.set_notes(Notes(finished_iterations=0))


def no_dataset(run: Run) -> None:
    (run.folder / "dataset.json").unlink()


def altered(run: Run, table: str) -> None:
    """Bytes of a table that were not written so, as its checksums show."""
    import contextlib
    import sqlite3

    run.journal.close()
    with contextlib.closing(sqlite3.connect(run.folder / "journal.db")) as connection:
        assert connection.execute(f"UPDATE {table} SET crc = crc + 1").rowcount
        connection.commit()


def outcomes_damaged(run: Run) -> None:
    altered(run, "outcomes")


def evaluation_damaged(run: Run) -> None:
    winner = read_run_data(run).winner
    assert winner is not None
    run.journal.set_evaluation(winner.id, {"epochs": 1, "test_correct": 3, "test_images": 4})
    altered(run, "evaluations")


def no_weights(run: Run) -> None:
    for path in run.folder.glob("trials/*/state.npz"):
        path.unlink()


def garbled(run: Run) -> None:
    run.journal.close()
    path = run.folder / "journal.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"dropout")
    data[place : place + 7] = b"dr0pout"
    path.write_bytes(data)
    for leftover in path.parent.glob("journal.db-*"):
        leftover.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (empty, "No trial has begun."),
        (all_failed, "every trial failed, the last one with: the loss became <b>NaN</b>"),
        (no_dataset, "The run's description of its images is missing or damaged."),
        (outcomes_damaged, "The selection bias of its score is unknown: the journal"),
        (
            evaluation_damaged,
            "The result on the test images, if there is one, cannot be read: the journal",
        ),
        pytest.param(no_weights, "There are no heat maps", marks=pytest.mark.slow),
        pytest.param(garbled, "The journal is damaged.", marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_spoiled_run_gives_a_report_of_what_there_is(
    spoil: Callable[[Run], None], said: str, tmp_path: Path
) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    run = open_run(runs, "small")
    spoil(run)
    out = tmp_path / "page.html"
    result = tune("report", "small", "--runs-dir", runs, "--cache-dir", search.cache, "--out", out)
    assert result.exit_code == 0, result.output
    assert said in " ".join(Outline(out.read_text("utf-8")).text)


def test_a_damaged_run_is_compared_by_what_there_is(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    shutil.copytree(runs / "small", runs / "other")
    run = open_run(runs, "other")
    evaluation_damaged(run)
    altered(run, "outcomes")
    out = tmp_path / "both.html"
    result = tune("report", "small", "other", "--runs-dir", runs, "--out", out)
    assert result.exit_code == 0, result.output
    text = " ".join(" ".join(Outline(out.read_text("utf-8")).text).split())
    assert "test accuracy not yet measured cannot be read" in text


def test_the_key_of_the_confusion_matrix_is_not_in_its_scrolling_box(html: str) -> None:
    tags = Outline(html).tags
    assert "caption" not in {tag for tag, _ in tags}
    (key,) = [place for place, (_, each) in enumerate(tags) if each.get("id") == "matrix-key"]
    box, table = tags[key + 1 : key + 3]
    assert (tags[key][0], box[1]["class"], table[1]["class"]) == ("p", "scroll", "matrix")
    assert {each["aria-describedby"] for _, each in (box, table)} == {"matrix-key"}


def test_no_doubtful_label_is_no_list_of_none(contents: Contents) -> None:
    none = dataclasses.replace(contents, doubts=Doubts((), 0, 23))
    text = " ".join("".join(Outline(page.render(none, NOW)).text).split())
    assert "frozen backbone's features: none of 23 images. tune diagnose" in text
    assert "0 most doubtful" not in text


def test_what_is_to_be_typed_or_found_is_shown_as_it_is(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    image = dataclasses.replace(contents.validation.worst[0], path="at 5 % light.png")
    changed = dataclasses.replace(
        contents, command="tune search '/photos/at 5 % light'",
        validation=dataclasses.replace(contents.validation, worst=(image,)),
    )  # fmt: skip
    text = "".join(Outline(page.render(changed, NOW)).text)
    assert "tune search '/photos/at 5 % light'" in text
    assert "at 5 % light.png" in text
    assert re.search(
        r"classifies \d+ of \d+ validation images correctly, [\d.]+\u00a0% \(95\u00a0%", text
    )


def test_a_picture_that_is_gone_or_another_is_refused(tmp_path: Path) -> None:
    file = ImageFile("a.png", "cat", "train", "0" * 64)
    with pytest.raises(DataError, match=r"a.png can no longer be read"):
        thumbnails.picture(file, tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a.png has changed since the search"):
        thumbnails.picture(file, tmp_path)


def test_a_missing_picture_leaves_a_sentence(contents: Contents) -> None:
    assert isinstance(contents.validation, Validation)
    gone = dataclasses.replace(contents.validation.worst[0], picture=None, problem="It is gone.")
    validation = dataclasses.replace(contents.validation, worst=(gone,))
    assert "It is gone." in page.render(dataclasses.replace(contents, validation=validation), NOW)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "there is no run nobody"),
        (["--out", "missing/page.html"], "there is no folder missing"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_input_is_one_sentence(arguments: list[str], said: str) -> None:
    search = small_search()
    result = tune("report", *arguments, "--runs-dir", search.runs, "--cache-dir", search.cache)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        check_page(tmp_path / "a" / "b.html")


def test_runs_are_put_side_by_side(tmp_path: Path) -> None:
    search = small_search()
    runs = search.copy_of_runs(tmp_path)
    settings = json.loads((runs / "small" / "settings.json").read_text())
    shutil.copytree(runs / "small", runs / "other")
    (runs / "other" / "settings.json").write_text(json.dumps(settings | {"seed": 7}))
    out = tmp_path / "both.html"
    result = tune("report", "small", "other", "--runs-dir", runs, "--out", out)
    assert result.exit_code == 0, result.output
    text = " ".join(" ".join(Outline(out.read_text("utf-8")).text).split())
    assert "All runs saw the same images in the same split." in text
    assert "small and other are equal on the validation images." in text
    assert "seed 0 7" in text
    assert "image_size" not in text


def test_runs_on_other_images_cannot_be_compared(tmp_path: Path) -> None:
    one, two = (
        synthetic_run(tmp_path / name, trials=30, images=images)
        for name, images in (("a", 140), ("b", 168))
    )
    found = compare([read_run_data(one), read_run_data(two)])
    assert not found.same_data
    assert "cannot be compared" in found.common


def without_images(run: Run, path: Path, split: str, count: int) -> Run:
    """The same run, as if it had been begun without some images."""
    folder = Path(shutil.copytree(run.folder, path / "other"))
    document = json.loads((folder / "dataset.json").read_text())
    gone = [file for file in document["files"] if file["split"] == split][:count]
    document["files"] = [file for file in document["files"] if file not in gone]
    (folder / "dataset.json").write_text(json.dumps(document))
    return open_run(path, "other")


def test_runs_that_chose_by_the_same_images_are_compared(tmp_path: Path) -> None:
    one = synthetic_run(tmp_path, trials=30, images=280)
    one.journal.close()
    other = without_images(one, tmp_path / "runs", "train", 5)
    found = compare([read_run_data(one), read_run_data(other)])
    assert not found.same_data
    assert found.common.startswith("All runs chose by the same validation images, so")
    assert found.sentence == "many and other are equal on the validation images."
    ahead = [
        dataclasses.replace(side, answer=dataclasses.replace(side.answer, contenders=(lead,)))
        for side, share in zip(found.sides, (30, 10), strict=True)
        for lead in [Contender("it", Proportion.of(share, 40), is_winner=True)]
    ]
    assert "by 50.0 points on the same validation images" in _sentence(ahead, True)
    assert _sentence(ahead, False) == "many leads other by 50.0 points, on other images."


def test_the_same_validation_images_under_other_labels_are_others(tmp_path: Path) -> None:
    one = synthetic_run(tmp_path, trials=30, images=280)
    one.journal.close()
    other = without_images(one, tmp_path / "runs", "train", 0)
    document = json.loads((other.folder / "dataset.json").read_text())
    file = next(file for file in document["files"] if file["split"] == "validation")
    file["label"] = next(name for name in CLASSES if name != file["label"])
    (other.folder / "dataset.json").write_text(json.dumps(document))
    assert "cannot be compared" in compare([read_run_data(one), read_run_data(other)]).common


def test_the_whole_of_a_winners_curve_is_in_a_comparisons_frame() -> None:
    curve = [0.01, *(0.8 + 0.001 * epoch for epoch in range(60))]
    (line,) = charts.compared_curves({"one": curve}).lines
    assert len(line.places) == len(curve)
    assert len({y for _, y in line.places}) == len(curve)


def test_curves_that_leave_the_frame_are_counted(contents: Contents) -> None:
    data = contents.data
    assert data.winner is not None
    curves = dict(data.curves)
    first, *others = curves[data.winner.id]
    curves[data.winner.id] = [first | {"val_accuracy": -5.0}, *others]
    changed = dataclasses.replace(data, curves=curves)
    before = charts.learning_curves(data)[1]
    assert data.winner.id not in before
    shown = page.render(dataclasses.replace(contents, data=changed), NOW)
    text = "".join(Outline(shown).text)
    assert f"a part of {len(before) + 1} of 197 curves, the winner's among them." in text
    assert f"a part of {len(before)} of 197 curves.</p>" in page.render(contents, NOW)


@pytest.mark.parametrize(
    ("scores", "is_loss", "ends"),
    [([1.0], False, (0.998, 1.0)), ([0.5, 1.0], False, (0.5, 1.0)), ([0.0], True, (0.0, 0.002))],
)  # fmt: skip
def test_no_axis_goes_beyond_what_a_score_can_be(
    scores: list[float], is_loss: bool, ends: tuple[float, float]
) -> None:
    assert axes.score_ends(scores, is_loss) == pytest.approx(ends)


def test_run_data_has_the_state(synthetic: Run) -> None:
    data = read_run_data(synthetic)
    assert data.state == "done"
    assert data.winner is not None
    assert data.accuracy(data.winner) == data.winner.score
    assert len(CLASSES) == len(data.dataset.classes if data.dataset else ())
