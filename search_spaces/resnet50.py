"""The search space: heads on a ResNet50, unfreeze depths, and how they are trained."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from search_spaces.backbone import CUTS, build_backbone, cut_layer, preprocess, unfreeze
from search_spaces.head import STATISTICS_ROWS, HeadStatistics, build_head, statistics_rows
from search_spaces.keras_settings import in_float32
from search_spaces.optimizer import TransferAdam
from search_spaces.recipes import RECIPES
from tuner.errors import SettingsError

UNFREEZE_BLOCKS = sorted(CUTS)
HEAD_WIDTHS = [128, 256, 512, 1024, 2048]
BACKBONE_LR_FACTORS = [1.0, 0.3, 0.1, 0.03]


@dataclass(frozen=True)
class Configuration:
    """One point of the space. Hyperparameters that it does not use keep their defaults.

    Attributes:
        unfreeze_blocks: number of trained residual blocks, counted from the top, 0 to 16.
        backbone_lr_factor: the backbone's step size as a share of `learning_rate`.
        head_layers: hidden layers of the head.
        head_width: units of the first hidden layer; the second has half of them.
        head_batchnorm: whether BatchNormalization follows each hidden layer.
        dropout: rate in front of the output layer.
        l2: L2 penalty on the head's kernels.
        learning_rate: Adam's step size for the head.
    """

    unfreeze_blocks: int = 0
    backbone_lr_factor: float = 0.1
    head_layers: int = 1
    head_width: int = 256
    head_batchnorm: bool = False
    dropout: float = 0.2
    l2: float = 1e-4
    learning_rate: float = 1e-3

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Configuration":
        """The configuration of a trial's active hyperparameters; unknown names are ignored."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


class ResNet50Space(keras_tuner.HyperModel):
    """Search space over heads and unfreeze depths of a ResNet50; works in any Keras Tuner.

    Args:
        num_classes: number of classes, at least 2.
        image_size: height and width of the images in pixels, at least 32.
        weights: "imagenet", "none", or the path of a weights file.
        seed: of the initial weights of the head and of dropout.

    Raises:
        SettingsError: an argument is out of range.

    Example:
        >>> space = ResNet50Space(num_classes=5)
        >>> tuner = keras_tuner.Hyperband(space, objective="val_accuracy", max_epochs=10)
        >>> tuner.search(x, y, validation_data=(x_val, y_val))
    """

    def __init__(
        self,
        num_classes: int,
        image_size: int = 224,
        weights: str | Path = "imagenet",
        seed: int = 0,
    ) -> None:
        super().__init__(name="resnet50", tunable=True)
        if num_classes < 2:
            raise SettingsError(f"there must be at least 2 classes, but there are {num_classes}.")
        self.num_classes = num_classes
        self.image_size = image_size
        self.weights = weights
        self.seed = seed

    def declare_hyperparameters(self, hp: keras_tuner.HyperParameters) -> None:
        """Declare every hyperparameter; one that its parent switches off is inactive."""
        default = Configuration()
        hp.Choice("unfreeze_blocks", UNFREEZE_BLOCKS, default=default.unfreeze_blocks)
        hp.Choice(
            "backbone_lr_factor",
            BACKBONE_LR_FACTORS,
            default=default.backbone_lr_factor,
            parent_name="unfreeze_blocks",
            parent_values=UNFREEZE_BLOCKS[1:],
        )
        hp.Choice("head_layers", [0, 1, 2], default=default.head_layers)
        with hp.conditional_scope("head_layers", [1, 2]):
            hp.Choice("head_width", HEAD_WIDTHS, default=default.head_width)
            hp.Boolean("head_batchnorm", default=default.head_batchnorm)
        hp.Float("dropout", 0.0, 0.6, default=default.dropout)
        hp.Float("l2", 1e-6, 1e-2, sampling="log", default=default.l2)
        hp.Float("learning_rate", 1e-5, 1e-2, sampling="log", default=default.learning_rate)

    @in_float32()
    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Build and compile the whole network of one configuration.

        Returns:
            Model from RGB values 0 to 255, shape (batch, image_size, image_size, 3), to class
            probabilities, shape (batch, num_classes).
        """
        self.declare_hyperparameters(hp)
        configuration = Configuration.of(hp.values)
        model = self.build_whole(configuration, self.build_backbone(), self.seed)
        compile_classifier(model, configuration)
        return model

    @in_float32()
    def fit(
        self, hp: keras_tuner.HyperParameters, model: keras.Model, *args: Any, **kwargs: Any
    ) -> Any:
        """Train as `model.fit` does, with the head's statistics current at every evaluation."""
        rows = args[0] if args else kwargs.get("x")
        callbacks = [*(kwargs.pop("callbacks", None) or []), CurrentStatistics(rows)]
        return super().fit(hp, model, *args, callbacks=callbacks, **kwargs)

    def recipes(self) -> dict[str, dict[str, Any]]:
        """Known-good configurations by name; the search trains them first."""
        return {name: recipe() for name, recipe in RECIPES.items()}

    def build_backbone(self) -> keras.Model:
        """Build the backbone alone, with the pretrained weights, completely frozen."""
        return build_backbone(self.image_size, self.weights)

    @in_float32()
    def build_whole(
        self, configuration: Configuration, backbone: keras.Model, seed: int
    ) -> keras.Model:
        """Build the network of `build`, uncompiled, on a backbone whose layers it shares.

        `seed` is of the head's initial weights and of dropout.
        """
        images = keras.Input((self.image_size, self.image_size, 3), name="image")
        return self._with_head(configuration, backbone, images, backbone(preprocess(images)), seed)

    @in_float32()
    def build_suffix(
        self,
        configuration: Configuration,
        backbone: keras.Model,
        seed: int,
        dropout: keras.layers.Layer | None = None,
        l2: keras.regularizers.Regularizer | None = None,
    ) -> keras.Model:
        """Build the network from the cut to probabilities, uncompiled, on a shared backbone.

        Args:
            configuration: decides the cut.
            backbone, seed: as for `build_whole`.
            dropout: layer instead of the configuration's dropout.
            l2: regularizer instead of the configuration's L2 penalty.

        Returns:
            Model from the activations at the cut, shape (batch, ...), to probabilities, shape
            (batch, num_classes).
        """
        cut = backbone.get_layer(cut_layer(configuration.unfreeze_blocks)).output
        activations = keras.Input(cut.shape[1:], name="activations")
        pooled = activations
        if configuration.unfreeze_blocks:
            pooled = keras.Model(cut, backbone.output, name="suffix")(activations)
        return self._with_head(configuration, backbone, activations, pooled, seed, dropout, l2)

    def _with_head(
        self,
        configuration: Configuration,
        backbone: keras.Model,
        inputs: Any,
        pooled: Any,
        seed: int,
        dropout: keras.layers.Layer | None = None,
        l2: keras.regularizers.Regularizer | None = None,
    ) -> keras.Model:
        unfreeze(backbone, configuration.unfreeze_blocks)
        probabilities = build_head(
            pooled,
            self.num_classes,
            layers=configuration.head_layers,
            width=configuration.head_width,
            batchnorm=configuration.head_batchnorm,
            dropout=configuration.dropout if dropout is None else dropout,
            l2=configuration.l2 if l2 is None else l2,
            seed=seed,
        )
        return keras.Model(inputs, probabilities, name="classifier")


