"""A run of many trials and images that was never searched: what a report has to cope with."""

import atexit
import functools
import hashlib
import math
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from tuner.data.dataset import Dataset, ImageFile
from tuner.hyperband.schedule import Pause, Schedule, Standing, Task, hyperband, next_task
from tuner.report import thumbnails
from tuner.report.contents import Contents, gather
from tuner.report.image_sections import Doubts
from tuner.report.validation import Validation
from tuner.runs.journal import Journal
from tuner.runs.notes import Notes
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import RungRecord
from tuner.runs.run import Run, create_run
from tuner.runs.timings import note_seconds
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache

HOSTILE_CLASS = "<img src=x onerror=alert(1)>"
HOSTILE_FILE = "a\"quote' and\nline <b>\u202e.png"
CLASSES = (HOSTILE_CLASS, "</script><script>alert(2)</script>", "plain", 'x" onload="alert(3)')
PREPARED = {"reading images": 21.0, "decoding images": 14.0, "computing frozen features": 47.0}
_SEARCH_SPACE = [
    {"config": {"name": "unfreeze_blocks", "values": [0, 1, 2, 3]}},
    {"config": {"name": "head_layers", "values": [0, 1, 2]}},
    {"config": {"name": "head_width", "values": [128, 256, 512]}},
    {"config": {"name": "head_batchnorm", "default": False}},
    {"config": {"name": "dropout", "min_value": 0.0, "max_value": 0.6, "sampling": "linear"}},
    {"config": {"name": "learning_rate", "min_value": 1e-5, "max_value": 1e-2, "sampling": "log"}},
]


def synthetic_run(folder: Path, *, trials: int = 200, images: int = 10_000) -> Run:
    """A run whose trials follow Hyperband, with scores that the learning rate decides.

    Args:
        folder: of photos and runs; is filled.
        trials: no more are begun; the search is done with fewer where its schedule is.
        images: of these the validation images alone exist as files, all with the same picture.
    """
    dataset = _dataset(folder / "photos", images)
    settings = SearchSettings(str(dataset.root), weights="none", max_epochs=27, iterations=4)
    run = create_run(folder / "runs", "many", settings, dataset, overwrite=True)
    _search(run, trials, dataset)
    return run


