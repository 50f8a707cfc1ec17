"""Temperature scaling: calibrate probabilities with one number, fitted on the validation images.

Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.

On few images the temperature is mostly noise: if all are classified correctly, the loss falls with
the temperature without end. So ten pseudo-images are added, labelled in proportion to the network's
own probabilities. That is the conjugate prior of a logistic model (Diaconis and Ylvisaker 1979),
centred on the temperature 1. Platt (1999) smooths his targets with one pseudo-image of each class
instead, which costs a network of many classes more than its temperature gains.
"""

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from tuner.errors import ExportError

_LEAST, _GREATEST = 0.05, 20.0
_TINY = 1e-30
# For well-calibrated networks of 3 and 10 classes on 20 images, 5 do twice the harm of 10; 20 take
# more of what over-confident networks gain.
_EXPECTED_IMAGES = 10


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature that minimizes the loss of logits / temperature.

    Args:
        probabilities: of the network, shape (images, classes).
        labels: class numbers, shape (images,).

    Returns:
        Between 0.05 and 20; the fewer images there are, the nearer to 1.
    """
    expected = probabilities.astype(np.float64)
    logits = np.log(np.maximum(expected, _TINY))
    weights = expected * (_EXPECTED_IMAGES / len(labels))
    weights[np.arange(len(labels)), labels] += 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return float(np.sum(weights * (log_sums - scaled)))

    bounds = (np.log(_LEAST), np.log(_GREATEST))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def fold_temperature(network: keras.Model, temperature: float) -> None:
    """Divide the network's logits by a temperature, in the weights of its last layer.

    Raises:
        ExportError: its last layers are not a Dense and a softmax.
    """
    layer = _logits_layer(network)
    if layer is None:
        raise ExportError(
            "--calibrate needs a network that ends in a Dense layer and a softmax, and this one "
            "does not. Export it without --calibrate."
        )
    for variable in layer.trainable_variables + layer.non_trainable_variables:
        variable.assign(variable / temperature)


def _logits_layer(network: keras.Model) -> keras.layers.Dense | None:
    last = network.layers[-1]
    if isinstance(last, keras.layers.Dense):
        return last if last.activation is keras.activations.softmax else None
    softmax = isinstance(last, keras.layers.Softmax) or (
        isinstance(last, keras.layers.Activation) and last.activation is keras.activations.softmax
    )
    before = network.layers[-2] if softmax and len(network.layers) > 1 else None
    if not isinstance(before, keras.layers.Dense) or last.input is not before.output:
        return None
    return before if before.activation is keras.activations.linear else None
