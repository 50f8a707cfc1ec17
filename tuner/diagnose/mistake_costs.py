"""What mistakes in a network cost on given images, and which of them the user's model makes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.counting import Progress, silent
from tuner.diagnose.batchnorm_treatments import FINE_TUNED, Treatment
from tuner.diagnose.experiment_data import ExperimentData, compiled, features_of
from tuner.diagnose.finding import (
    BATCHNORM_IN_TRAINING,
    LAGGING,
    LEARNING_RATE,
    SCALED_INPUT,
    Finding,
    Remedy,
)
from tuner.diagnose.head_training import EPOCHS
from tuner.diagnose.lagging_batchnorm import lagging_batchnorm
from tuner.diagnose.learning_rate import learning_rate_curve, learning_rate_finding, trained_longer
from tuner.metrics.significance import paired_gain
from tuner.model_check import findings
from tuner.model_check.findings import ModelFinding
from tuner.model_check.input_scaling import mapping_at_backbone
from tuner.model_check.parts import find_parts
from tuner.model_check.pixel_mapping import UNIT, PixelMapping
from tuner.model_check.step_size import is_scheduled, step_size, why_unjudged
from tuner.text import percent
from tuner.training.rows import Rows

_USUAL_RATE = 1e-3  # keras.optimizers.Adam()
_USUAL_MOMENTUM = 0.99  # keras.layers.BatchNormalization()
# Moving statistics lag for certain while their initial values still weigh more than this.
_LAGS_FOR_CERTAIN = 0.5
# The treatment of BatchNorm that shows what a fault of a model costs.
_TREATMENT_OF = {
    findings.BATCH_STATISTICS_IN_FIT: "tutorial",
    findings.BATCH_STATISTICS_OF_FROZEN_LAYERS: "legacy",
    findings.BATCH_STATISTICS_IN_PREDICTION: "own_input_batch",
}
_CAUSE_OF = {
    findings.INPUT_SCALING: SCALED_INPUT,
    findings.LAGGING_HEAD: LAGGING,
    findings.LEARNING_RATE: LEARNING_RATE,
}
_FREEZE = Remedy(
    (
        "Freeze each BatchNorm: for layer in base.layers: layer.trainable = False; or let tune "
        "search build the network.",
    )
)
_PREPROCESS = Remedy(
    ("Pass images from 0 to 255 through keras.applications.resnet50.preprocess_input(images).",)
)


def treatments_for(faults: Sequence[ModelFinding]) -> set[str]:
    """The treatments of BatchNorm that show what a model's faults cost.

    Args:
        faults: as `check_model` returns them.
    """
    names = {each.name for each in faults}
    needed = {treatment for name, treatment in _TREATMENT_OF.items() if name in names}
    return needed | ({FINE_TUNED} if "tutorial" in needed else set())


def prices(
    data: ExperimentData,
    few: ExperimentData,
    treatments: Mapping[str, Treatment],
    model: keras.Model | None,
    configuration: Configuration,
    seed: int,
    on_progress: Progress = silent,
) -> Iterator[Finding]:
    """What mistakes in a network would cost on these images.

    Args:
        data: images and features.
        few: those of them that the treatments were tried on.
        treatments: by name, with "frozen" and "legacy".
        model: the user's own, whose scaling, momentum and learning rate are tried; None for the
            usual mistakes.
        configuration: the head.
        seed: of heads and orders.
        on_progress: counts the steps of each experiment.
    """
    frozen = treatments["frozen"]
    yield _batchnorm(frozen, treatments["legacy"])
    arriving, note = _arriving(model)
    scaled = scaled_input(few, frozen.right, configuration, EPOCHS, seed, arriving, on_progress)
    yield replace(scaled, sentence=f"{note}{scaled.sentence}")
    yield lagging_batchnorm(
        data.space,
        data.backbone,
        data.pooled_training,
        data.pooled_validation,
        momentum=_momentum(model),
        seed=seed,
        on_progress=on_progress,
    )
    yield _learning_rate(data, model, seed, on_progress)


def _learning_rate(
    data: ExperimentData, model: keras.Model | None, seed: int, on_progress: Progress
) -> Finding:
    rows = data.pooled_training, data.pooled_validation
    curve = learning_rate_curve(data.heads, *rows, seed=seed, on_progress=on_progress)
    used = step_size(model) or _USUAL_RATE
    longer = None
    if used < curve.good[0] and (model is None or trains_a_head_alone(model)):
        longer = trained_longer(data.heads, *rows, used, seed, on_progress)
    found = learning_rate_finding(curve, used, longer)
    note = _rate_note(model)
    harmless = f"{note}{found.harmless}" if found.harmless else ""
    return replace(found, sentence=f"{note}{found.sentence}", harmless=harmless)


def _rate_note(model: keras.Model | None) -> str:
    """How the rate that was tried relates to the user's model, where it is not simply its rate."""
    if model is None or step_size(model) is None:
        return ""
    scheduled = "The highest rate of your schedule was tried. " * is_scheduled(model)
    optimizer = "It was tried with Adam, whose steps are as long. " * bool(why_unjudged(model))
    return scheduled + optimizer


def unjudged_rate(model: keras.Model) -> Finding | None:
    """Why the learning rate of the user's model was not judged; None where it can be."""
    why = why_unjudged(model)
    if not why:
        return None
    return Finding(LEARNING_RATE, f"Your learning rate was not judged: {why}.", 0.0, None)


