"""What mistakes that a network can make cost on given images, and which the user's model makes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from search_spaces.resnet50 import Configuration
from tuner.counting import Progress, telling
from tuner.diagnose import causes, lagging_batchnorm, learning_rate
from tuner.diagnose.batchnorm_treatments import FINE_TUNED, Treatment
from tuner.diagnose.causes import BATCHNORM_IN_TRAINING, SCALED_INPUT
from tuner.diagnose.experiment_data import Evidence, compiled, features_of
from tuner.diagnose.finding import Finding
from tuner.diagnose.head_training import EPOCHS
from tuner.metrics.significance import paired_gain
from tuner.model_check import check
from tuner.model_check.anatomy import dissect
from tuner.model_check.input_scaling import reaching
from tuner.model_check.pixel_mapping import Arrival
from tuner.model_check.step_size import is_scheduled, step_size, why_unjudged
from tuner.text import percent
from tuner.training.rows import Rows

_USUAL_RATE = 1e-3  # keras.optimizers.Adam()
_USUAL_MOMENTUM = 0.99  # keras.layers.BatchNormalization()
# A head's moving statistics of which so much is what they began with, epochs after the first, lag
# for certain, whatever that costs.
_LAGS_FOR_CERTAIN = 0.5
# Treatments that a fault of a model is priced by.
_TREATMENT_OF = {
    check.BATCH_STATISTICS_IN_FIT: "tutorial",
    check.BATCH_STATISTICS_OF_FROZEN_LAYERS: "legacy",
    check.BATCH_STATISTICS_IN_PREDICTION: "own_input_batch",
}
_CAUSE_OF = {
    check.INPUT_SCALING: SCALED_INPUT,
    check.LAGGING_HEAD: causes.LAGGING,
    check.LEARNING_RATE: learning_rate.CAUSE,
}


def treatments_for(checked: Sequence[check.ModelFinding]) -> set[str]:
    """The treatments of BatchNorm that a model's faults are priced by.

    Args:
        checked: what `check_model` found.
    """
    names = {each.name for each in checked}
    needed = {treatment for name, treatment in _TREATMENT_OF.items() if name in names}
    return needed | ({FINE_TUNED} if "tutorial" in needed else set())


def prices(
    evidence: Evidence,
    few: Evidence,
    treatments: Mapping[str, Treatment],
    model: keras.Model | None,
    configuration: Configuration,
    seed: int,
    on_progress: Progress | None = None,
) -> Iterator[Finding]:
    """What mistakes of a network would cost on these images.

    Args:
        evidence: images and features.
        few: those of them that the treatments were tried on.
        treatments: by name, "frozen" and "legacy" among them.
        model: the user's own, whose scaling, momentum and learning rate are tried; None for the
            usual mistakes.
        configuration: the head.
        seed: of heads and orders.
        on_progress: is told (what is done, done so far, of how many).
    """
    training, validation = evidence.pooled_training, evidence.pooled_validation
    frozen = treatments["frozen"]
    yield _batchnorm(frozen, treatments["legacy"])
    wrong, note = _arriving(model)
    scaled = scaled_input(
        few, frozen.right, configuration, EPOCHS, seed, wrong,
        telling(on_progress, "wrongly scaled input"),
    )  # fmt: skip
    yield replace(scaled, sentence=f"{note}{scaled.sentence}")
    yield lagging_batchnorm.lagging_batchnorm(
        evidence.space, evidence.backbone, training, validation,
        momentum=_momentum(model), seed=seed,
        on_progress=telling(on_progress, "lagging BatchNorm"),
    )  # fmt: skip
    curve = learning_rate.learning_rate_curve(
        evidence.heads, training, validation, seed=seed,
        on_progress=telling(on_progress, "learning rates"),
    )  # fmt: skip
    own = step_size(model)
    used = _USUAL_RATE if own is None else own
    longer = None
    if used < curve.good[0] and (model is None or trains_a_head_alone(model)):
        longer = learning_rate.trained_longer(
            evidence.heads,
            training,
            validation,
            used,
            seed,
            telling(on_progress, "a low learning rate"),
        )
    yield _of_rate(model, learning_rate.learning_rate_finding(curve, used, longer))


def unjudged_rate(model: keras.Model) -> Finding | None:
    """Says that the learning rate of the user's model was not judged; None where it can be.

    Args:
        model: the user's own.
    """
    why = why_unjudged(model)
    if not why:
        return None
    return Finding(learning_rate.CAUSE, f"Your learning rate was not judged: {why}.", 0.0, None)


def _of_rate(model: keras.Model | None, found: Finding) -> Finding:
    """Says how the rate that was judged is that of the user's model, where that is not plain."""
    notes = []
    if model is not None and step_size(model) is not None:
        if is_scheduled(model):
            notes.append("The highest rate of your schedule was tried. ")
        if why_unjudged(model):
            notes.append("It was tried with Adam, whose steps are as long. ")
    note = "".join(notes)
    return replace(
        found,
        sentence=f"{note}{found.sentence}",
        harmless=f"{note}{found.harmless}" if found.harmless else "",
    )


def trains_a_head_alone(model: keras.Model | None) -> bool:
    """Whether the user's model is one whose backbone stays as it is."""
    if model is None:
        return False
    backbones = dissect(model).backbones
    trained = {id(weight) for weight in model.trainable_weights}
    layers = [layer for backbone in backbones for layer in backbone.layers]
    return bool(backbones) and not any(
        id(weight) in trained for layer in layers for weight in layer.weights
    )


