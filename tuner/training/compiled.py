"""Compiled training programs, shared by trials whose networks have the same shape.

Tracing a network often takes longer than training it. Dropout, L2 and the learning rates are
variables here, set anew for each trial. Results are bit for bit those of the network that
`ResNet50Space.build_suffix` builds for the configuration.
"""

from collections import OrderedDict
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.backbone import PretrainedBackbone
from search_spaces.head import DROPOUT, initialize_head
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.environment import release_memory
from tuner.training.trainer import Trainer

# Programs are kept while all their variables fit into this; the latest is always kept.
_LIMIT_BYTES = 192 * 2**20


class Programs:
    """Trainers for the configurations of a space, over one backbone."""

    def __init__(
        self,
        space: ResNet50Space,
        backbone: PretrainedBackbone,
        batch_size: int,
        class_weights: np.ndarray | None = None,
    ) -> None:
        self._space = space
        self._backbone = backbone
        self._batch_size = batch_size
        self._class_weights = class_weights
        self._live: OrderedDict[tuple[Any, ...], _Program] = OrderedDict()

    def trainer(
        self,
        configuration: Configuration,
        weights_seed: int,
        order_seed: tuple[int, ...],
        batch_size: int | None = None,
    ) -> Trainer:
        """A trainer at epoch 0 for a configuration; invalidates the trainer returned before."""
        batch_size = batch_size or self._batch_size
        shape = (
            configuration.unfreeze_blocks,
            configuration.head_layers,
            configuration.head_width if configuration.head_layers else 0,
            configuration.head_batchnorm,
            batch_size,
        )
        program = self._live.pop(shape, None)
        backbone = self._backbone.lend(configuration.unfreeze_blocks)
        if program is None:
            program = _Program(
                self._space, backbone, configuration, batch_size, self._class_weights
            )
        self._live[shape] = program
        self._drop_old()
        program.begin(configuration, weights_seed, order_seed)
        return program.trainer

    def clear(self) -> None:
        """Release all programs and their variables."""
        self._live.clear()
        release_memory()

    def _drop_old(self) -> None:
        before = len(self._live)
        while len(self._live) > 1 and self._bytes() > _LIMIT_BYTES:
            self._live.popitem(last=False)
        if len(self._live) < before:
            release_memory()

    def _bytes(self) -> int:
        return sum(program.trainer.bytes for program in self._live.values())


class _Program:
    """A network whose hyperparameters are variables, and its trainer."""

    def __init__(
        self,
        space: ResNet50Space,
        backbone: keras.Model,
        configuration: Configuration,
        batch_size: int,
        class_weights: np.ndarray | None,
    ) -> None:
        self._dropout = VariableDropout(name=DROPOUT)
        self._l2 = VariableL2()
        model = space.build_suffix(
            configuration, backbone, seed=0, dropout=self._dropout, l2=self._l2
        )
        compile_classifier(model, configuration)
        self.trainer = Trainer(model, batch_size, (), class_weights)

    def begin(
        self, configuration: Configuration, weights_seed: int, order_seed: tuple[int, ...]
    ) -> None:
        model = self.trainer.model
        initialize_head(model, weights_seed)
        self._dropout.set_rate(configuration.dropout)
        self._l2.l2.assign(configuration.l2)
        model.optimizer.learning_rate = configuration.learning_rate
        self.trainer.begin(order_seed)
        model.optimizer.backbone_lr_factor.assign(configuration.backbone_lr_factor)


class VariableDropout(keras.layers.Layer):
    """Dropout whose rate is a variable; bit for bit the same as keras.layers.Dropout."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.seed_generator = keras.random.SeedGenerator(0)
        self._rate = tf.Variable(0.0, trainable=False)
        # Rounded once, as in Keras: 1 / (1 - rate) computed in float32 is another number.
        self._factor = tf.Variable(1.0, trainable=False)

    def set_rate(self, rate: float) -> None:
        """Set the share that is dropped, from 0 to below 1."""
        self._rate.assign(rate)
        self._factor.assign(1 / (1 - rate))

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Apply dropout in training mode."""
        if not training:
            return inputs
        rate, factor = (tf.cast(number, inputs.dtype) for number in (self._rate, self._factor))
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        drawn = tf.random.stateless_uniform(tf.shape(inputs), seed, dtype=inputs.dtype)
        return tf.where(drawn >= rate, inputs * factor, tf.zeros((), inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape


class VariableL2(keras.regularizers.Regularizer):
    """L2 regularizer whose strength is a variable."""

    def __init__(self) -> None:
        self.l2 = tf.Variable(0.0, trainable=False)

    def __call__(self, kernel: Any) -> Any:
        """Strength times the sum of squares."""
        return self.l2 * tf.reduce_sum(tf.square(kernel))