def trains_a_head_alone(model: keras.Model | None) -> bool:
    """Whether `fit` leaves the backbones of the user's model as they are."""
    if model is None:
        return False
    backbones = find_parts(model).backbones
    trained = {id(weight) for weight in model.trainable_weights}
    layers = [layer for backbone in backbones for layer in backbone.layers]
    return bool(backbones) and not any(
        id(weight) in trained for layer in layers for weight in layer.weights
    )


def mistakes(
    faults: Sequence[ModelFinding],
    treatments: Mapping[str, Treatment],
    prices: Mapping[str, Finding],
) -> list[Finding]:
    """The mistakes that the user's model makes, each with its price on these images.

    Args:
        faults: as `check_model` returns them.
        treatments: by name, with those of `treatments_for(faults)` and the ones they compare with.
        prices: by cause.
    """
    found = []
    for fault in faults:
        price = _price(fault, treatments, prices)
        if price is None:
            continue
        lags = price.numbers.get("initial_share", 0.0) > _LAGS_FOR_CERTAIN
        found.append(
            replace(
                price,
                sentence=f"{_as_sentence(fault.sentence)} {price.sentence}",
                remedy=Remedy((f"Repair: {fault.repair}",)) if fault.repair else price.remedy,
                certain=fault.severity == findings.ERROR or lags,
            )
        )
    return found


def _price(
    fault: ModelFinding, treatments: Mapping[str, Treatment], prices: Mapping[str, Finding]
) -> Finding | None:
    """The cost of a fault; None for a warning that no experiment belongs to."""
    if fault.name in _TREATMENT_OF:
        name = _TREATMENT_OF[fault.name]
        sound = treatments[FINE_TUNED if name == "tutorial" else "frozen"]
        return _batchnorm(sound, treatments[name])
    if _CAUSE_OF.get(fault.name) in prices:
        return prices[_CAUSE_OF[fault.name]]
    if fault.severity == findings.ERROR:
        unknown = "What it costs here was not measured."
        return Finding(fault.name, unknown, 0.0, None, measured=False)
    return None


def _as_sentence(text: str) -> str:
    """A model's fault, which begins with a small letter, as a sentence of its own."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."


def _batchnorm(frozen: Treatment, other: Treatment) -> Finding:
    """What a treatment of BatchNorm costs, compared with inference mode."""
    gain, p_value = paired_gain(other.right, frozen.right[: len(other.right)])
    sentence = (
        f"With BatchNorm as in {other.name!r} a head reaches {percent(other.val_accuracy)}, in "
        f"inference mode ({frozen.name!r}) {percent(frozen.val_accuracy)}."
    )
    numbers = {
        "treatment": other.name,
        "accuracy": other.val_accuracy,
        "frozen_accuracy": frozen.val_accuracy,
        "moved": other.moved,
    }
    return Finding(BATCHNORM_IN_TRAINING, sentence, gain, p_value, _FREEZE, numbers)


def _arriving(model: keras.Model | None) -> tuple[PixelMapping, str]:
    """The wrong scaling to price, and a note where it is not that of the model."""
    if model is None:
        return UNIT, ""
    arriving = mapping_at_backbone(model)
    if arriving is None:
        return UNIT, "The price is that of the commonest mistake, in a ResNet50. "
    if arriving.is_expected:
        return UNIT, ""
    if not arriving.is_affine:
        what = arriving.description()
        return UNIT, f"The network gets {what}; the price is that of the commonest mistake. "
    return arriving, ""


def _momentum(model: keras.Model | None) -> float:
    """The highest momentum of the head's BatchNorm; Keras's default where none is known."""
    if model is None:
        return _USUAL_MOMENTUM
    parts = find_parts(model)
    # Without a known backbone, its BatchNorm cannot be told from that of the head.
    own = parts.head_batchnorms if parts.backbones else ()
    return max((layer.momentum for layer in own), default=_USUAL_MOMENTUM)


def scaled_input(
    data: ExperimentData,
    right: np.ndarray,
    configuration: Configuration,
    epochs: int,
    seed: int,
    arriving: PixelMapping = UNIT,
    on_progress: Progress = silent,
) -> Finding:
    """Measure what wrongly scaled pixels cost in a ResNet50.

    Args:
        data: images and features.
        right: whether the head classifies each validation image correctly when they are scaled
            correctly, bool, shape (images,) or (seeds, images).
        configuration: the head.
        epochs: of the head.
        seed: of its weights and of the order of the images.
        arriving: what reaches the network; by default pixels divided by 255.
        on_progress: counts images.
    """
    matrix, offset = (each.astype(np.float32) for each in (arriving.matrix, arriving.offset))

    def prepare(images: Any) -> Any:
        return images @ matrix + offset

    program = compiled(data.backbone.lend(0), training=False, prepare=prepare)
    what, count = "wrongly scaled input", len(data.training.y) + len(data.validation.y)

    def features(rows: Rows, before: int) -> Rows:
        def on_images(done: int) -> None:
            on_progress(what, before + done, count)

        return Rows(features_of(program, rows.x, on_images), rows.y)

    on_progress(what, 0, count)
    training, validation = (
        features(data.training, 0),
        features(data.validation, len(data.training.y)),
    )
    wrong = data.heads.fit(configuration, [training], validation, epochs, seed).right
    gain, p_value = paired_gain(wrong, right)
    numbers = {
        "arriving": arriving.description(),
        "as_it_arrives": float(wrong.mean()),
        "as_expected": float(np.mean(right)),
    }
    sentence = (
        f"With {numbers['arriving']} in the first convolution a head reaches "
        f"{percent(wrong.mean())}, and with ResNet50's own preprocessing "
        f"{percent(float(np.mean(right)))}."
    )
    return Finding(SCALED_INPUT, sentence, gain, p_value, _PREPROCESS, numbers)