def mistakes(
    checked: Sequence[check.ModelFinding],
    treatments: Mapping[str, Treatment],
    prices: Mapping[str, Finding],
) -> list[Finding]:
    """The mistakes that the user's model makes, each with its price here.

    Args:
        checked: what `check_model` found.
        treatments: by name; of a model that uses statistics of the batch, those that it may need.
        prices: by cause.
    """
    found = []
    for mistake in checked:
        certain = mistake.severity == check.ERROR
        if mistake.name in _TREATMENT_OF:
            name = _TREATMENT_OF[mistake.name]
            price = _batchnorm(_opponent(treatments, name), treatments[name])
        elif _CAUSE_OF.get(mistake.name) in prices:
            price = prices[_CAUSE_OF[mistake.name]]
        elif certain:
            price = Finding(
                mistake.name, "What it costs here cannot be told.", 0.0, None, measured=False
            )
        else:
            continue
        certain |= price.numbers.get("initial_share", 0.0) > _LAGS_FOR_CERTAIN
        found.append(
            replace(
                price,
                sentence=f"{_capital(mistake.sentence)} {price.sentence}",
                remedy=f"Repair: {mistake.repair}" if mistake.repair else price.remedy,
                certain=certain,
            )
        )
    return found


def _opponent(treatments: Mapping[str, Treatment], name: str) -> Treatment:
    """The same treatment without its fault."""
    return treatments[FINE_TUNED if name == "tutorial" else "frozen"]


def _capital(sentence: str) -> str:
    """A finding of a model, which begins with a small letter, as a sentence that ends."""
    return f"{sentence[0].upper()}{sentence[1:].rstrip('.')}."


def _batchnorm(frozen: Treatment, other: Treatment) -> Finding:
    """What a treatment of BatchNorm costs against inference mode."""
    gain, p_value = paired_gain(other.right, frozen.right[: len(other.right)])
    sentence = (
        f"BatchNorm as in {other.name!r} validates at {percent(other.val_accuracy)}, in inference "
        f"mode ({frozen.name!r}) at {percent(frozen.val_accuracy)}."
    )
    remedy = (
        "Freeze each one: for layer in base.layers: layer.trainable = False; or let tune search "
        "build the network."
    )
    numbers = {"treatment": other.name, "accuracy": other.val_accuracy} | {
        "frozen_accuracy": frozen.val_accuracy, "moved": other.moved,
    }  # fmt: skip
    return Finding(BATCHNORM_IN_TRAINING, sentence, gain, p_value, remedy, numbers)


def _arriving(model: keras.Model | None) -> tuple[Arrival, str]:
    """The wrong scaling that is priced, and what is said where it is not that of the model."""
    arriving = None if model is None else reaching(model)
    if model is not None and arriving is None:
        return TO_UNIT, "Priced is the commonest mistake, in a ResNet50. "
    if arriving is None or arriving.is_expected:
        return TO_UNIT, ""
    if not arriving.is_affine:
        return TO_UNIT, f"It gets {arriving.description()}; priced is the commonest mistake. "
    return arriving, ""


def _momentum(model: keras.Model | None) -> float:
    """Of the head's BatchNorm that lags most; Keras's default where none is known."""
    if model is None:
        return _USUAL_MOMENTUM
    parts = dissect(model)
    # Without a known backbone, its BatchNorm cannot be told from that of the head.
    own = parts.head_batchnorms if parts.backbones else ()
    return max((layer.momentum for layer in own), default=_USUAL_MOMENTUM)


# The commonest wrong scaling.
TO_UNIT = Arrival(np.eye(3) / 255, np.zeros(3), is_affine=True)


def scaled_input(
    evidence: Evidence,
    right: np.ndarray,
    configuration: Configuration,
    epochs: int,
    seed: int,
    arriving: Arrival = TO_UNIT,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> Finding:
    """What wrongly scaled pixels cost in a network that expects BGR with ImageNet's mean taken.

    Args:
        evidence: images and features.
        right: whether the head names each validation image rightly when they are scaled as they
            should be, bool, shape (images,) or (seeds, images).
        configuration: the head.
        epochs: that it is trained.
        seed: of its weights and of the order of the images.
        arriving: what reaches the network; left out, pixels divided by 255.
        on_progress: told (images done, of how many).
    """
    matrix, offset = (each.astype(np.float32) for each in (arriving.matrix, arriving.offset))

    def prepare(images: Any) -> Any:
        return images @ matrix + offset

    program = compiled(evidence.backbone.lend(0), training=False, prepare=prepare)
    first, count = len(evidence.training.y), len(evidence.training.y) + len(evidence.validation.y)
    on_progress(0, count)
    training = Rows(
        features_of(program, evidence.training.x, lambda done: on_progress(done, count)),
        evidence.training.y,
    )
    validation = Rows(
        features_of(program, evidence.validation.x, lambda done: on_progress(first + done, count)),
        evidence.validation.y,
    )
    wrong = evidence.heads.fit(configuration, [training], validation, epochs, seed).right
    gain, p_value = paired_gain(wrong, right)
    sentence = (
        f"With {arriving.description()} in the first convolution a head reaches "
        f"{percent(wrong.mean())}, and with ResNet50's own preprocessing "
        f"{percent(float(np.mean(right)))}."
    )
    remedy = "Feed keras.applications.resnet50.preprocess_input(images), images from 0 to 255."
    numbers = {
        "arriving": arriving.description(),
        "as_it_arrives": float(wrong.mean()),
        "as_expected": float(np.mean(right)),
    }
    return Finding(SCALED_INPUT, sentence, gain, p_value, remedy, numbers)