def _dataset(root: Path, images: int) -> Dataset:
    random = np.random.default_rng(0)
    root.mkdir(parents=True)
    first = root / "first.png"
    Image.fromarray(random.integers(0, 256, (160, 120, 3), np.uint8)).save(first)
    digest = hashlib.sha256(first.read_bytes()).hexdigest()
    files = []
    for number in range(images):
        split = {0: "validation", 1: "test"}.get(number // len(CLASSES) % 7, "train")
        name = f"{number}-{HOSTILE_FILE}" if split == "validation" else f"{number}.png"
        path = f"{number % len(CLASSES)}/{name}"
        if split == "validation":
            (root / path).parent.mkdir(exist_ok=True)
            os.link(first, root / path)
        sha256 = digest if split == "validation" else f"{number:064x}"
        files.append(ImageFile(path, CLASSES[number % len(CLASSES)], split, sha256))
    return Dataset(root, CLASSES, tuple(sorted(files, key=lambda file: file.path)))


def _search(run: Run, trials: int, dataset: Dataset) -> None:
    """Trains nothing: the schedule asks, and a formula answers."""
    journal, settings = run.journal, run.settings
    journal.set_notes(Notes(space=_SEARCH_SPACE, versions={"keras": "3.15"}))
    note_seconds(journal, PREPARED)
    schedule = Schedule(hyperband(settings.max_epochs, 3), settings.iterations, ("plain head",))
    standings: dict[int, Standing] = {}
    while True:
        task = next_task(schedule, list(standings.values()))
        if isinstance(task, Pause) or (task.trial is None and len(standings) == trials):
            break
        number, standing = _train(journal, task, standings, settings.max_epochs, dataset)
        standings[number] = standing
    recipes = list(schedule.recipes)
    journal.set_notes(Notes(finished_iterations=settings.iterations, recipes=recipes))


def _train(
    journal: Journal,
    task: Task,
    standings: dict[int, Standing],
    max_epochs: int,
    dataset: Dataset,
) -> tuple[int, Standing]:
    if task.trial is None:
        number = len(standings)
        values = _values(number)
        if isinstance(task.slot, str):
            journal.begin_trial(values, recipe=task.slot)
        else:
            journal.begin_trial(values, slot=task.slot)
        scores: tuple[float, ...] = ()
    else:
        number, scores = task.trial, standings[task.trial].scores
        values = journal.promote(number).hyperparameters
    epochs = [_metrics(number, values, epoch) for epoch in range(task.start_epoch, task.end_epoch)]
    score = epochs[-1]["val_accuracy"]
    rung = RungRecord(task.start_epoch, task.end_epoch, score, 0.4 * len(epochs) + number % 3)
    outcomes = _outcomes(score, dataset) if task.end_epoch == max_epochs else None
    completed = task.end_epoch == max_epochs
    journal.finish_rung(number, rung, epochs, outcomes=outcomes, completed=completed)
    return number, Standing(number, task.slot, (*scores, score))


def _values(number: int) -> dict[str, object]:
    random = np.random.default_rng(number)
    layers = int(random.integers(3))
    used = {"head_width": int(random.choice([128, 256, 512])), "head_batchnorm": number % 2 == 0}
    return {
        "unfreeze_blocks": int(random.integers(4)),
        "head_layers": layers,
        **(used if layers else {}),
        "dropout": float(random.uniform(0, 0.6)),
        "learning_rate": float(10 ** random.uniform(-5, -2)),
    }


def _metrics(number: int, values: dict[str, object], epoch: int) -> dict[str, float]:
    rate = math.log10(float(values["learning_rate"]))  # type: ignore[arg-type]
    noise = np.random.default_rng((number, epoch)).normal(0, 0.01)
    level = 0.85 - 0.08 * (rate + 3) ** 2 - 0.3 * math.exp(-(epoch + 1) / 4)
    accuracy = float(np.clip(level + noise, 0.05, 0.99))
    return {
        "loss": 1 - accuracy,
        "accuracy": min(accuracy + 0.05, 1.0),
        "val_loss": 1.1 - accuracy,
        "val_accuracy": accuracy,
        "val_balanced_accuracy": accuracy - 0.01,
    }


def _outcomes(score: float, dataset: Dataset) -> Outcomes:
    labels = dataset.labels("validation")
    random = np.random.default_rng(round(score * 1e6))
    right = random.random(len(labels)) < score
    predicted = np.where(right, labels, (labels + 1) % len(CLASSES))
    confidence = random.uniform(0.3, 1.0, len(labels))
    return Outcomes(
        predicted.astype("<u2"),
        confidence.astype("<f2"),
        np.where(right, confidence, 1 - confidence).astype("<f2"),
    )


@functools.cache
def many_trials() -> Run:
    """A run of 197 trials and 10,000 images; a test that changes it puts it back."""
    folder = Path(tempfile.mkdtemp(prefix="synthetic-run."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return synthetic_run(folder)


@functools.cache
def many_contents() -> Contents:
    """What a report shows of `many_trials`; heat maps and doubtful labels are made up."""
    run = many_trials()
    with Cache(run.folder / "cache") as cache:
        found = gather(run, cache, lambda what, done, count: None)
    assert isinstance(found.validation, Validation)
    noise = np.random.default_rng(0).integers(0, 256, (thumbnails.SIDE, thumbnails.SIDE, 3))
    heat = thumbnails.data_address(noise.astype(np.uint8))
    shown = tuple(replace(image, heat=heat) for image in found.validation.worst)
    doubts = Doubts(found.validation.worst, 321, 8572)
    return replace(
        found, validation=replace(found.validation, worst=shown, no_heat=""), doubts=doubts
    )
