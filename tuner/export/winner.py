"""Export the winner as files that run without this package, checked before they are kept."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tuner.counting import Progress, silent
from tuner.data.dataset import Dataset
from tuner.data.pixel_store import pixels_of, prepare_images
from tuner.errors import DataError, ExportError, TuneError
from tuner.evaluate.evaluation import Winner, chosen_trial, count_correct, evaluate_winner
from tuner.export.description import describe
from tuner.export.files import (
    Calibration,
    Exported,
    ExportOptions,
    check_files,
    export_model,
    write_files,
)
from tuner.export.parity import Reference
from tuner.export.refit import Refit, grown_dataset, refit
from tuner.export.temperature import fit_temperature, fold_temperature
from tuner.metrics.scores import calibration_error
from tuner.runs.run import Run, is_writable, winner_of
from tuner.settings import BEST
from tuner.storage.atomic import sync
from tuner.storage.cache import Cache
from tuner.storage.digests import sha256
from tuner.storage.disk import nearest_existing
from tuner.training.networks import trained_model

# Training images from which int8 takes the range of each activation.
_EXAMPLES = 128


@dataclass(frozen=True)
class ExportRequest:
    """An export to make.

    Attributes:
        folder: is created; must not exist, or be empty.
        options: the formats.
        refit: whether the winner is trained again, on its validation images too.
        data: the images for that, which may have grown; None for the run's.
    """

    folder: Path
    options: ExportOptions
    refit: bool = False
    data: Path | None = None


@dataclass(frozen=True)
class Best:
    """A run's winner, evaluated, with its export and refit where they were requested."""

    winner: Winner
    request: ExportRequest | None = None
    exported: Exported | None = None
    refitted: Refit | None = None


def best_of(
    run: Run,
    cache: Cache,
    prefer: str = BEST,
    request: ExportRequest | None = None,
    on_progress: Progress = silent,
) -> Best:
    """Evaluate a run's winner on the test images, and export it.

    Raises:
        InputError: see `evaluate_winner`, `grown_dataset`, `refit` and `export_winner`; that no
            trial has finished or the folder cannot be used is found first.
        TuneError: see `export_winner`.
    """
    winner_of(run)  # raises for a run without a finished trial, before its images are read
    dataset = run.dataset()
    chosen_trial(run, dataset, prefer)
    if request is None:
        return Best(evaluate_winner(run, dataset, cache, on_progress, prefer))
    check_target(request.folder.absolute())
    needs = {"--refit": request.refit, "--calibrate": request.options.calibrate}
    for option, given in needs.items():
        if given and not dataset.of("test"):
            raise ExportError(
                f"{option} needs test images to measure what it does, and the run {run.name} has "
                "none (--test-fraction 0). Export without it."
            )
    winner = evaluate_winner(run, dataset, cache, on_progress, prefer)
    refitted = None
    if request.refit:
        if request.data is not None:
            dataset = grown_dataset(run, request.data, cache.folder, on_progress)
        refitted = refit(run, winner.trial, dataset, cache, on_progress)
        dataset = refitted.dataset
    exported = export_winner(
        run, winner, dataset, request.folder, cache, request.options, on_progress, refitted
    )
    return Best(winner, request, exported, refitted)


def check_target(folder: Path) -> None:
    """Raise ExportError unless an export can be written to that folder."""
    if not is_writable(folder.parent):
        raise ExportError(f"{folder} cannot be written. Choose another folder for the export.")
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(
            f"{folder} exists and is not an empty folder. Choose another, or remove it first."
        )


