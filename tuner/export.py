"""The winner as files that work without this program, proved equal before they are kept."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from search_spaces.resize import resizer
from tuner.atomic import sync, write_text
from tuner.dataset import Dataset
from tuner.disk import nearest_existing
from tuner.environment import versions
from tuner.errors import DataError, ExportError, TuneError
from tuner.evaluation import Winner, count_correct, trained_model
from tuner.exported import MODEL_FILE, SCHEMA_VERSION, sha256
from tuner.ranking import trial_name
from tuner.run import Run, is_writable

# Two best classes closer than this may change places with the last bits of a float.
_TIE = 1e-4


@dataclass(frozen=True)
class Parity:
    """What another process made of the exported file on the validation images.

    Attributes:
        images: how many there are.
        ties: how many have their two best probabilities within 1e-4.
        correct: how many it names rightly.
        recorded: how many the search counted.
    """

    images: int
    ties: int
    correct: int
    recorded: int

    @property
    def equal(self) -> bool:
        """Whether the counts agree; only ties may differ."""
        return abs(self.correct - self.recorded) <= self.ties


def check_target(folder: Path) -> None:
    """Raises ExportError unless an export can be written to that folder."""
    if not is_writable(folder.parent):
        raise ExportError(f"{folder} cannot be written. Choose another folder for the export.")
    if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(
            f"{folder} exists and is not an empty folder. Choose another, or remove it first."
        )


def export_winner(run: Run, winner: Winner, dataset: Dataset, folder: Path) -> Parity:
    """Writes model.keras, labels.json and export.json, all or nothing.

    The model takes RGB values 0 to 255, uint8 or float, of any size, and gives probabilities; it
    holds stock Keras layers only. Before the folder gets its name, another process loads the file
    with plain Keras, decodes the validation images, and has to count the recorded accuracy.

    Args:
        run: the run.
        winner: its winner, evaluated.
        dataset: the run's images.
        folder: is made; must not exist or be empty.

    Returns:
        What the other process counted.

    Raises:
        ExportError: the folder cannot be written, or is not empty.
        DataError: a validation image has changed since the search, or is gone.
        RunError: the winner's weights are gone or damaged.
        TuneError: the exported file does not give the recorded accuracy.
    """
    folder = folder.absolute()
    check_target(folder)
    _check_unchanged(dataset)
    try:
        existing = nearest_existing(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=existing))
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        network = trained_model(run, winner.trial, len(dataset.classes))
        export_model(network, run.settings.image_size, run.settings.crop).save(
            temporary / MODEL_FILE
        )
        parity = _check_parity(temporary / MODEL_FILE, winner, dataset)
        _describe(temporary, run, winner, dataset, parity)
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
    return parity


def export_model(network: keras.Model, image_size: int, crop: bool = False) -> keras.Model:
    """Puts the resize, and the crop before it, in front of a network.

    Args:
        network: from (batch, image_size, image_size, 3) to probabilities, uncompiled.
        image_size: in pixels.
        crop: whether the network was trained on the centre square of each image.

    Returns:
        Model from RGB values 0 to 255, (batch, any height, any width, 3), to probabilities.
    """
    resized = resizer(image_size, crop)
    return keras.Model(resized.input, network(resized.output), name="tuned_resnet50")


def _unwritable(folder: Path, error: OSError) -> ExportError:
    return ExportError(f"{folder} cannot be written: {error.strerror or error}.")


def _check_unchanged(dataset: Dataset) -> None:
    """Raises DataError unless the validation images are those that the search counted."""
    for file in dataset.of("validation"):
        path = dataset.root / file.path
        try:
            found = sha256(path)
        except OSError as error:
            raise DataError(
                f"the export is checked on the validation images, but {path} cannot be read: "
                f"{error.strerror}."
            ) from error
        if found != file.sha256:
            raise DataError(
                f"the export is checked on the validation images, but {path} has changed since "
                "the search. Put the old file back."
            )


def _check_parity(model: Path, winner: Winner, dataset: Dataset) -> Parity:
    labels = dataset.labels("validation")
    paths = [str(dataset.root / file.path) for file in dataset.of("validation")]
    probabilities = _predict_elsewhere(model, paths)
    best = np.sort(probabilities, axis=1)
    parity = Parity(
        images=len(labels),
        ties=int((best[:, -1] - best[:, -2] < _TIE).sum()),
        correct=count_correct(probabilities, labels),
        recorded=round(winner.validation_accuracy * len(labels)),
    )
    if not parity.equal:
        raise TuneError(
            f"the exported model names {parity.correct} of {parity.images} validation images "
            f"rightly, but the search counted {parity.recorded}; nothing was written."
        )
    return parity


def _predict_elsewhere(model: Path, paths: list[str]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        list_file, out = Path(folder, "paths.json"), Path(folder, "probabilities.npy")
        list_file.write_text(json.dumps(paths), "utf-8")
        finished = subprocess.run(
            # -P: what lies in the working folder is not imported.
            [sys.executable, "-P", "-m", "tuner.prediction", str(model), str(list_file), str(out)],
            capture_output=True,
            text=True,
            errors="replace",
            env=os.environ | _elsewhere(),
        )
        if finished.returncode or not out.exists():
            reason = finished.stderr.strip().splitlines() or ["no message"]
            raise TuneError(f"the exported model could not be checked: {reason[-1]}")
        return np.load(out, allow_pickle=False)


def _elsewhere() -> dict[str, str]:
    """Environment of the other process: it finds this program, and leaves us our GPU memory."""
    program = str(Path(__file__).resolve().parents[1])
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [program, os.environ.get("PYTHONPATH")])),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }


def _describe(folder: Path, run: Run, winner: Winner, dataset: Dataset, parity: Parity) -> None:
    write_text(folder / "labels.json", json.dumps(list(dataset.classes), indent=1))
    files = {name: sha256(folder / name) for name in (MODEL_FILE, "labels.json")}
    description: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "run": run.name,
        "trial": trial_name(winner.trial.id),
        "hyperparameters": winner.trial.hyperparameters,
        "validation_accuracy": winner.validation_accuracy,
        "test_accuracy": winner.test_accuracy,
        "validation_balanced_accuracy": winner.validation_balanced_accuracy,
        "test_balanced_accuracy": winner.test_balanced_accuracy,
        "validation_images": parity.images,
        "test_images": winner.test_images,
        "image_size": run.settings.image_size,
        "crop": run.settings.crop,
        "classes": len(dataset.classes),
        "input": "RGB values 0 to 255, uint8 or float, (batch, height, width, 3), any size",
        "output": "probabilities, float32, (batch, classes), in the order of labels.json",
        "versions": {"python": platform.python_version()} | versions(),
        "files": files,
    }
    write_text(folder / "export.json", json.dumps(description, indent=2))
