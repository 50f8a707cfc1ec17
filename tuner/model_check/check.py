"""Find faults of a user's own model by experiments on a copy of it.

Example:
    >>> import tuner
    >>> def test_my_model_is_healthy():
    ...     assert not tuner.check_model(build_my_model())
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tuner.model_check.findings import (
    BATCH_MATES,
    BATCH_STATISTICS_IN_FIT,
    BATCH_STATISTICS_IN_PREDICTION,
    BATCH_STATISTICS_OF_FROZEN_LAYERS,
    ERROR,
    LAGGING_HEAD,
    LEARNING_RATE,
    NAMES,
    NOTHING_TRAINABLE,
    UNKNOWN_BACKBONE,
    WARNING,
    ModelFinding,
)
from tuner.model_check.fixes import freeze_batchnorms_code, train_head_code
from tuner.model_check.input_scaling import check_scaling
from tuner.model_check.parts import ModelParts
from tuner.model_check.probe import Observation, Probe, difference
from tuner.model_check.step_size import is_scheduled, step_size
from tuner.model_check.trainable_layers import trainable_layers
from tuner.text import counted, percent

# At 0.99 the moving statistics lag behind for hundreds of steps (keras issue #7177).
_LAGGING_MOMENTUM = 0.99
# 50 times the usual 0.001.
_HIGH_LEARNING_RATE = 0.05


def check_model(model: keras.Model, images: np.ndarray | None = None) -> tuple[ModelFinding, ...]:
    """Find faults that make a fine-tuned classifier worse than it could be.

    The backbone is a ResNet of keras.applications, flat or nested, or any other nested model with
    convolutions; the expected input scaling is known for those of keras.applications. All
    experiments run on a copy: the model, its optimizer and its flags stay as they are. Takes
    seconds.

    Args:
        model: a classifier with one RGB image as input and one row of class scores as output,
            compiled or not.
        images: some images as they are passed to `model.fit`, shape (images, height, width, 3), at
            least 2, of which 8 are used; None for random images with values from 0 to 255. Wrong
            scaling in front of the model is found only with images of yours.

    Returns:
        The faults, the most serious first; empty for a healthy model.

    Raises:
        ModelError: it is no such classifier, cannot be copied, or does not take these images.
    """
    probe = Probe(model, images)
    findings = (
        *_batch_statistics(model, probe),
        *check_scaling(probe, is_given=images is not None),
        *_nothing_trainable(model, probe.parts),
        *_learning_rate(model),
        *_lagging_head(probe.parts),
        *_unknown_backbone(model, probe),
    )
    return tuple(sorted(findings, key=lambda finding: NAMES.index(finding.name)))


def _batch_statistics(model: keras.Model, probe: Probe) -> Iterator[ModelFinding]:
    """Find BatchNorm layers of the backbone, and other layers, that depend on the batch."""
    images, parts = probe.images, probe.parts
    copies = np.repeat(images[:1], len(images), axis=0)
    predicted, predicted_copies = probe.run(images), probe.run(copies)
    fitted, fitted_copies = probe.run(images, training=True), probe.run(copies, training=True)
    moved = probe.moved
    in_fit = _change_of_features(parts, fitted, fitted_copies)
    scores = difference(predicted.outputs[0], predicted_copies.outputs[0])

    always = [layer for layer in parts.batchnorms if layer in predicted.by_batch]
    training = [
        layer
        for layer in parts.batchnorms
        if (layer in fitted.by_batch or moved[layer]) and layer not in always
    ]
    if always:
        yield _in_prediction(always, parts, _change_of_features(parts, predicted, predicted_copies))
    frozen = [layer for layer in training if not layer.trainable]
    if frozen:
        yield _of_frozen(frozen, parts, _figures(in_fit, frozen, moved))
    trainable = [layer for layer in training if layer.trainable]
    if trainable:
        yield _of_trainable(trainable, model, parts, _figures(in_fit, trainable, moved))
    if scores and not always:
        yield _batch_mates(f"in prediction, the scores of one image change by {percent(scores, 0)}")
    elif in_fit and not training and not always:
        yield _batch_mates(f"in fit, the features of one image change by {percent(in_fit, 0)}")


def _in_prediction(layers: list[Any], parts: ModelParts, change: float) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_PREDICTION,
        ERROR,
        f"{_of(layers, parts)} normalise by the batch in prediction too: the features of one "
        f"image change by {percent(change, 0)} with the rest of its batch.",
        "x = base(x, training=False)  # where training=True is now",
        _names(layers),
    )


def _of_frozen(layers: list[Any], parts: ModelParts, figures: str) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_OF_FROZEN_LAYERS,
        ERROR,
        f"{_of(layers, parts)} are frozen, but normalise by the batch in fit and by their moving "
        f"statistics in prediction: {figures}.",
        "x = base(x, training=False)  # with Keras's own BatchNormalization in base",
        _names(layers),
    )


def _of_trainable(
    layers: list[Any], model: keras.Model, parts: ModelParts, figures: str
) -> ModelFinding:
    return ModelFinding(
        BATCH_STATISTICS_IN_FIT,
        ERROR,
        f"{_of(layers, parts)} are trainable and normalise by the batch in fit, which "
        f"training=False in a functional graph does not prevent: {figures}.",
        freeze_batchnorms_code(model, layers, parts.head_batchnorms),
        _names(layers),
    )


def _batch_mates(what: str) -> ModelFinding:
    return ModelFinding(
        BATCH_MATES,
        ERROR,
        f"{what} with the rest of its batch, and not because of the backbone's BatchNorm.",
        "x = keras.layers.LayerNormalization()(x)  # where a layer takes a mean over the batch",
    )


def _nothing_trainable(model: keras.Model, parts: ModelParts) -> Iterator[ModelFinding]:
    trainable = trainable_layers(model)
    if not trainable.names:
        yield ModelFinding(
            NOTHING_TRAINABLE,
            ERROR,
            f"none of the {counted(trainable.layers, 'layer')} with weights is trainable: fit "
            "changes nothing, however long it runs.",
            f"{train_head_code(model, parts)}  # then compile again",
        )


def _learning_rate(model: keras.Model) -> Iterator[ModelFinding]:
    rate = step_size(model)
    if rate is None or rate < _HIGH_LEARNING_RATE:
        return
    verb, repair = "is", "model.optimizer.learning_rate = 1e-3"
    if is_scheduled(model):
        repair = "model.compile(keras.optimizers.Adam(1e-3), model.loss)  # and the metrics"
        verb = "reaches"
    yield ModelFinding(
        LEARNING_RATE,
        ERROR,
        f"the learning rate of the optimizer {verb} {rate:g}: each step changes each weight by "
        "about that much, and 0.001 is usual.",
        repair,
    )


def _lagging_head(parts: ModelParts) -> Iterator[ModelFinding]:
    lagging = [
        layer
        for layer in parts.head_batchnorms
        if layer.trainable and layer.momentum >= _LAGGING_MOMENTUM
    ]
    if lagging and parts.backbones:
        momentum = max(layer.momentum for layer in lagging)
        yield ModelFinding(
            LAGGING_HEAD,
            WARNING,
            f"{counted(len(lagging), 'BatchNorm layer')} of the head "
            f"{'has' if len(lagging) == 1 else 'have'} momentum {momentum:g}: the moving "
            "statistics lag behind the weights for hundreds of steps, and so does validation.",
            "keras.layers.BatchNormalization(momentum=0.9)",
            _names(lagging),
        )


def _unknown_backbone(model: keras.Model, probe: Probe) -> Iterator[ModelFinding]:
    if probe.parts.backbones:
        return
    moved = probe.moved
    # BatchNorm of feature maps, in most models that of the backbone.
    own = [layer for layer in moved if layer.input_spec.ndim == 4]
    moving = [layer for layer in own if moved[layer]]
    what = "no pretrained backbone was recognised, so its input scaling was not examined"
    if own:
        what += (
            f"; one training step moves the statistics of {len(moving)} of "
            f"{counted(len(own), 'BatchNorm layer')} on feature maps"
            f"{', which spoils pretrained ones' if moving else ''}"
        )
    repair = "x = base(x)  # the backbone as one nested model"
    if moving:
        others = [layer for layer in moved if layer not in own]
        repair = f"{freeze_batchnorms_code(model, moving, others)}  # of a pretrained backbone"
    yield ModelFinding(UNKNOWN_BACKBONE, WARNING, f"{what}.", repair, _names(moving))


def _change_of_features(parts: ModelParts, one: Observation, other: Observation) -> float:
    """How much the first image's features differ although its input to a backbone is the same."""
    changes = [0.0]
    for backbone in parts.backbones:
        first, last = backbone.input_layer, backbone.output_layer
        if last not in one.backbone_outputs or first not in one.backbone_inputs:
            continue
        inputs = one.backbone_inputs[first][0], other.backbone_inputs[first][0]
        if not difference(*inputs):  # otherwise augmentation mixes images
            changes.append(difference(one.backbone_outputs[last], other.backbone_outputs[last]))
    return max(changes)


def _figures(change: float, layers: list[Any], moved: dict[Any, int]) -> str:
    count = sum(moved[layer] for layer in layers)
    return (
        f"the features of one image change by {percent(change, 0)} with the rest of its batch, and "
        f"one training step moves {count} of {2 * len(layers)} moving statistics"
    )


def _of(layers: list[Any], parts: ModelParts) -> str:
    several = len(parts.backbones) > 1
    every = counted(len(parts.batchnorms), "BatchNorm layer")
    if len(layers) == len(parts.batchnorms):
        return f"all {every} of the backbone{'s' * several}"
    whose = "backbones'" if several else "backbone's"
    return f"{len(layers)} of the {whose} {every}"


def _names(layers: list[Any]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers)
