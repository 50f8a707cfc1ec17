"""The training loop of one trial, and all of its state.

Keras' `fit` takes half a second to start, keeps the variables of every trial alive, and cannot be
resumed exactly. Here an epoch is one call of a `tf.function` that loops over the steps; the order
of the rows is drawn from (seed, trial, epoch), and `Trainer.state` holds every variable that
training changes, so that a resumed trial gives the same bits.

Rows are images, or activations at a cut.
"""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.head import HeadStatistics, statistics_rows
from search_spaces.optimizer import TransferAdam
from tuner.features.shards import BATCH
from tuner.metrics.scores import EPSILON, balanced_accuracy, score
from tuner.runs.outcomes import Outcomes
from tuner.training.rows import Rows
from tuner.training.state import assign, leaf_layers, optimizer_variables, saved_variables

# Rows are read and passed to the graph in windows of about this size, to bound memory.
_WINDOW_BYTES = 256 * 2**20
# Networks of up to this many layers, such as a head alone, are evaluated eagerly: tracing a
# program takes longer than it saves.
_LIGHT_LAYERS = 12


@dataclass(frozen=True)
class EpochMetrics:
    """Metrics of one epoch.

    Losses are cross-entropies in nats, without L2 penalty and class weights.

    Attributes:
        loss: on the training rows, in training mode, while weights change.
        accuracy: likewise, 0 to 1.
        val_loss: on the validation rows, after the epoch.
        val_accuracy: likewise, 0 to 1.
        val_balanced_accuracy: mean accuracy over the classes of the validation rows, 0 to 1; see
            `scores.balanced_accuracy`.
    """

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_balanced_accuracy: float

    def finite(self) -> bool:
        """Whether no loss is NaN or infinite."""
        return bool(np.isfinite([self.loss, self.val_loss]).all())


