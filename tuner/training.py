"""One trial's training loop, and the one object that holds all of its state.

`fit` is not used: it costs half a second to start, keeps every trial's variables alive, and cannot
be continued exactly. Here an epoch is one call of a `tf.function` that loops over the steps; the
order of the rows is drawn from (seed, trial, epoch), and `Trainer.state` holds every variable that
training changes, so that a trial goes on bit for bit where it stopped.

What the rows are, images or activations at a cut, is not this module's business.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from search_spaces.head import HeadStatistics, statistics_rows
from search_spaces.optimizer import TransferAdam

# Rows are handed to the graph in pieces of at most this size, so that memory stays flat.
_CHUNK_BYTES = 64 * 2**20
_EPSILON = 1e-7  # keras.config.epsilon(): the least probability that cross-entropy sees


@dataclass(frozen=True)
class Rows:
    """Images or activations with their labels, by row.

    Attributes:
        x: array or memory map, shape (rows, ...).
        y: int class numbers, shape (rows,).
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class EpochMetrics:
    """What one epoch gave. Losses are cross-entropies in nats, without the L2 penalty.

    Attributes:
        loss: over the training rows, as they were met, in training mode.
        accuracy: the same for accuracy, 0 to 1.
        val_loss: over the validation rows, after the epoch.
        val_accuracy: the same for accuracy, 0 to 1.
    """

    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float

    def finite(self) -> bool:
        """Whether none of the numbers is NaN or infinite."""
        return bool(np.isfinite([self.loss, self.val_loss]).all())


