"""The head: the layers on top of the backbone, and the statistics of its BatchNorm.

A head is `head_layers` times Dense - (BatchNorm) - ReLU, then dropout, then a Dense to the classes
and softmax. Dropout comes after every BatchNorm, because in front of one it shifts the variance
between training and inference (Li et al. 2019, arXiv:1801.05134).

The head's BatchNorm is trained, and its moving statistics lag behind the weights for hundreds of
steps (keras issue #7177). `HeadStatistics` recomputes them from the training rows before every
evaluation, so that a score does not depend on the length of an epoch.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

# Rows that the statistics are computed from: the standard error of their mean is 1.6 % of a
# standard deviation.
STATISTICS_ROWS = 4096
_STATISTICS_BYTES = 256 * 10**6
_PREFIX = "head_"
DROPOUT = f"{_PREFIX}dropout"


def build_head(
    features: Any,
    num_classes: int,
    *,
    layers: int,
    width: int,
    batchnorm: bool,
    dropout: float | keras.layers.Layer,
    l2: float | keras.regularizers.Regularizer,
    seed: int,
) -> Any:
    """Put a head on pooled features.

    Args:
        features: Keras tensor, shape (batch, channels).
        num_classes: number of classes.
        layers: number of hidden layers, each half as wide as the one before.
        width: units of the first hidden layer.
        batchnorm: whether a BatchNormalization follows each hidden Dense.
        dropout: rate in front of the output layer, 0 to below 1; or a layer to use instead.
        l2: L2 penalty on every Dense kernel of the head; or a regularizer to use instead.
        seed: of the initial weights and of dropout.

    Returns:
        Keras tensor of class probabilities, float32, shape (batch, num_classes).
    """
    x = features
    is_regularizer = isinstance(l2, keras.regularizers.Regularizer)
    regularizer = l2 if is_regularizer else keras.regularizers.L2(l2)
    for number in range(layers):
        x = keras.layers.Dense(
            width >> number,
            use_bias=not batchnorm,
            kernel_initializer=keras.initializers.GlorotUniform(seed + number),
            kernel_regularizer=regularizer,
            name=f"{_PREFIX}dense_{number + 1}",
        )(x)
        if batchnorm:
            # 0.9 instead of Keras's 0.99: without HeadStatistics, plain `fit` lags less
            x = keras.layers.BatchNormalization(
                momentum=0.9, name=f"{_PREFIX}batchnorm_{number + 1}"
            )(x)
        x = keras.layers.ReLU(name=f"{_PREFIX}relu_{number + 1}")(x)
    if isinstance(dropout, keras.layers.Layer):
        x = dropout(x)
    elif dropout > 0:
        x = keras.layers.Dropout(dropout, seed=seed, name=DROPOUT)(x)
    logits = keras.layers.Dense(
        num_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed + layers),
        kernel_regularizer=regularizer,
        name=f"{_PREFIX}logits",
    )(x)
    return keras.layers.Softmax(dtype="float32", name=f"{_PREFIX}probabilities")(logits)


def initialize_head(model: keras.Model, seed: int) -> None:
    """Reset the variables of a model's head to those of a new one of `build_head`."""
    head = [layer for layer in model.layers if is_head(layer.name)]
    dense = [layer for layer in head if isinstance(layer, keras.layers.Dense)]
    for number, layer in enumerate(dense):
        layer.kernel.assign(keras.initializers.GlorotUniform(seed + number)(layer.kernel.shape))
        if layer.use_bias:
            layer.bias.assign(ops.zeros_like(layer.bias))
    for layer in head_batchnorms(model):
        for variable in (layer.gamma, layer.moving_variance):
            variable.assign(ops.ones_like(variable))
        for variable in (layer.beta, layer.moving_mean):
            variable.assign(ops.zeros_like(variable))
    for layer in head:
        if hasattr(layer, "seed_generator"):
            state = layer.seed_generator.state
            state.assign(np.array([seed, 0], state.dtype))


def is_head(path: str) -> bool:
    """Whether a layer's name or a variable's path belongs to the head."""
    return path.startswith(_PREFIX)


def head_batchnorms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The head's BatchNormalization layers, from input to output."""
    return [
        layer
        for layer in model.layers
        if is_head(layer.name) and isinstance(layer, keras.layers.BatchNormalization)
    ]


def statistics_rows(count: int, row_bytes: int = 1) -> np.ndarray:
    """Indices of the rows, of `count`, that statistics are computed from.

    int64, evenly spaced; at most 4,096 rows and 256 MB, but at least 32 rows.
    """
    fitting = max(32, _STATISTICS_BYTES // row_bytes)
    return np.linspace(0, count - 1, min(count, STATISTICS_ROWS, fitting)).astype(np.int64)


class HeadStatistics:
    """Recomputes the moving statistics of a model's head from given rows, layer by layer.

    Args:
        model: with a head of `build_head`, on any body.

    Attributes:
        needed: whether the head has any BatchNormalization; without one there is no `body`.
        body: model from the rows to the head's input, shape (batch, ...) to (batch, channels).
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers = head_batchnorms(model)
        self.needed = bool(self._layers)
        if self.needed:
            first = next(layer for layer in model.layers if is_head(layer.name))
            self.body = keras.Model(model.inputs[0], first.input)
            self._stages = [keras.Model(first.input, layer.input) for layer in self._layers]

    def update(self, features: Any) -> None:
        """Set each layer's moving mean and variance to those of its input over all rows.

        Args:
            features: outputs of `body` for the training rows, shape (rows, channels).
        """
        for layer, stage in zip(self._layers, self._stages, strict=True):
            mean, variance = ops.moments(stage(features, training=False), axes=[0])
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)

    def update_from_rows(self, rows: Any, batch_size: int = 32) -> None:
        """`update` from the model's own input rows, which pass through `body` in batches."""
        self.update(self.body.predict(rows, batch_size=batch_size, verbose=0))