class Trainer:
    """Trains a compiled Keras classifier, epoch by epoch.

    Args:
        model: compiled with sparse categorical cross-entropy; outputs probabilities.
        batch_size: rows per step; the last step of an epoch may have fewer.
        seed: decides the order of the rows, together with the epoch: e.g. (search seed, trial).
        class_weights: weight of each class in the training loss, float32, shape (classes,); None
            for 1.

    Attributes:
        epoch: epochs done so far.
        parameters: number of trained scalars.
        bytes: size of all variables that training changes, including the optimizer's.

    Example:
        >>> trainer = Trainer(model, batch_size=32, seed=(0, 1))
        >>> metrics = trainer.run_epoch(Rows(x, y), Rows(x_val, y_val))
        >>> saved = trainer.state()
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int,
        seed: tuple[int, ...],
        class_weights: np.ndarray | None = None,
    ) -> None:
        self.model = model
        self.epoch = 0
        self._batch_size = batch_size
        self._seed = seed
        self._class_weights = class_weights
        self._trained = list(model.trainable_variables)
        self.parameters = int(sum(np.prod(variable.shape) for variable in self._trained))
        self._saved = saved_variables(model)
        model.optimizer.build(self._trained)
        self.bytes = sum(4 * int(np.prod(v.shape)) for v in self._variables().values())
        self._statistics = HeadStatistics(model)
        self._train_steps = tf.function(self._train_window, reduce_retracing=True)
        # The inputs of the head are needed for its BatchNorm alone.
        images, probabilities = model.inputs[0], model.outputs[0]
        pooled = self._statistics.body.output if self._statistics.needed else images
        self._inference = keras.Model(images, [pooled, probabilities])
        self._validated: tuple[np.ndarray, np.ndarray] | None = None
        self._infer = self._infer_whole
        if sum(1 for _ in leaf_layers(model)) > _LIGHT_LAYERS:
            self._infer = tf.function(self._infer_in_batches, reduce_retracing=True)

    def begin(self, seed: tuple[int, ...]) -> None:
        """Begin another trial with the same compiled programs: epoch 0, a new optimizer.

        The caller sets the model's own variables.
        """
        self.epoch = 0
        self._seed = seed
        self._validated = None
        for variable in self._trained:
            for slot in self.model.optimizer.slots(variable):
                slot.assign(tf.zeros_like(slot))
        self.model.optimizer.iterations.assign(0)

    def run_epoch(self, training: Rows, validation: Rows) -> EpochMetrics:
        """Train one epoch, then evaluate on the validation rows."""
        loss, accuracy = self._train_epoch(training)
        self._measure_statistics(training)
        probabilities = self.predict(validation.x)
        self._validated = probabilities, validation.y
        balanced = balanced_accuracy(probabilities, validation.y)
        return EpochMetrics(loss, accuracy, *score(probabilities, validation.y), balanced)

    def outcomes(self) -> Outcomes | None:
        """Predictions of the latest epoch on the validation rows; None before `run_epoch`."""
        return None if self._validated is None else Outcomes.of(*self._validated)

    def predict(self, x: Any) -> np.ndarray:
        """Class probabilities, float32, shape (rows, classes), in inference mode."""
        window = self._window(x)
        return np.concatenate(
            [self._infer(x[start : start + window])[1] for start in range(0, len(x), window)]
        )

    def state(self, final: bool = False) -> dict[str, np.ndarray]:
        """Everything that training has changed, by name, as arrays.

        Args:
            final: leave out the optimizer, two thirds of it, which only further training needs.
        """
        variables = self._saved if final else self._variables()
        return {"epoch": np.asarray(self.epoch)} | {
            name: variable.numpy() for name, variable in variables.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Return to a state of a model that was built the same way; training continues exactly."""
        assign(self._variables(), state)
        self.epoch = int(state["epoch"])
        self._validated = None

    def _variables(self) -> dict[str, Any]:
        return self._saved | optimizer_variables(self.model.optimizer)

    def _train_epoch(self, rows: Rows) -> tuple[float, float]:
        window = self._window(rows.x)
        order = shuffled(len(rows.y), window, np.random.default_rng((*self._seed, self.epoch)))
        loss, correct = 0.0, 0
        for start in range(0, len(order), window):
            chosen = order[start : start + window]
            window_loss, window_correct = self._train_steps(
                rows.x[chosen], rows.y[chosen].astype(np.int32)
            )
            loss += float(window_loss)
            correct += int(window_correct)
        self.epoch += 1
        return loss / len(rows.y), correct / len(rows.y)

    def _measure_statistics(self, rows: Rows) -> None:
        if not self._statistics.needed:
            return
        sample = statistics_rows(len(rows.y))
        window = self._window(rows.x)
        pooled = [
            self._infer(rows.x[sample[start : start + window]])[0]
            for start in range(0, len(sample), window)
        ]
        self._statistics.update(tf.concat(pooled, axis=0))

    def _window(self, x: Any) -> int:
        """Rows per window: whole batches, and whole blocks."""
        row_bytes = max(1, math.prod(x.shape[1:]) * x.dtype.itemsize)
        whole = math.lcm(self._batch_size, BATCH)
        return whole * max(1, _WINDOW_BYTES // (whole * row_bytes))

    def _train_window(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Train on the rows in their order; returns summed cross-entropy and correct rows."""
        loss, correct = tf.constant(0.0), tf.constant(0, tf.int64)
        for start in tf.range(0, tf.shape(x)[0], self._batch_size):
            labels = y[start : start + self._batch_size]
            probabilities = self._train_step(x[start : start + self._batch_size], labels)
            loss += tf.reduce_sum(_cross_entropy(labels, probabilities))
            correct += tf.math.count_nonzero(_hits(labels, probabilities))
        return loss, correct

    def _train_step(self, x: Any, y: Any) -> Any:
        weights = None if self._class_weights is None else tf.gather(self._class_weights, y)
        with tf.GradientTape() as tape:
            probabilities = self.model(self._cast(x), training=True)
            loss = self.model.compute_loss(x, y, probabilities, sample_weight=weights)
        gradients = tape.gradient(loss, self._trained)
        optimizer = self.model.optimizer
        if _steps_plainly(optimizer, self._trained):
            # Optimizer.apply inside a tf.function keeps the variables of every trial alive.
            for gradient, variable in zip(gradients, self._trained, strict=True):
                _adam_step(optimizer, gradient, variable)
            optimizer.iterations.assign_add(1)
        else:
            optimizer.apply(gradients, self._trained)
        return probabilities

    def _infer_whole(self, x: Any) -> tuple[Any, Any]:
        """Inputs of the head, and probabilities, of all rows at once."""
        pooled, probabilities = self._inference(self._cast(x), training=False)
        return pooled, probabilities

    def _infer_in_batches(self, x: Any) -> tuple[Any, Any]:
        """Likewise, batch by batch."""
        count = tf.shape(x)[0]
        steps = (count + self._batch_size - 1) // self._batch_size
        pooled = tf.TensorArray(tf.float32, size=steps, infer_shape=False)
        probabilities = tf.TensorArray(tf.float32, size=steps, infer_shape=False)
        for step in tf.range(steps):
            start = step * self._batch_size
            batch = self._infer_whole(x[start : start + self._batch_size])
            if self._statistics.needed:
                pooled = pooled.write(step, batch[0])
            probabilities = probabilities.write(step, batch[1])
        if not self._statistics.needed:
            return (), probabilities.concat()
        return pooled.concat(), probabilities.concat()

    def _cast(self, x: Any) -> Any:
        return tf.cast(x, self.model.inputs[0].dtype)


def shuffled(count: int, window: int, random: np.random.Generator) -> np.ndarray:
    """A random order of rows that can be read window by window.

    Rows are stored, and computed, in blocks of 32. If all rows fit into one window, the order is a
    plain permutation. Otherwise the blocks are shuffled, and then the rows within each window of
    blocks, so that a window reads, or computes, whole blocks.

    Args:
        count: number of rows.
        window: rows per window, a multiple of 32.
        random: source of randomness.

    Returns:
        int64 indices, shape (count,).
    """
    if count <= window:
        return random.permutation(count)
    blocks = random.permutation(-(-count // BATCH))
    order = (blocks[:, np.newaxis] * BATCH + np.arange(BATCH)).ravel()
    order = order[order < count]
    for start in range(0, count, window):
        random.shuffle(order[start : start + window])
    return order


def _cross_entropy(labels: Any, probabilities: Any) -> Any:
    true = tf.gather(probabilities, labels, axis=1, batch_dims=1)
    return -tf.math.log(tf.clip_by_value(true, EPSILON, 1.0))


def _hits(labels: Any, probabilities: Any) -> Any:
    return tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels


def _adam_step(optimizer: TransferAdam, gradient: Any, variable: Any) -> None:
    """`TransferAdam.update_step` by TensorFlow's fused kernel, which is faster for wide heads."""
    step = tf.cast(optimizer.iterations + 1, tf.float32)
    momentum, velocity = optimizer.slots(variable)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.value.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=tf.pow(tf.constant(optimizer.beta_1, tf.float32), step),
        beta2_power=tf.pow(tf.constant(optimizer.beta_2, tf.float32), step),
        lr=tf.convert_to_tensor(optimizer.learning_rate_of(variable)),
        beta1=optimizer.beta_1,
        beta2=optimizer.beta_2,
        epsilon=optimizer.epsilon,
        grad=gradient,
    )


def _steps_plainly(optimizer: keras.optimizers.Optimizer, trained: list[Any]) -> bool:
    """Whether a step of this optimizer is `update_step` of each variable and nothing else."""
    if type(optimizer) is not TransferAdam:
        return False
    extras = (
        *(variable.constraint for variable in trained),
        optimizer.weight_decay,
        optimizer.clipnorm,
        optimizer.global_clipnorm,
        optimizer.clipvalue,
        optimizer.use_ema or None,
        optimizer.loss_scale_factor,
        optimizer.gradient_accumulation_steps,
        optimizer.amsgrad or None,
    )
    return all(extra is None for extra in extras)
