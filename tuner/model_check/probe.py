"""Experiments on a copy of a user's own model; the model itself is only read.

The copy runs eagerly. The outputs of each BatchNorm layer are compared with normalisation by the
batch and by the moving statistics, so no flag, no recorded `training=False` and no subclass has to
be interpreted.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from tuner.errors import ModelError, first_line
from tuner.model_check.parts import all_layers, find_parts

# Relative differences below this are rounding, in half precision too.
TOLERANCE = 2e-3
_BATCH = 8
_ASSUMED_SIZE = 64


@dataclass
class Observation:
    """A batch's way through the copy; layers are those of the model, not of the copy.

    Attributes:
        outputs: the model's, shape (images, classes).
        backbone_inputs: the last input of each backbone by its input layer, shape (images, height,
            width, channels).
        backbone_outputs: the last output of each backbone for the first image, by its output layer.
        by_batch: the BatchNorm layers that normalised by the batch.
    """

    outputs: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    backbone_inputs: dict[Any, np.ndarray] = field(default_factory=dict)
    backbone_outputs: dict[Any, np.ndarray] = field(default_factory=dict)
    by_batch: set[Any] = field(default_factory=set)


class Probe:
    """A copy of a model, and images to try it on.

    Args:
        model: takes one RGB image and returns one row of class scores.
        images: as the model takes them, shape (images, height, width, 3), at least 2; None for
            random ones with values from 0 to 255.

    Attributes:
        images: float32, at most 8.
        parts: the parts of the model.

    Raises:
        ModelError: it is no such model, cannot be copied, or does not take these images.
    """

    def __init__(self, model: keras.Model, images: np.ndarray | None = None) -> None:
        _check_model(model)
        self.images = _random_images(model) if images is None else _check_images(images)
        source = _uncompiled(model)
        self._model = _copy(source, self.images[:1])
        # A copy's layers may have new names: findings name those of the model.
        self._twins = {id(original): twin for original, twin in _pairs(source, self._model)}
        self.parts = find_parts(source)
        self._state = [ops.convert_to_numpy(variable) for variable in self._model.variables]
        self._observation = Observation()
        self._watch()

    def run(self, images: np.ndarray, training: bool = False) -> Observation:
        """Run a batch through the copy, restored to its original weights.

        Args:
            images: shape (images, height, width, 3).
            training: as in `fit`, not as in `predict`.
        """
        self._restore()
        self._observation = observation = Observation()
        observation.outputs = self._scores(images, training)
        return observation

    @cached_property
    def moved(self) -> dict[Any, int]:
        """Number of moving statistics, 0 to 2, that a training step changes, by BatchNorm layer."""
        self._restore()
        self._observation = Observation()  # the one returned last stays as it is
        layers = [*self.parts.batchnorms, *self.parts.head_batchnorms]
        twins = [self._twins[id(layer)] for layer in layers]
        before = list(map(_statistics, twins))
        self._model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns where nothing is trainable
            labels = np.zeros(len(self.images), "int32")
            _attempt(lambda: self._model.train_on_batch(self.images, labels), self.images)
        return {
            layer: sum(
                not np.array_equal(old, new)
                for old, new in zip(old_pair, _statistics(twin), strict=True)
            )
            for layer, twin, old_pair in zip(layers, twins, before, strict=True)
        }

    def _scores(self, images: np.ndarray, training: bool) -> np.ndarray:
        outputs = _attempt(lambda: self._model(images, training=training), images)
        shape = tuple(getattr(outputs, "shape", ()))
        if len(shape) != 2 or shape[0] != len(images):
            raise ModelError(
                f"the model returns {shape or 'several outputs'} for {len(images)} images. Only "
                "classifiers can be checked: one row of class scores for each image."
            )
        return np.asarray(ops.convert_to_numpy(outputs))

    def _restore(self) -> None:
        for variable, value in zip(self._model.variables, self._state, strict=True):
            variable.assign(value)

    def _watch(self) -> None:
        """Record what BatchNorm layers and backbones of the copy do."""
        for layer in (*self.parts.batchnorms, *self.parts.head_batchnorms):
            self._watch_batchnorm(layer)
        for backbone in self.parts.backbones:
            self._watch_input(backbone.input_layer)
            self._watch_output(backbone.output_layer)

    def _watch_batchnorm(self, layer: Any) -> None:
        twin = self._twins[id(layer)]
        call = twin.call

        def watched(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            before = _statistics(twin)
            outputs = call(inputs, *args, **kwargs)
            if _is_by_batch(twin, inputs, outputs, *before):
                self._observation.by_batch.add(layer)
            return outputs

        twin.call = watched

    def _watch_input(self, layer: Any) -> None:
        twin = self._twins[id(layer)]
        call = twin.call

        def watched(inputs: Any, *args: Any, **kwargs: Any) -> Any:
            pixels = ops.convert_to_numpy(inputs).astype("float32")
            self._observation.backbone_inputs[layer] = pixels
            return call(inputs, *args, **kwargs)

        twin.call = watched

    def _watch_output(self, layer: Any) -> None:
        twin = self._twins[id(layer)]
        call = twin.call

        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            features = ops.convert_to_numpy(outputs)[0].astype("float32")
            self._observation.backbone_outputs[layer] = features
            return outputs

        twin.call = watched


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference as a share of the largest value; 0 where it is only rounding."""
    largest = float(np.max(np.abs(one)))
    share = float(np.max(np.abs(one - other))) / largest if largest else 0.0
    return share if share > TOLERANCE else 0.0