def export_winner(
    run: Run,
    winner: Winner,
    dataset: Dataset,
    folder: Path,
    cache: Cache,
    options: ExportOptions | None = None,
    on_progress: Progress = silent,
    refitted: Refit | None = None,
) -> Exported:
    """Write the winner's files and their description, all or nothing.

    The files map RGB values 0 to 255 of any size to probabilities. Before the folder gets its name,
    each file predicts the validation and test images in a process that cannot import this package,
    and must agree with the network.

    Args:
        run: the run.
        winner: its winner, evaluated.
        dataset: the run's images.
        folder: is created; must not exist, or be empty.
        cache: holds decoded images.
        options: the formats; None for model.keras.
        on_progress: shows the check of each format.
        refitted: the winner trained again, which is exported in its place.

    Raises:
        ExportError: the folder cannot be written, or is not empty; or the network cannot be
            calibrated.
        DataError: an image has changed since the search, or is gone.
        RunError: the winner's weights are gone or damaged.
        TuneError: a file does not predict as the network, or the network does not reach the
            recorded accuracy.
    """
    options, folder = options or ExportOptions(), folder.absolute()
    check_target(folder)
    dataset = dataset if refitted is None else refitted.dataset
    with run.reading_images():
        _check_unchanged(dataset)
    with _whole_or_nothing(folder) as temporary:
        network = (
            trained_model(run, winner.trial, len(dataset.classes))
            if refitted is None
            else refitted.network
        )
        reference, calibration = _calibrated(
            network, None if refitted else winner, _predict(network, run, dataset, cache), options,
            lambda: _predict(network, run, dataset, cache),
        )  # fmt: skip
        examples = _examples(run, dataset, cache) if options.quantize == "int8" else None
        whole = export_model(network, run.settings.image_size, run.settings.crop)
        write_files(whole, temporary, options, examples)
        exported = check_files(temporary, reference, options, calibration, on_progress)
        describe(temporary, run, winner, dataset, exported, refitted)
    return exported


@contextlib.contextmanager
def _whole_or_nothing(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder, renamed when the block ends without an error."""
    try:
        existing = nearest_existing(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=existing))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
        sync(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _unwritable(folder: Path, error: OSError) -> ExportError:
    return ExportError(f"{folder} cannot be written: {error.strerror or error}.")


def _check_unchanged(dataset: Dataset) -> None:
    """Raise DataError if a validation or test image has changed since the search."""
    for file in _checked(dataset):
        path = dataset.root / file.path
        try:
            found = sha256(path)
        except OSError as error:
            raise DataError(
                f"the export is checked on the validation and test images, but {path} cannot be "
                f"read: {error.strerror}."
            ) from error
        if found != file.sha256:
            raise DataError(
                f"the export is checked on the validation and test images, but {path} has changed "
                "since the search. Put the old file back."
            )


def _checked(dataset: Dataset) -> tuple[Any, ...]:
    return (*dataset.of("validation"), *dataset.of("test"))


def _predict(network: keras.Model, run: Run, dataset: Dataset, cache: Cache) -> Reference:
    settings = run.settings
    parts = [
        network.predict(
            pixels_of(dataset, split, settings, cache),
            batch_size=settings.batch_size,
            verbose=0,
        )
        for split in ("validation", "test")
        if dataset.of(split)
    ]
    return Reference(
        paths=[dataset.root / file.path for file in _checked(dataset)],
        labels=np.concatenate([dataset.labels(split) for split in ("validation", "test")]),
        validation=len(dataset.of("validation")),
        probabilities=np.concatenate(parts),
    )


def _calibrated(
    network: keras.Model,
    winner: Winner | None,
    trained: Reference,
    options: ExportOptions,
    again: Callable[[], Reference],
) -> tuple[Reference, Calibration]:
    """The predictions of the exported network, and its calibration."""
    if winner is not None:
        _check_recorded(trained, winner)
    before = _test_error(trained)
    if not options.calibrate:
        return trained, Calibration(None, before, before)
    part = slice(trained.validation)
    temperature = fit_temperature(trained.probabilities[part], trained.labels[part])
    fold_temperature(network, temperature)
    reference = again()
    return reference, Calibration(temperature, before, _test_error(reference))


def _check_recorded(reference: Reference, winner: Winner) -> None:
    part = slice(reference.validation)
    correct = count_correct(reference.probabilities[part], reference.labels[part])
    recorded = round(winner.validation_accuracy * reference.validation)
    if abs(correct - recorded) > reference.ties[part].sum():
        raise TuneError(
            f"the network classifies {correct} of {reference.validation} validation images "
            f"correctly, but the search counted {recorded}; nothing was written."
        )


def _test_error(reference: Reference) -> float | None:
    part = slice(reference.validation, None)
    if not len(reference.labels[part]):
        return None
    return calibration_error(reference.probabilities[part], reference.labels[part])


def _examples(run: Run, dataset: Dataset, cache: Cache) -> np.ndarray:
    files = dataset.of("train")
    chosen = np.unique(np.linspace(0, len(files) - 1, min(_EXAMPLES, len(files))).round())
    settings = run.settings
    return np.asarray(
        prepare_images(
            [files[int(row)] for row in chosen], dataset.root, settings.image_size, cache,
            crop=settings.crop,
        )
    )  # fmt: skip