class Trainer:
    """Trains a compiled Keras classifier, epoch by epoch.

    Args:
        model: compiled with sparse categorical cross-entropy; gives probabilities.
        batch_size: rows of a step; the last step of an epoch may have fewer.
        seed: with the epoch's number it decides the order of the rows: e.g. (search seed, trial).

    Attributes:
        epoch: epochs done so far.
        parameters: number of trained scalars.
    """

    def __init__(self, model: keras.Model, batch_size: int, seed: tuple[int, ...]) -> None:
        self.model = model
        self.epoch = 0
        self._batch_size = batch_size
        self._seed = seed
        self._trained = list(model.trainable_variables)
        self.parameters = int(sum(np.prod(variable.shape) for variable in self._trained))
        self._saved = _saved_variables(model)
        model.optimizer.build(self._trained)
        self._statistics = HeadStatistics(model)
        self._train_steps = tf.function(self._train_chunk, reduce_retracing=True)
        self._predict_steps = tf.function(self._predict_chunk, reduce_retracing=True)
        self._body_steps = tf.function(self._body_chunk, reduce_retracing=True)
        self._update_statistics = tf.function(self._statistics.update, reduce_retracing=True)

    def run_epoch(self, training: Rows, validation: Rows) -> EpochMetrics:
        """Trains one epoch and evaluates it.

        Args:
            training: rows to train on, in any order.
            validation: rows to evaluate on.

        Returns:
            The epoch's losses and accuracies.
        """
        loss, accuracy = self._train_epoch(training)
        self._measure_statistics(training)
        val_loss, val_accuracy = score(self.predict(validation.x), validation.y)
        return EpochMetrics(loss, accuracy, val_loss, val_accuracy)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities, float32, shape (rows, classes), in inference mode."""
        chunks = [self._predict_steps(x[start:stop]) for start, stop in self._chunks(x)]
        return np.concatenate([chunk.numpy() for chunk in chunks])

    def state(self) -> dict[str, np.ndarray]:
        """Everything that training has changed, by name, as arrays."""
        variables = self._saved | _optimizer_variables(self.model.optimizer)
        return {"epoch": np.int64(self.epoch)} | {
            name: variable.numpy() for name, variable in variables.items()
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to a state, so that training continues bit for bit.

        Args:
            state: as `state` returned it, for a model built in the same way.
        """
        variables = self._saved | _optimizer_variables(self.model.optimizer)
        _assign(variables, state)
        self.epoch = int(state["epoch"])

    def _train_epoch(self, rows: Rows) -> tuple[float, float]:
        order = np.random.default_rng((*self._seed, self.epoch)).permutation(len(rows.y))
        loss, correct = 0.0, 0
        for start, stop in self._chunks(rows.x):
            chosen = order[start:stop]
            x, y = rows.x[chosen], rows.y[chosen].astype(np.int32)
            chunk_loss, chunk_correct = self._train_steps(x, y)
            loss += float(chunk_loss)
            correct += int(chunk_correct)
        self.epoch += 1
        return loss / len(rows.y), correct / len(rows.y)

    def _measure_statistics(self, rows: Rows) -> None:
        if not self._statistics.needed:
            return
        sample = rows.x[statistics_rows(len(rows.y))]
        chunks = [self._body_steps(sample[start:stop]) for start, stop in self._chunks(sample)]
        self._update_statistics(tf.concat(chunks, axis=0))

    def _chunks(self, x: np.ndarray) -> Iterator[tuple[int, int]]:
        """Ranges of whole batches that cover the rows."""
        batch_bytes = self._batch_size * max(1, x[:1].nbytes)
        size = self._batch_size * max(1, _CHUNK_BYTES // batch_bytes)
        for start in range(0, len(x), size):
            yield start, min(start + size, len(x))

    def _train_chunk(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Trains on the rows in the order given; returns summed cross-entropy and hits."""
        loss, correct = tf.constant(0.0), tf.constant(0, tf.int64)
        for start in tf.range(0, tf.shape(x)[0], self._batch_size):
            labels = y[start : start + self._batch_size]
            probabilities = self._train_step(x[start : start + self._batch_size], labels)
            loss += tf.reduce_sum(_cross_entropy(labels, probabilities))
            correct += tf.math.count_nonzero(_hits(labels, probabilities))
        return loss, correct

    def _train_step(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            probabilities = self.model(self._cast(x), training=True)
            loss = self.model.compute_loss(x, y, probabilities)
        gradients = tape.gradient(loss, self._trained)
        optimizer = self.model.optimizer
        if _steps_plainly(optimizer):
            # Optimizer.apply inside a tf.function keeps the variables of every trial alive.
            for gradient, variable in zip(gradients, self._trained, strict=True):
                optimizer.update_step(gradient, variable, optimizer.learning_rate)
            optimizer.iterations.assign_add(1)
        else:
            optimizer.apply(gradients, self._trained)
        return probabilities

    def _predict_chunk(self, x: Any) -> Any:
        return self._in_batches(lambda rows: self.model(rows, training=False), x)

    def _body_chunk(self, x: Any) -> Any:
        return self._in_batches(lambda rows: self._statistics.body(rows, training=False), x)

    def _in_batches(self, function: Any, x: Any) -> Any:
        count = tf.shape(x)[0]
        steps = (count + self._batch_size - 1) // self._batch_size
        results = tf.TensorArray(tf.float32, size=steps, infer_shape=False)
        for step in tf.range(steps):
            start = step * self._batch_size
            rows = x[start : start + self._batch_size]
            results = results.write(step, function(self._cast(rows)))
        return results.concat()

    def _cast(self, x: Any) -> Any:
        return tf.cast(x, self.model.inputs[0].dtype)


def restore_weights(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Gives a network the weights of a trial, for prediction.

    Args:
        model: built for the trial's configuration; it need not be compiled.
        state: as `Trainer.state` returned it.
    """
    _assign(_saved_variables(model), state)


def score(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy.

    Args:
        probabilities: shape (rows, classes).
        labels: int class numbers, shape (rows,).
    """
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss = -np.log(np.clip(true, _EPSILON, 1.0)).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


def _cross_entropy(labels: Any, probabilities: Any) -> Any:
    true = tf.gather(probabilities, labels, axis=1, batch_dims=1)
    return -tf.math.log(tf.clip_by_value(true, _EPSILON, 1.0))


def _hits(labels: Any, probabilities: Any) -> Any:
    return tf.argmax(probabilities, axis=1, output_type=tf.int32) == labels


def _steps_plainly(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether `update_step` for each variable is all that a step of this optimizer does."""
    extras = (
        optimizer.weight_decay,
        optimizer.clipnorm,
        optimizer.global_clipnorm,
        optimizer.clipvalue,
        optimizer.use_ema or None,
        optimizer.loss_scale_factor,
        optimizer.gradient_accumulation_steps,
    )
    return type(optimizer) is TransferAdam and all(extra is None for extra in extras)


def _saved_variables(model: keras.Model) -> dict[str, Any]:
    """The variables that training changes, by layer and name: weights, statistics, seeds."""
    return {
        f"{layer.name}/{variable.name}": variable
        for layer in _leaf_layers(model)
        if layer.trainable
        for variable in layer.variables
    }


def _leaf_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _assign(variables: dict[str, Any], state: dict[str, np.ndarray]) -> None:
    for name, variable in variables.items():
        variable.assign(state[name])


def _optimizer_variables(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    return {
        f"optimizer/{number:03d}": variable for number, variable in enumerate(optimizer.variables)
    }
