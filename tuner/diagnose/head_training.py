"""Train heads on pooled features, for experiments that compare what they are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from search_spaces.backbone import PretrainedBackbone
from search_spaces.resnet50 import Configuration, ResNet50Space
from tuner.training.compiled import Programs
from tuner.training.rows import Rows

# A head without regularisation, which can overfit.
HEAD = Configuration(head_width=256, dropout=0.0, l2=1e-6)
# Of a plain head, wherever two sets of features are compared.
EPOCHS = 12


@dataclass(frozen=True)
class HeadFit:
    """The result of training a head.

    Attributes:
        probabilities: of the validation rows after the last epoch, shape (rows, classes).
        right: whether each validation row is classified correctly then, bool, shape (rows,).
        train_accuracies: of each epoch, accumulated while training, 0 to 1.
        val_accuracies: after each epoch, 0 to 1.
        train_losses: mean cross-entropy of each epoch, in nats.
    """

    probabilities: np.ndarray
    right: np.ndarray
    train_accuracies: tuple[float, ...]
    val_accuracies: tuple[float, ...]
    train_losses: tuple[float, ...]


class Heads:
    """Trains heads of a space, one after the other.

    Args:
        space: decides the number of classes.
        backbone: the space's backbone.
        batch_size: rows of a training step.
    """

    def __init__(
        self, space: ResNet50Space, backbone: PretrainedBackbone, batch_size: int = 32
    ) -> None:
        self._programs = Programs(space, backbone, batch_size)

    def fit(
        self,
        configuration: Configuration,
        training: Sequence[Rows],
        validation: Rows,
        epochs: int,
        seed: int,
    ) -> HeadFit:
        """Train a new head.

        Args:
            configuration: the head; `unfreeze_blocks` is 0.
            training: views of the training rows, (rows, 2048) each; epoch e trains on view e mod
                their number.
            validation: the rows it is evaluated on.
            epochs: at least 1.
            seed: of the initial weights, of dropout and of the order of the rows.
        """
        trainer = self._programs.trainer(configuration, seed, (seed,))
        metrics = [
            trainer.run_epoch(training[epoch % len(training)], validation)
            for epoch in range(epochs)
        ]
        probabilities = trainer.predict(validation.x)
        return HeadFit(
            probabilities,
            probabilities.argmax(axis=1) == validation.y,
            tuple(each.accuracy for each in metrics),
            tuple(each.val_accuracy for each in metrics),
            tuple(each.loss for each in metrics),
        )
