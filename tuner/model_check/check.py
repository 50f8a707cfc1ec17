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

from tuner.model_check.anatomy import Anatomy
from tuner.model_check.fixes import freezing_batchnorms, training_the_head
from tuner.model_check.input_scaling import Verdict, judge
from tuner.model_check.probe import Observation, Probe, difference
from tuner.model_check.step_size import is_scheduled, step_size
from tuner.model_check.trainable_layers import trainable_layers
from tuner.text import counted, percent

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
        *_batch_statistics(model, probe),
        *_scaling(probe, given=images is not None),
        *_nothing_trainable(model, probe.anatomy),
        *_learning_rate(model),
        *_lagging_head(probe),
        *_unknown_backbone(model, probe),
    )
    return tuple(sorted(findings, key=lambda finding: NAMES.index(finding.name)))


def _batch_statistics(model: keras.Model, probe: Probe) -> Iterator[ModelFinding]:
    """BatchNorm layers of the backbone by what they did, and what depends on batch mates."""
    images = probe.images
    mates = np.repeat(images[:1], len(images), axis=0)
    predicted, predicted_alone = probe.run(images), probe.run(mates)
    fitted, fitted_alone = probe.run(images, training=True), probe.run(mates, training=True)
    moved = probe.moved_by_a_step()
    in_fit = _change_of_features(probe.anatomy, fitted, fitted_alone)
    scores = difference(predicted.outputs[0], predicted_alone.outputs[0])

    own = probe.anatomy.batchnorms
    always = [layer for layer in own if layer in predicted.by_batch]
    training = [
        layer for layer in own if (layer in fitted.by_batch or moved[layer]) and layer not in always
    ]
    if always:
        change = _change_of_features(probe.anatomy, predicted, predicted_alone)
        yield _in_prediction(always, probe.anatomy, change)
    for trainable in (False, True):
        layers = [layer for layer in training if layer.trainable is trainable]
        if layers:
            evidence = _evidence(in_fit, layers, moved)
            yield (
                _of_trainable(layers, model, probe.anatomy, evidence)
                if trainable
                else _of_frozen(layers, probe.anatomy, evidence)
            )
    if scores and not always:
        yield _mates(f"in prediction, the scores of one image change by {percent(scores, 0)}")
    elif in_fit and not training and not always:
        yield _mates(f"in fit, the features of one image change by {percent(in_fit, 0)}")


def _in_prediction(layers: list[Any], anatomy: Anatomy, change: float) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_PREDICTION,
        ERROR,
        f"{_of(layers, anatomy)} normalise by the batch in prediction too: the features of one "
        f"image change by {percent(change, 0)} with its batch mates.",
        "x = base(x, training=False)  # where training=True is now",
        tuple(layer.name for layer in layers),
    )


def _of_frozen(layers: list[Any], anatomy: Anatomy, evidence: str) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_OF_FROZEN_LAYERS,
        ERROR,
        f"{_of(layers, anatomy)} are frozen, but normalise by the batch in fit and by their moving "
        f"statistics in prediction: {evidence}.",
        "x = base(x, training=False)  # with Keras's own BatchNormalization in base",
        tuple(layer.name for layer in layers),
    )


def _of_trainable(
    layers: list[Any], model: keras.Model, anatomy: Anatomy, evidence: str
) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_FIT,
        ERROR,
        f"{_of(layers, anatomy)} are trainable and normalise by the batch in fit, which "
        f"training=False in a functional graph does not prevent: {evidence}.",
        freezing_batchnorms(model, layers, anatomy.head_batchnorms),
        tuple(layer.name for layer in layers),
    )


def _scaling(probe: Probe, given: bool) -> Iterator[ModelFinding]:
    judgement = judge(probe, given)
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
            f"none of the {counted(trainable.layers, 'layer')} with weights is trainable: fit "
            "changes nothing, however long it runs.",
            f"{training_the_head(model, anatomy)}  # then compile again",
        )


def _lagging_head(probe: Probe) -> Iterator[ModelFinding]:
    lagging = [
        layer
        for layer in probe.anatomy.head_batchnorms
        if layer.trainable and layer.momentum >= _LAGGING_MOMENTUM
    ]
    if lagging and probe.anatomy.backbones:
        momentum = max(layer.momentum for layer in lagging)
        yield ModelFinding(
            LAGGING_HEAD,
            WARNING,
            f"{counted(len(lagging), 'BatchNorm layer')} of the head {_have(lagging)} momentum "
            f"{momentum:g}: the moving statistics lag behind the weights for hundreds of steps, "
            "and validation with them.",
            "keras.layers.BatchNormalization(momentum=0.9)",
            tuple(layer.name for layer in lagging),
        )


def _unknown_backbone(model: keras.Model, probe: Probe) -> Iterator[ModelFinding]:
    if probe.anatomy.backbones:
        return
    moved = probe.moved_by_a_step()
    # BatchNorm of feature maps, in most models that of the backbone.
    own = [layer for layer in moved if layer.input_spec.ndim == 4]
    moving = [layer for layer in own if moved[layer]]
    what = "no pretrained backbone was recognised, so its input scaling could not be examined"
    if own:
        what += (
            f"; one training step moves the statistics of {len(moving)} of "
            f"{counted(len(own), 'BatchNorm layer')} on feature maps"
            f"{', which spoils pretrained ones' if moving else ''}"
        )
    repair = "x = base(x)  # the backbone as one nested model"
    if moving:
        others = [layer for layer in moved if layer not in own]
        repair = f"{freezing_batchnorms(model, moving, others)}  # of a pretrained backbone"
    yield ModelFinding(
        UNKNOWN_BACKBONE, WARNING, f"{what}.", repair, tuple(layer.name for layer in moving)
    )


def _change_of_features(anatomy: Anatomy, one: Observation, other: Observation) -> float:
    """How much the first image's features differ though it entered a backbone as the same."""
    changes = [0.0]
    for backbone in anatomy.backbones:
        if backbone.end not in one.ends or backbone.entrance not in one.entrances:
            continue
        entered = one.entrances[backbone.entrance][0], other.entrances[backbone.entrance][0]
        if not difference(*entered):  # else it is augmentation that mixes images
            changes.append(difference(one.ends[backbone.end], other.ends[backbone.end]))
    return max(changes)


def _evidence(change: float, layers: list[Any], moved: dict[Any, int]) -> str:
    count = sum(moved[layer] for layer in layers)
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


def _of(layers: list[Any], anatomy: Anatomy) -> str:
    several = len(anatomy.backbones) > 1
    every = counted(len(anatomy.batchnorms), "BatchNorm layer")
    if len(layers) == len(anatomy.batchnorms):
        return f"all {every} of the backbone{'s' * several}"
    whose = "backbones'" if several else "backbone's"
    return f"{len(layers)} of the {whose} {every}"


def _have(things: list[Any]) -> str:
    return "has" if len(things) == 1 else "have"
