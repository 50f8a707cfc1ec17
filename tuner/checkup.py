"""What is wrong with a user's own model, found by trying a copy of it.

Example:
    >>> import tuner
    >>> def test_my_model_is_healthy():
    ...     assert not tuner.check_model(build_my_model())
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tuner.anatomy import Anatomy, trainable_layers
from tuner.optimizers import is_scheduled, step_size
from tuner.preprocessing import Verdict, judge
from tuner.probe import Observation, Probe, difference
from tuner.quantities import percent

# Names of findings, the gravest first.
BATCH_STATISTICS_IN_PREDICTION = "batch statistics in prediction"
BATCH_STATISTICS_OF_FROZEN_LAYERS = "batch statistics of frozen layers"
BATCH_STATISTICS_IN_FIT = "batch statistics in fit"
BATCH_MATES = "batch mates"
INPUT_SCALING = "input scaling"
NOTHING_TRAINABLE = "nothing trainable"
LEARNING_RATE = "learning rate"
PREPROCESSING_OUTSIDE = "preprocessing outside the model"
UNEXAMINED_SCALING = "unexamined scaling"
LAGGING_HEAD = "lagging head statistics"
UNKNOWN_BACKBONE = "unknown backbone"
NAMES = (
    BATCH_STATISTICS_IN_PREDICTION,
    BATCH_STATISTICS_OF_FROZEN_LAYERS,
    BATCH_STATISTICS_IN_FIT,
    BATCH_MATES,
    INPUT_SCALING,
    NOTHING_TRAINABLE,
    LEARNING_RATE,
    PREPROCESSING_OUTSIDE,
    UNEXAMINED_SCALING,
    LAGGING_HEAD,
    UNKNOWN_BACKBONE,
)

ERROR, WARNING = "error", "warning"

# At 0.99 the moving statistics lag behind for hundreds of steps (keras issue #7177).
_LAGGING_MOMENTUM = 0.99
# 50 times the usual 0.001.
_WILD_LEARNING_RATE = 0.05
_SCALING = {
    Verdict.WRONG: (INPUT_SCALING, ERROR),
    Verdict.OUTSIDE: (PREPROCESSING_OUTSIDE, WARNING),
    Verdict.UNKNOWN: (UNEXAMINED_SCALING, WARNING),
}


@dataclass(frozen=True)
class ModelFinding:
    """One thing that is wrong with a model.

    Attributes:
        name: one of the constants of this module, such as BATCH_STATISTICS_IN_FIT.
        severity: "error" for what spoils accuracy, "warning" for what does so in some uses.
        sentence: what is wrong, with its figures.
        repair: one line of code that mends it; empty where none can be given.
        layers: names of the layers concerned.
    """

    name: str
    severity: str
    sentence: str
    repair: str = ""
    layers: tuple[str, ...] = ()


def check_model(model: keras.Model, images: np.ndarray | None = None) -> tuple[ModelFinding, ...]:
    """Finds what makes a fine-tuned classifier worse than it could be.

    The backbone is a ResNet of keras.applications, flat or nested, or any other nested model with
    convolutions; how its input has to be scaled is known for those of keras.applications.
    Everything is tried on a copy: the model, its optimizer and its flags stay as they are. Takes
    seconds.

    Args:
        model: a classifier with one RGB image as input and one row of class scores as output,
            compiled or not.
        images: some images as they are given to `model.fit`, shape (images, height, width, 3), at
            least 2, of which 8 are used; left out, images with values 0 to 255 are made up. Only
            with images of yours can wrong scaling in front of the model be found.

    Returns:
        What is wrong, the gravest first; nothing for a healthy model.

    Raises:
        ModelError: it is no such classifier, cannot be copied, or does not take these images.
    """
    probe = Probe(model, images)
    findings = (
        *_batch_statistics(probe),
        *_scaling(model, probe, given=images is not None),
        *_nothing_trainable(model, probe.anatomy),
        *_learning_rate(model),
        *_lagging_head(probe),
        *_unknown_backbone(probe),
    )
    return tuple(sorted(findings, key=lambda finding: NAMES.index(finding.name)))


def _batch_statistics(probe: Probe) -> Iterator[ModelFinding]:
    """BatchNorm layers of the backbone by what they did, and what depends on batch mates."""
    images = probe.images
    mates = np.repeat(images[:1], len(images), axis=0)
    predicted, predicted_alone = probe.run(images), probe.run(mates)
    fitted, fitted_alone = probe.run(images, training=True), probe.run(mates, training=True)
    moved = probe.moved_by_a_step()
    in_fit = _change_of_features(fitted, fitted_alone)
    scores = difference(predicted.outputs[0], predicted_alone.outputs[0])

    own = {layer.name: layer for layer in probe.anatomy.batchnorms}
    always = [name for name in own if name in predicted.by_batch]
    training = [
        name for name in own if (name in fitted.by_batch or moved[name]) and name not in always
    ]
    if always:
        yield _in_prediction(always, own, _change_of_features(predicted, predicted_alone))
    for trainable in (False, True):
        layers = [name for name in training if own[name].trainable is trainable]
        if layers:
            evidence = _evidence(in_fit, layers, moved)
            yield (
                _of_trainable(layers, own, evidence, probe.anatomy.base)
                if trainable
                else _of_frozen(layers, own, evidence)
            )
    if scores and not always:
        yield _mates(f"in prediction, the scores of one image change by {percent(scores, 0)}")
    elif in_fit and not training and not always:
        yield _mates(f"in fit, the features of one image change by {percent(in_fit, 0)}")


def _in_prediction(layers: list[str], own: dict[str, Any], change: float) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_PREDICTION,
        ERROR,
        f"{_of(layers, own)} normalise by the batch in prediction too: the features of one "
        f"image change by {percent(change, 0)} with its batch mates.",
        "x = base(x, training=False)  # where training=True is now",
        tuple(layers),
    )


def _of_frozen(layers: list[str], own: dict[str, Any], evidence: str) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_OF_FROZEN_LAYERS,
        ERROR,
        f"{_of(layers, own)} are frozen, but normalise by the batch in fit and by their moving "
        f"statistics in prediction: {evidence}.",
        "x = base(x, training=False)  # with Keras's own BatchNormalization in base",
        tuple(layers),
    )


def _of_trainable(layers: list[str], own: dict[str, Any], evidence: str, base: str) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_FIT,
        ERROR,
        f"{_of(layers, own)} are trainable and normalise by the batch in fit, which "
        f"training=False in a functional graph does not prevent: {evidence}.",
        _freezing(base),
        tuple(layers),
    )


def _scaling(model: keras.Model, probe: Probe, given: bool) -> Iterator[ModelFinding]:
    judgement = judge(model, probe, given)
    if judgement is not None:
        name, severity = _SCALING[judgement.verdict]
        yield ModelFinding(name, severity, judgement.sentence, judgement.repair)


def _learning_rate(model: keras.Model) -> Iterator[ModelFinding]:
    rate = step_size(model)
    if rate is not None and rate >= _WILD_LEARNING_RATE:
        scheduled = is_scheduled(model)
        yield ModelFinding(
            LEARNING_RATE,
            ERROR,
            f"the learning rate of the optimizer {'reaches' if scheduled else 'is'} {rate:g}: each "
            "step moves each weight by about so much, and 0.001 is usual.",
            "model.compile(keras.optimizers.Adam(1e-3), model.loss)  # and the metrics"
            if scheduled
            else "model.optimizer.learning_rate = 1e-3",
        )


def _nothing_trainable(model: keras.Model, anatomy: Anatomy) -> Iterator[ModelFinding]:
    trainable = trainable_layers(model)
    if not trainable.names:
        yield ModelFinding(
            NOTHING_TRAINABLE,
            ERROR,
            f"none of the {_count(trainable.layers, 'layer')} with weights is trainable: fit "
            "changes nothing, however long it runs.",
            f"model.trainable = True{_freezing_backbone(anatomy)}  # then compile again",
        )


def _freezing_backbone(anatomy: Anatomy) -> str:
    """What a line goes on with that has made all layers trainable."""
    if anatomy.backbone is None:
        return ""
    base = anatomy.base
    if base == "model":  # its layers are those of its head too
        base = f"keras.Model(model.inputs, model.get_layer({anatomy.ends[-1].name!r}).output)"
    return f"; {base}.trainable = False"


def _lagging_head(probe: Probe) -> Iterator[ModelFinding]:
    lagging = [
        layer
        for layer in probe.anatomy.head_batchnorms
        if layer.trainable and layer.momentum >= _LAGGING_MOMENTUM
    ]
    if lagging and probe.anatomy.backbone is not None:
        momentum = max(layer.momentum for layer in lagging)
        yield ModelFinding(
            LAGGING_HEAD,
            WARNING,
            f"{_count(len(lagging), 'BatchNorm layer')} of the head {_have(lagging)} momentum "
            f"{momentum:g}: the moving statistics lag behind the weights for hundreds of steps, "
            "and validation with them.",
            "keras.layers.BatchNormalization(momentum=0.9)",
            tuple(layer.name for layer in lagging),
        )


def _unknown_backbone(probe: Probe) -> Iterator[ModelFinding]:
    if probe.anatomy.backbone is None:
        yield ModelFinding(
            UNKNOWN_BACKBONE,
            WARNING,
            "no pretrained backbone was recognised, so neither its BatchNorm nor its input scaling "
            "could be examined.",
            "x = base(x)  # the backbone as one nested model",
        )


def _change_of_features(one: Observation, other: Observation) -> float:
    """How much the first image's features differ though it entered the backbone as the same."""
    if one.end is None or other.end is None or one.entrance is None or other.entrance is None:
        return 0.0
    if difference(one.entrance[0], other.entrance[0]):
        return 0.0  # augmentation that mixes images
    return difference(one.end, other.end)


def _evidence(change: float, layers: list[str], moved: dict[str, int]) -> str:
    count = sum(moved[name] for name in layers)
    return (
        f"the features of one image change by {percent(change, 0)} with its batch mates, and one "
        f"training step moves {count} of {2 * len(layers)} moving statistics"
    )


def _mates(what: str) -> ModelFinding:
    return ModelFinding(
        BATCH_MATES,
        ERROR,
        f"{what} with its batch mates, and no BatchNorm of the backbone does that.",
        "x = keras.layers.LayerNormalization()(x)  # where a layer takes a mean over the batch",
    )


def _freezing(base: str) -> str:
    # A flat model's layers are those of its head too.
    own = 'layer.name.endswith("_bn")'
    if base != "model":
        own = "isinstance(layer, keras.layers.BatchNormalization)"
    return f"for layer in {base}.layers: layer.trainable &= not {own}"


def _of(names: list[str], own: dict[str, Any]) -> str:
    if len(names) == len(own):
        return f"all {_count(len(own), 'BatchNorm layer')} of the backbone"
    return f"{len(names)} of the backbone's {_count(len(own), 'BatchNorm layer')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _have(things: list[Any]) -> str:
    return "has" if len(things) == 1 else "have"
