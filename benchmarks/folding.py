"""Would it pay to fold each frozen BatchNorm of the suffix into its convolution?

    python benchmarks/folding.py

The folded suffix computes conv(x, kernel * scale) + (bias * scale + shift) with scale and shift
from the frozen statistics, anew from the unfolded kernel in each step, so that Adam works on the
same variables. Both suffixes train and predict in one process, in turn; the median of --repeats.
"""

import argparse
import time
from typing import Any

from common import (
    Report,
    Workload,
    arguments,
    import_all,
    median,
    progress,
    run_arm,
    scratch_folder,
    workload_of,
)


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        report = Report("folding", "Frozen BatchNorm folded into its convolution.", options)
        rows = []
        for size in options.sizes:
            given = argparse.Namespace(**vars(options) | {"image_size": size})
            workload = workload_of(given, scratch)
            for blocks in options.blocks:
                progress(f"{size} px, unfreeze_blocks {blocks}")
                rows.append(
                    run_arm(compare, workload=workload, blocks=blocks, repeats=options.repeats)
                )
        report.table("Seconds for one epoch and for one prediction of the same rows", rows)
        report.write()


def compare(workload: Workload, blocks: int, repeats: int) -> dict[str, Any]:
    """One row: the suffix above a cut, plain and folded."""
    import_all()
    import keras
    import numpy as np

    from search_spaces.backbone import build_backbone, cut_layer, unfreeze
    from search_spaces.head import build_head
    from search_spaces.resnet50 import Configuration, compile_classifier
    from tuner.training.rows import Rows
    from tuner.training.trainer import Trainer

    backbone = build_backbone(workload.image_size, workload.weights)
    unfreeze(backbone, blocks)
    cut = backbone.get_layer(cut_layer(blocks)).output
    shape = (workload.training, *cut.shape[1:])
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    rows = Rows(x, np.arange(len(x)) % workload.classes)

    def trainer(suffix: keras.Model) -> Trainer:
        activations = keras.Input(cut.shape[1:])
        probabilities = build_head(
            suffix(activations),
            workload.classes,
            layers=1,
            width=256,
            batchnorm=False,
            dropout=0.2,
            l2=1e-4,
            seed=0,
        )
        model = keras.Model(activations, probabilities)
        compile_classifier(model, Configuration(unfreeze_blocks=blocks))
        return Trainer(model, workload.batch_size, (0, 0))

    suffix = keras.Model(cut, backbone.output)
    arms = {"plain": trainer(suffix), "folded": trainer(_folded(suffix))}
    apart = np.abs(arms["plain"].predict(x) - arms["folded"].predict(x)).max()
    training: dict[str, list[float]] = {name: [] for name in arms}
    predicting: dict[str, list[float]] = {name: [] for name in arms}
    for number in range(repeats + 1):
        for name, arm in list(arms.items())[:: 1 if number % 2 else -1]:
            begun = time.perf_counter()
            arm._train_epoch(rows)
            trained = time.perf_counter()
            arm.predict(x)
            if number:  # the first traces
                training[name].append(trained - begun)
                predicting[name].append(time.perf_counter() - trained)
    seconds = {name: (median(training[name]), median(predicting[name])) for name in arms}
    return {
        "pixels": workload.image_size,
        "unfreeze_blocks": blocks,
        "images": len(x),
        "epoch, plain": seconds["plain"][0],
        "epoch, folded": seconds["folded"][0],
        "times faster": seconds["plain"][0] / seconds["folded"][0],
        "prediction, times faster": seconds["plain"][1] / seconds["folded"][1],
        "outputs apart": float(apart),
    }


def _folded(suffix: Any) -> Any:
    """A suffix on the same variables, without its BatchNorm layers."""
    import keras
    import numpy as np

    class FoldedConvolution(keras.layers.Layer):
        def __init__(self, convolution: Any, norm: Any) -> None:
            super().__init__(name=convolution.name)
            self.kernel, self.bias = convolution.kernel, convolution.bias
            self._strides, self._padding = convolution.strides, convolution.padding
            deviation = np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
            self._scale = np.asarray(norm.gamma) / deviation
            self._shift = np.asarray(norm.beta) - np.asarray(norm.moving_mean) * self._scale
            self.built = True

        def call(self, x: Any) -> Any:
            kernel = self.kernel * self._scale
            y = keras.ops.conv(x, kernel, self._strides, self._padding)
            return y + (self.bias * self._scale + self._shift)

    layers = {layer.name: layer for layer in suffix.layers}

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.layers.Conv2D):
            return FoldedConvolution(layer, layers[layer.name.replace("_conv", "_bn")])
        if isinstance(layer, keras.layers.BatchNormalization):
            return layer
        return type(layer).from_config(layer.get_config())

    def call(layer: Any, *arguments: Any, **keywords: Any) -> Any:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        return arguments[0] if is_norm else layer(*arguments, **keywords)

    return keras.models.clone_model(suffix, clone_function=clone, call_function=call)


def _parse() -> argparse.Namespace:
    parser = arguments(__doc__, image_size=96, training=192, validation=0)
    add = parser.add_argument
    add("--sizes", type=int, nargs="+", default=[96, 224], help="pixels a side (96 224)")
    add("--blocks", type=int, nargs="+", default=[1, 3, 9], help="unfreeze depths (1 3 9)")
    add("--repeats", type=int, default=5, help="of each; the median counts (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