def _is_by_batch(layer: Any, inputs: Any, outputs: Any, mean: Any, variance: Any) -> bool:
    """Whether the outputs are nearer to normalisation by the batch than by the moving statistics.

    `mean` and `variance` are the moving statistics before the call.
    """
    x, y = ops.cast(inputs, "float32"), ops.cast(outputs, "float32")
    axis = layer.axis % len(x.shape)
    others = [number for number in range(len(x.shape)) if number != axis]
    shape = [x.shape[axis] if number == axis else 1 for number in range(len(x.shape))]

    def error(mean: Any, variance: Any) -> float:
        expected = (x - ops.reshape(mean, shape)) / ops.sqrt(
            ops.reshape(variance, shape) + layer.epsilon
        )
        if layer.gamma is not None:
            expected *= ops.reshape(ops.cast(layer.gamma, "float32"), shape)
        if layer.beta is not None:
            expected += ops.reshape(ops.cast(layer.beta, "float32"), shape)
        return float(ops.mean(ops.abs(y - expected)))

    by_moving = error(mean, variance)
    if by_moving <= TOLERANCE * float(ops.mean(ops.abs(y))):
        return False
    return error(*ops.moments(x, others)) < by_moving


def _statistics(layer: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(layer.moving_mean), ops.convert_to_numpy(layer.moving_variance)]


def _attempt(action: Callable[[], Any], images: np.ndarray) -> Any:
    try:
        return action()
    except Exception as error:  # custom layers may raise anything
        raise ModelError(
            f"the model does not run on images of shape {images.shape[1:]}: {first_line(error)}."
        ) from error


def _check_model(model: Any) -> None:
    if not isinstance(model, keras.Model):
        raise ModelError(f"a keras.Model can be checked, and not a {type(model).__name__}.")
    if not model.built:
        raise ModelError("the model has no weights yet. Give it a keras.Input, or call it once.")
    for kind in ("inputs", "outputs"):
        tensors = getattr(model, kind, None)
        if tensors is not None and len(tensors) != 1:
            raise ModelError(
                f"the model has {len(tensors)} {kind}. Only classifiers of one image with one "
                "output can be checked."
            )
    shape = _input_shape(model)
    if len(shape) != 4 or shape[-1] != 3:
        raise ModelError(
            f"the model takes arrays of shape {shape}. Only classifiers of RGB images, (batch, "
            "height, width, 3), can be checked."
        )


def _input_shape(model: keras.Model) -> tuple[int | None, ...]:
    if getattr(model, "inputs", None):
        return tuple(model.inputs[0].shape)
    shape = (model.get_build_config() or {}).get("input_shape")
    return tuple(shape) if isinstance(shape, list | tuple) else ()


def _random_images(model: keras.Model) -> np.ndarray:
    """Noisy images of different colours: noise alone would give every batch the same moments."""
    _, height, width, _ = _input_shape(model)
    rng = np.random.default_rng(0)
    shape = (_BATCH, height or _ASSUMED_SIZE, width or _ASSUMED_SIZE, 3)
    colours = rng.uniform(0, 255, (_BATCH, 1, 1, 3))
    return np.clip(np.rint(colours + rng.normal(0, 40, shape)), 0, 255).astype("float32")


def _check_images(images: Any) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[-1] != 3 or len(array) < 2:
        raise ModelError(
            "images must be at least 2, with shape (images, height, width, 3), but have shape "
            f"{array.shape}."
        )
    return array[:_BATCH].astype("float32")


def _copy(source: keras.Model, images: np.ndarray) -> keras.Model:
    """A copy with the same weights and flags, uncompiled."""
    try:
        with keras.saving.custom_object_scope(_own_classes(source)):
            copy = _clone(source)
        if not copy.built:
            _attempt(lambda: copy(images), images)
        copy.set_weights(source.get_weights())
        # Parents first: setting a flag sets those of the layers below.
        for original, twin in _pairs(source, copy):
            twin.trainable = original.trainable
    except ModelError:
        raise
    except Exception as error:  # from_config of custom layers may raise anything
        raise ModelError(
            f"the model cannot be copied to try it: {first_line(error)}. "
            "Give custom layers and models get_config and from_config, and register custom "
            "functions, as for saving."
        ) from error
    return copy


def _pairs(source: keras.Model, copy: keras.Model) -> list[tuple[Any, Any]]:
    """Each layer of a model with its counterpart in the copy."""
    return list(zip(all_layers(source), all_layers(copy), strict=True))


def _uncompiled(model: keras.Model) -> keras.Model:
    """A model of the same layers without loss and optimizer; a subclass without a graph itself."""
    if not getattr(model, "inputs", None):
        return model
    return keras.Model(model.inputs[0], model.outputs[0], name=model.name)


def _clone(model: keras.Model) -> keras.Model:
    if getattr(model, "inputs", None):
        return keras.models.clone_model(model, clone_function=_clone_layer, recursive=True)
    config = keras.saving.serialize_keras_object(model)
    return keras.saving.deserialize_keras_object({**config, "compile_config": None})


def _clone_layer(layer: Any) -> Any:
    if isinstance(layer, keras.layers.Lambda):  # share its function, do not serialise it
        return keras.layers.Lambda(
            layer.function,
            layer._output_shape,
            layer.mask,
            layer.arguments,
            name=layer.name,
            dtype=layer.dtype_policy,
        )
    return type(layer).from_config(layer.get_config())


def _own_classes(model: keras.Model) -> dict[str, Any]:
    classes = {type(layer) for layer in [model, *all_layers(model)]}
    return {own.__name__: own for own in classes if not own.__module__.startswith("keras.")}
