"""Write an export's labels.json, MODEL_CARD.md and export.json."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tuner.data.dataset import Dataset
from tuner.data.splits import SPLITS
from tuner.environment import versions
from tuner.evaluate.access_log import access_rows, access_sentence
from tuner.evaluate.evaluation import Winner
from tuner.evaluate.held_out import details_of
from tuner.export.files import Exported
from tuner.export.folder import SCHEMA_VERSION
from tuner.export.formats import FORMATS
from tuner.export.model_card import confusions, escaped, model_card
from tuner.export.parity import Parity
from tuner.export.refit import Refit, refit_row
from tuner.runs.records import trial_name
from tuner.runs.run import Run
from tuner.storage.atomic import write_text
from tuner.storage.digests import sha256


def describe(
    folder: Path,
    run: Run,
    winner: Winner,
    dataset: Dataset,
    exported: Exported,
    refitted: Refit | None = None,
) -> None:
    """Write the three files; export.json has the SHA-256 of every other file in the folder."""
    write_text(folder / "labels.json", json.dumps(list(dataset.classes), indent=1))
    description = _description(run, winner, dataset, exported)
    if refitted is not None:
        description |= _refitted(refitted)
    write_text(folder / "MODEL_CARD.md", model_card(description, dataset.classes))
    description["files"] = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    write_text(folder / "export.json", json.dumps(description, indent=2))


def _description(run: Run, winner: Winner, dataset: Dataset, exported: Exported) -> dict[str, Any]:
    reference, settings = exported.reference, run.settings
    test = slice(reference.validation, None)
    mistakes = []
    details: dict[str, Any] = {"scores": None, "intervals": {}, "per_class": []}
    if dataset.of("test"):
        predicted = reference.probabilities[test]
        mistakes = confusions(predicted, reference.labels[test], dataset.classes)
        details = details_of(predicted, dataset)
    accesses = access_rows(run, dataset)
    row = winner.to_json()
    kept = (
        "trial",
        "hyperparameters",
        "validation_accuracy",
        "validation_balanced_accuracy",
        "test_images",
        "test_accuracy",
        "test_balanced_accuracy",
        "luck",
        "opponents",
        "verdict",
        "leaked_test_images",
    )
    return {
        "schema": SCHEMA_VERSION,
        "run": run.name,
        "name": f"trial {row['trial']}",
        "space": settings.space,
        "pretrained": _pretrained(run),
        **{name: row[name] for name in kept},
        "majority_rate": {
            "validation": winner.validation_majority_rate,
            "test": winner.majority_rate,
        },
        "validation_images": reference.validation,
        "images": {split: len(dataset.of(split)) for split in SPLITS},
        "split": {
            "seed": settings.split_seed,
            "given": list(dataset.given),
            "validation_fraction": _fraction(dataset, "validation", settings.val_fraction),
            "test_fraction": _fraction(dataset, "test", settings.test_fraction),
        },
        "warnings": list(dataset.warnings),
        "test_scores": details["scores"],
        "intervals": details["intervals"],
        "per_class": details["per_class"],
        "left_out": [each.name for each in winner.left_out],  # reasons name folders
        "looks": accesses,
        "looks_sentence": access_sentence(accesses) if accesses else None,
        "confusions": [asdict(mistake) for mistake in mistakes],
        "image_size": settings.image_size,
        "crop": settings.crop,
        "classes": len(dataset.classes),
        "input": "RGB values 0 to 255, uint8, (batch, height, width, 3), any size",
        "output": "probabilities, float32, (batch, classes), in the order of labels.json",
        "preprocessing": _preprocessing(settings.image_size, settings.crop),
        **check_row(exported),
        "versions": {"python": platform.python_version()} | versions(),
    }


def _fraction(dataset: Dataset, split: str, share: float) -> float | None:
    """The share of each class that was drawn for a split; None if it was given."""
    return None if split in dataset.given else share


def _pretrained(run: Run) -> dict[str, Any]:
    """The pretrained weights and their licence."""
    weights, digest = run.settings.weights, run.journal.notes().weights_digest
    if weights == "none":
        sentence = "No pretrained weights were used."
    elif weights == "imagenet":
        sentence = (
            "The pretrained weights are those of keras.applications for ImageNet; of ResNet50 they "
            "are ported from the ones that Kaiming He released under the MIT licence."
        )
    else:
        weights = Path(weights).name
        sentence = (
            f"The pretrained weights are those of the file {escaped(weights)} (SHA-256 {digest}). "
            "Their licence is that of the file."
        )
    return {"weights": weights, "sha256": digest, "sentence": sentence}


def check_row(exported: Exported) -> dict[str, Any]:
    """The result of an export's check, for export.json and `tune best --json`."""
    return {
        "checked_images": len(exported.reference.paths),
        "plainly_decoded": sum(exported.reference.plain),
        "formats": {name: _format(name, exported) for name in exported.parities},
        "temperature": exported.calibration.temperature,
        "calibration_error_before": exported.calibration.before,
        "calibration_error": exported.calibration.after,
    }


def _refitted(refitted: Refit) -> dict[str, Any]:
    """The fields that differ for a refitted winner."""
    return {
        "name": f"trial {trial_name(refitted.trial.id)}, refitted",
        "validation_accuracy": None,
        "validation_balanced_accuracy": None,
        "test_accuracy": refitted.test_accuracy,
        "test_balanced_accuracy": refitted.test_balanced_accuracy,
        "test_images": len(refitted.dataset.of("test")),
        "leaked_test_images": refitted.leaked.to_json(),
        "majority_rate": {"validation": None, "test": refitted.dataset.majority_rate("test")},
        "refit": refit_row(refitted),
    }


def _preprocessing(image_size: int, crop: bool) -> dict[str, Any]:
    """The preprocessing that callers must do, and that the file does."""
    return {
        "outside": {
            "orientation": "upright, as EXIF asks",
            "colours": "those of an embedded profile become sRGB",
            "transparency": "laid on white",
            "deep_integers": "the upper 8 bits",
            "channels": "RGB",
            "dtype": "uint8",
            "scaling": "none",
        },
        "inside": {
            "crop": "centre square" if crop else "none",
            "size": [image_size, image_size],
            "aspect_ratio": "not kept",
            "kernel": "triangle, antialiased, half-pixel centres",
            "rounding": "whole numbers 0 to 255",
        },
    }


def _format(name: str, exported: Exported) -> dict[str, Any]:
    parity = exported.parities[name]
    numbers = exported.quantize if name == "litert" and exported.quantize else "float32"
    described = {"file": FORMATS[name].file, "numbers": numbers, **_parity(parity)}
    described |= {
        "validation_accuracy": parity.validation_accuracy,
        "test_accuracy": parity.test_accuracy,
        "bytes": exported.bytes[name],
    }
    if numbers != "float32":
        described |= {"lost": parity.lost, "gained": parity.gained, "warning": exported.warning}
    if name == "savedmodel" and exported.encoded is not None:
        described["encoded"] = _parity(exported.encoded)
    return described


def _parity(parity: Parity) -> dict[str, Any]:
    return {
        "images": parity.images,
        "differing": parity.differing,
        "ties": parity.ties,
        "largest_difference": parity.largest,
        "milliseconds_per_image": round(parity.milliseconds, 2),
    }