def compile_classifier(model: keras.Model, configuration: Configuration) -> None:
    """Compile a network of `ResNet50Space` with the configuration's optimizer."""
    model.compile(
        TransferAdam(configuration.learning_rate, configuration.backbone_lr_factor),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )


def can_be_cut(space: keras_tuner.HyperModel) -> bool:
    """Whether a space builds the networks of `ResNet50Space`, which can be cut in two."""
    parts = ("build", "build_whole", "build_suffix", "build_backbone", "_with_head")
    return isinstance(space, ResNet50Space) and all(
        getattr(type(space), part) is getattr(ResNet50Space, part) for part in parts
    )


class CurrentStatistics(keras.callbacks.Callback):
    """Recomputes the head's BatchNorm statistics before every validation of `fit`.

    Args:
        rows: training rows as for `fit`: an array, or batches of (rows, labels) such as a
            tf.data.Dataset.
    """

    def __init__(self, rows: Any) -> None:
        super().__init__()
        self._rows = rows

    def __deepcopy__(self, memo: dict[int, Any]) -> "CurrentStatistics":
        return CurrentStatistics(self._rows)  # Keras Tuner copies callbacks, not data

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the rows, if the model's head needs statistics."""
        self._statistics = HeadStatistics(self.model)
        if self._statistics.needed:
            self._sample = _sample(self._rows)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Update before validation."""
        self._update()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Update once more, for a fit without validation data."""
        self._update()

    def _update(self) -> None:
        if self._statistics.needed:
            self._statistics.update_from_rows(self._sample)


def _sample(rows: Any) -> np.ndarray:
    """The rows to compute statistics from, of an array or of an iterable of batches."""
    if hasattr(rows, "shape"):
        return np.asarray(rows)[statistics_rows(len(rows), _row_bytes(rows))]
    if hasattr(rows, "__next__"):
        raise SettingsError(
            "a generator can be read only once. Pass arrays, a tf.data.Dataset or a PyDataset."
        )
    taken: list[np.ndarray] = []
    for batch in rows:
        taken.append(np.asarray(batch[0]))
        count = len(statistics_rows(STATISTICS_ROWS, _row_bytes(taken[0])))
        if sum(map(len, taken)) >= count:
            return np.concatenate(taken)[:count]
    return np.concatenate(taken)


def _row_bytes(rows: Any) -> int:
    return int(np.prod(rows.shape[1:])) * 4
