"""Faults of a user's own model are found, and nothing else, and the model does not change."""

import re
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest

import tuner
from search_spaces.backbone import preprocess
from search_spaces.resnet50 import ResNet50Space
from tests.support.repository import ROOT
from tuner.errors import ModelError
from tuner.model_check import findings
from tuner.model_check.check import check_model
from tuner.model_check.findings import ModelFinding
from tuner.model_check.trainable_layers import trainable_layers

SIZE = 32
CLASSES = 3
MEAN_RGB = np.array([123.68, 116.779, 103.939], "float32")
SCALINGS: dict[str, Callable[[Any], Any]] = {
    "divided by 255": lambda x: keras.layers.Rescaling(1 / 255)(x),
    "[-1, 1]": lambda x: keras.layers.Rescaling(1 / 127.5, offset=-1)(x),
    "RGB instead of BGR": lambda x: x - MEAN_RGB,
    "BGR values from 0 to 255": lambda x: x[..., ::-1],
    "RGB instead of BGR, with the mean": lambda x: x - MEAN_RGB[::-1],
    "RGB values from -0.5 to 0.5": lambda x: x / 255 - 0.5,
    "normalised by ImageNet's mean and deviation (-2.118": lambda x: (
        (x - MEAN_RGB) / (255 * np.array([0.229, 0.224, 0.225], "float32"))
    ),
    "no linear function": lambda x: keras.ops.sqrt(x),
}


class LegacyBatchNorm(keras.layers.BatchNormalization):
    """A frozen layer that normalises by the batch in fit, as in Keras before 2.2.5."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=False)
        mean, variance = keras.ops.moments(inputs, axes=[0, 1, 2])
        return (inputs - mean) / keras.ops.sqrt(variance + self.epsilon) * self.gamma + self.beta


class Hardwired(keras.layers.Layer):
    """Always calls a backbone with training=True."""

    def __init__(self, base: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = base

    def call(self, inputs: Any) -> Any:
        return self.base(inputs, training=True)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "base": keras.saving.serialize_keras_object(self.base)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Hardwired":
        return cls(keras.saving.deserialize_keras_object(config.pop("base")), **config)


class Uncopyable(keras.layers.Layer):
    """Has no get_config."""

    def __init__(self, inner: keras.layers.Layer) -> None:
        super().__init__()
        self.inner = inner

    def call(self, inputs: Any) -> Any:
        return self.inner(inputs)


class Centred(keras.layers.Layer):
    """Subtracts the mean of the batch."""

    def call(self, inputs: Any) -> Any:
        return inputs - keras.ops.mean(inputs, axis=0, keepdims=True)


class BatchNormOfOnesOwn(keras.layers.Layer):
    """Normalises by the batch in fit, and is no BatchNormalization."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:
            return inputs
        return inputs - keras.ops.mean(inputs, axis=(0, 1, 2), keepdims=True)


class Subclassed(keras.Model):
    """A model without a graph, whose backbone is called in inference mode by hand."""

    is_by_hand = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = small_base()
        self.dense = keras.layers.Dense(CLASSES)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        training = training and not self.is_by_hand
        return self.dense(self.base(preprocess(inputs), training=training))


class SubclassedOfUnnamed(keras.Model):
    """Each copy of it names base and layers anew."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.base = unnamed_base()
        self.dense = keras.layers.Dense(CLASSES)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.dense(self.base(inputs, training=training))


def small_graph(x: Any, batchnorm: type[keras.layers.Layer], trainable: bool) -> Any:
    """The first layers of a ResNet50, by their names, and its last."""
    x = keras.layers.ZeroPadding2D(3, name="conv1_pad")(x)
    x = keras.layers.Conv2D(8, 7, strides=4, name="conv1_conv")(x)
    x = batchnorm(name="conv1_bn", trainable=trainable)(x)
    x = keras.layers.ReLU(name="conv1_relu")(x)
    x = keras.layers.Conv2D(8, 1, name="conv2_block1_1_conv")(x)
    x = batchnorm(name="conv2_block1_1_bn", trainable=trainable)(x)
    x = keras.layers.ReLU(name="conv2_block1_out")(x)
    return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)


def small_base(
    batchnorm: type[keras.layers.Layer] = keras.layers.BatchNormalization, trainable: bool = False
) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, small_graph(inputs, batchnorm, trainable), name="resnet50")


def unnamed_base(convolutions: int = 1, pooled: bool = True) -> keras.Model:
    """Trainable, with a BatchNorm behind each convolution."""
    inputs = x = keras.Input((SIZE, SIZE, 3))
    for _ in range(convolutions):
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(x))
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x) if pooled else x)


def ensemble(*bases: keras.Model) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    features = keras.layers.Concatenate()([base(preprocess(inputs)) for base in bases])
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(features))


def classifier(
    base: Callable[..., Any],
    scaling: Callable[[Any], Any] = preprocess,
    head: Callable[[Any], Any] = lambda x: x,
    **call: Any,
) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = head(base(scaling(inputs), **call))
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(x))


def flat(trainable: bool) -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = small_graph(preprocess(inputs), keras.layers.BatchNormalization, trainable)
    x = keras.layers.BatchNormalization(momentum=0.9, name="head")(x)
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(x))


def only(findings: tuple[ModelFinding, ...]) -> ModelFinding:
    assert len(findings) == 1, findings
    return findings[0]


def besides_scaling(model: keras.Model) -> tuple[ModelFinding, ...]:
    """All findings but that the scaling of the small base is unknown."""
    found = check_model(model)
    return tuple(each for each in found if each.name != findings.UNEXAMINED_SCALING)


def freed(base: keras.Model) -> keras.Model:
    for layer in base.layers:
        layer.trainable = True
    return base


def everything(model: keras.Model) -> list[Any]:
    layers = model._flatten_layers()
    optimizer = [variable.numpy() for variable in model.optimizer.variables]
    state = [variable.numpy() for variable in model.variables]
    return [*state, *optimizer, np.array([layer.trainable for layer in layers])]


@pytest.mark.parametrize("unfreeze_blocks", [0, 3, 16])
def test_what_we_build_is_healthy_at_every_depth_and_stays_as_it_is(
    backbone: keras.Model, monkeypatch: pytest.MonkeyPatch, unfreeze_blocks: int
) -> None:
    monkeypatch.setattr(ResNet50Space, "build_backbone", lambda space: backbone)
    hp = keras_tuner.HyperParameters()
    hp.Fixed("unfreeze_blocks", unfreeze_blocks)
    hp.Fixed("head_batchnorm", True)
    model = ResNet50Space(CLASSES, SIZE, "none").build(hp)
    model.optimizer.build(model.trainable_variables)
    before = everything(model)
    assert not tuner.check_model(model)
    for old, new in zip(before, everything(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_real_tutorial_model_moves_every_statistic(backbone: keras.Model) -> None:
    model = classifier(freed(backbone), training=False)
    finding = only(check_model(model))
    assert finding.name == findings.BATCH_STATISTICS_IN_FIT
    assert "all 53 BatchNorm layers" in finding.sentence
    assert "106 of 106 moving statistics" in finding.sentence
    assert len(finding.layers) == 53
    exec(finding.repair, {"model": model, "keras": keras})
    assert not any(backbone.get_layer(name).trainable for name in finding.layers)
    assert backbone.get_layer("conv1_conv").trainable


@pytest.mark.parametrize("call", [{"training": False}, {}], ids=["tutorial", "thawed"])
def test_trainable_batchnorm_in_the_backbone_is_found(call: dict[str, Any]) -> None:
    model = classifier(small_base(trainable=True), **call)
    finding = only(check_model(model))
    assert (finding.name, finding.severity) == ("batch statistics in fit", "error")
    assert finding.layers == ("conv1_bn", "conv2_block1_1_bn")
    assert "4 of 4 moving statistics" in finding.sentence
    assert " 0 %" not in finding.sentence


def test_a_part_that_is_trainable_is_counted() -> None:
    model = classifier(small_base())
    model.get_layer("resnet50").get_layer("conv1_bn").trainable = True
    finding = only(check_model(model))
    assert "1 of the backbone's 2 BatchNorm layers" in finding.sentence
    assert "2 of 2 moving statistics" in finding.sentence


def test_a_flat_model_is_taken_apart_by_its_layers_names() -> None:
    assert not check_model(flat(trainable=False))
    model = flat(trainable=True)
    finding = only(check_model(model))
    assert finding.name == findings.BATCH_STATISTICS_IN_FIT
    exec(finding.repair, {"model": model, "keras": keras})
    assert not check_model(model)
    assert model.get_layer("head").trainable


def test_a_legacy_model_is_found() -> None:
    finding = only(check_model(classifier(small_base(LegacyBatchNorm))))
    assert (finding.name, finding.severity) == ("batch statistics of frozen layers", "error")
    assert "0 of 4 moving statistics" in finding.sentence
    assert " 0 %" not in finding.sentence


def test_batch_statistics_in_prediction_are_found() -> None:
    finding = only(check_model(classifier(Hardwired(small_base(trainable=True)))))
    assert (finding.name, finding.severity) == ("batch statistics in prediction", "error")
    assert " 0 %" not in finding.sentence


@pytest.mark.parametrize("hardwired", [False, True])
def test_frozen_keras_batchnorm_is_healthy_however_it_is_called(hardwired: bool) -> None:
    base = small_base()
    model = classifier(Hardwired(base)) if hardwired else classifier(base, training=True)
    assert not check_model(model)


def test_other_nested_models_with_convolutions_are_backbones_too() -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs))
    base = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="own")
    model = classifier(base, scaling=lambda x: x)
    finding, scaling = check_model(model)
    assert finding.name == findings.BATCH_STATISTICS_IN_FIT
    assert (scaling.name, scaling.severity) == (findings.UNEXAMINED_SCALING, "warning")
    exec(finding.repair, {"model": model, "keras": keras})
    assert check_model(model) == (scaling,)


def test_one_repair_fixes_all_backbones_of_an_ensemble() -> None:
    model = ensemble(small_base(trainable=True), unnamed_base(), unnamed_base(2))
    finding = only(besides_scaling(model))
    assert "all 5 BatchNorm layers of the backbones" in finding.sentence
    assert "10 of 10 moving statistics" in finding.sentence
    exec(finding.repair, {"model": model, "keras": keras})
    assert not besides_scaling(model)


def test_backbones_with_layers_of_the_same_names_are_distinguished() -> None:
    thawed, frozen = small_base(trainable=True), small_base()
    thawed.name, frozen.name = "thawed", "frozen"
    model = ensemble(thawed, frozen)
    finding = only(besides_scaling(model))
    assert finding.name == findings.BATCH_STATISTICS_IN_FIT
    assert "2 of the backbones' 4 BatchNorm layers" in finding.sentence
    assert "4 of 4 moving statistics" in finding.sentence
    assert " 0 %" not in finding.sentence
    exec(finding.repair, {"model": model, "keras": keras})
    assert not besides_scaling(model)


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_sound_head_of_convolutions_is_healthy(is_nested: bool) -> None:
    base = unnamed_base(4, pooled=False)
    base.trainable = False
    head = keras.Sequential(
        [
            keras.layers.Conv2D(4, 1),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model = classifier(base, scaling=lambda x: x, head=head)
    if is_nested:
        scaling = keras.layers.Rescaling(1 / 127.5, offset=-1)
        model = keras.Sequential([keras.Input((SIZE, SIZE, 3)), scaling, model])
    assert not besides_scaling(model)


def test_what_depends_on_batch_mates_without_batchnorm_is_found() -> None:
    finding = only(check_model(classifier(small_base(), head=Centred())))
    assert finding.name == findings.BATCH_MATES
    assert "in prediction" in finding.sentence

    def repaired(x: Any) -> Any:
        names = {"x": x, "keras": keras}
        exec(finding.repair, names)
        return names["x"]

    assert not check_model(classifier(small_base(), head=repaired))


def test_what_depends_on_batch_mates_in_fit_alone_is_found() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = BatchNormOfOnesOwn()(keras.layers.Conv2D(4, 3)(image))
    base = keras.Model(image, keras.layers.GlobalMaxPooling2D()(x))
    finding, scaling = check_model(classifier(base))
    assert finding.name == findings.BATCH_MATES
    assert "in fit" in finding.sentence
    assert scaling.name == findings.UNEXAMINED_SCALING


def without_batchnorm() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="vgg")


def without_backbone() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(inputs)))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: classifier(small_base()), 1),
        (lambda: flat(trainable=False), 2),
        (lambda: classifier(without_batchnorm()), 1),
        (lambda: ensemble(small_base(), unnamed_base()), 1),
        (without_backbone, 1),
    ],
    ids=["nested", "flat", "no BatchNorm", "ensemble", "no backbone"],
)
def test_a_model_that_cannot_learn_is_found(
    build: Callable[[], keras.Model], expected: int
) -> None:
    model = build()
    model.trainable = False
    finding = next(each for each in check_model(model) if each.severity == "error")
    assert finding.name == findings.NOTHING_TRAINABLE
    assert "fit changes nothing" in finding.sentence
    exec(finding.repair, {"model": model, "keras": keras})
    assert len(trainable_layers(model).names) == expected
    assert all(each.severity == "warning" for each in check_model(model))


@pytest.mark.parametrize("fault", SCALINGS)
def test_wrong_scaling_is_named(fault: str) -> None:
    finding = only(check_model(classifier(small_base(), SCALINGS[fault])))
    assert (finding.name, finding.severity) == ("input scaling", "error")
    assert fault in finding.sentence


@pytest.mark.parametrize(
    "scaling",
    [
        keras.applications.resnet50.preprocess_input,
        keras.layers.Lambda(keras.applications.resnet50.preprocess_input),
        keras.layers.Lambda(lambda x: preprocess(x)),
        lambda x: preprocess(x * 255),
        lambda x: preprocess(keras.layers.RandomFlip()(keras.layers.Resizing(40, 40)(x))),
    ],
    ids=["keras", "named lambda", "lambda", "from 0 to 1", "augmented"],
)
def test_right_scaling_is_healthy(scaling: Callable[[Any], Any]) -> None:
    inputs = keras.Input((None, None, 3))
    base_inputs = keras.Input((None, None, 3))
    base = keras.Model(
        base_inputs, small_graph(base_inputs, keras.layers.BatchNormalization, False)
    )
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(base(scaling(inputs))))
    assert not check_model(model)


def test_whole_numbers_as_input_are_examined() -> None:
    inputs = keras.Input((SIZE, SIZE, 3), dtype="uint8")
    scaled = preprocess(keras.ops.cast(inputs, "float32"))
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(small_base()(scaled)))
    assert not check_model(model)


def test_scaling_of_other_channels_is_not_judged() -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    grey = keras.ops.mean(inputs, axis=-1, keepdims=True)
    x = small_graph(grey, keras.layers.BatchNormalization, trainable=False)
    finding = only(check_model(keras.Model(inputs, keras.layers.Dense(CLASSES)(x))))
    assert (finding.name, finding.severity) == (findings.UNEXAMINED_SCALING, "warning")
    assert "no RGB images" in finding.sentence


def test_a_model_without_preprocessing_is_warned_of() -> None:
    finding = only(check_model(classifier(small_base(), scaling=lambda x: x)))
    assert (finding.name, finding.severity) == ("preprocessing outside the model", "warning")


def test_images_show_the_scaling_in_front_of_the_model(images: np.ndarray) -> None:
    preprocessed = keras.applications.resnet50.preprocess_input(images.copy())
    outside, inside = classifier(small_base(), scaling=lambda x: x), classifier(small_base())
    assert not check_model(outside, preprocessed)
    assert "without any preprocessing" in only(check_model(outside, images)).sentence
    assert "divided by 255" in only(check_model(outside, images / 255)).sentence
    assert not check_model(inside, images)
    assert only(check_model(inside, images / 255)).repair == "images = images * 255"
    assert "have -1 to 1" in only(check_model(inside, images / 127.5 - 1)).sentence
    assert "preprocessed again" in only(check_model(inside, preprocessed)).sentence


def test_images_that_were_resized_or_normalised_are_distinguished(images: np.ndarray) -> None:
    rough = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 3)).astype("float32")
    bicubic = np.asarray(keras.ops.image.resize(rough, (SIZE, SIZE), interpolation="bicubic"))
    assert bicubic.min() < 0
    assert bicubic.max() > 255
    outside, inside = classifier(small_base(), scaling=lambda x: x), classifier(small_base())
    assert not check_model(inside, bicubic)
    assert not check_model(classifier(small_base(), lambda x: preprocess(x * 255)), bicubic / 255)
    normalised = keras.applications.densenet.preprocess_input(images.copy())
    finding = only(check_model(outside, normalised))
    assert (finding.name, finding.severity) == (findings.INPUT_SCALING, "error")
    assert "normalised by ImageNet's mean and deviation (-2.118 to 2.64)" in finding.sentence
    assert "preprocessed again" in only(check_model(inside, normalised)).sentence


def test_images_of_an_unknown_range_are_not_judged(images: np.ndarray) -> None:
    for model in (classifier(small_base()), classifier(small_base(), scaling=lambda x: x)):
        finding = only(check_model(model, images * 257))
        assert (finding.name, finding.severity) == (findings.UNEXAMINED_SCALING, "warning")
        assert re.search(r"with values from 0 to 6\S+ is unclear", finding.sentence)


def test_a_model_that_takes_values_from_minus_1_to_1_is_healthy(images: np.ndarray) -> None:
    model = classifier(small_base(), lambda x: preprocess((x + 1) * 127.5))
    assert not check_model(model)
    assert not check_model(model, images / 127.5 - 1)


def test_a_head_that_lags_is_warned_of() -> None:
    model = classifier(small_base(), head=keras.layers.BatchNormalization(name="head"))
    finding = only(check_model(model))
    assert (finding.name, finding.severity) == ("lagging head statistics", "warning")
    assert finding.layers == ("head",)
    assert "momentum 0.99" in finding.sentence


@pytest.mark.parametrize(
    ("optimizer", "is_wild"),
    [
        (keras.optimizers.Adam(0.1), True),
        (keras.optimizers.AdamW(0.05), True),
        (keras.optimizers.RMSprop(0.1), True),
        (keras.optimizers.Adam(0.01), False),
        (keras.optimizers.Lion(0.1), True),
        (keras.optimizers.SGD(0.1), False),
        (keras.optimizers.Adam(0.0), False),
        (keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 9)), True),
        (keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 9)), False),
    ],
)
def test_a_wild_learning_rate_is_found(optimizer: keras.Optimizer, is_wild: bool) -> None:
    model = classifier(small_base())
    model.compile(optimizer, "sparse_categorical_crossentropy")
    found = check_model(model)
    assert [finding.name for finding in found] == [findings.LEARNING_RATE] * is_wild
    for finding in found:
        exec(finding.repair, {"model": model, "keras": keras})
    assert not check_model(model)


def test_several_faults_are_reported_together() -> None:
    model = classifier(
        small_base(trainable=True), SCALINGS["[-1, 1]"], keras.layers.BatchNormalization()
    )
    assert [finding.name for finding in check_model(model)] == [
        findings.BATCH_STATISTICS_IN_FIT,
        findings.INPUT_SCALING,
        findings.LAGGING_HEAD,
    ]


def test_an_unrecognised_backbone_is_reported() -> None:
    model = keras.Sequential(
        [keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    )
    finding = only(check_model(model))
    assert finding.name == findings.UNKNOWN_BACKBONE
    assert "BatchNorm" not in finding.sentence


def test_the_batchnorm_of_an_unrecognised_flat_backbone_is_reported() -> None:
    base = unnamed_base(3)
    head = keras.layers.BatchNormalization(momentum=0.9, name="head")
    scores = keras.layers.Dense(CLASSES)(head(base.output))
    model = keras.Model(base.input, scores)
    finding = only(check_model(model))
    assert (finding.name, finding.severity) == ("unknown backbone", "warning")
    assert "moves the statistics of 3 of 3 BatchNorm layers" in finding.sentence
    assert "spoils" in finding.sentence
    assert len(finding.layers) == 3
    exec(finding.repair, {"model": model, "keras": keras})
    assert head.trainable
    fixed = only(check_model(model))
    assert "moves the statistics of 0 of 3 BatchNorm layers on feature maps." in fixed.sentence


def test_a_subclass_is_examined(images: np.ndarray) -> None:
    model = Subclassed()
    model(images)
    assert not check_model(model)
    freed(model.base)  # by hand, training=False does hold
    assert not check_model(model, images)


@pytest.mark.parametrize("build", [SubclassedOfUnnamed, Subclassed])
def test_a_subclass_is_reported_and_fixed_by_its_own_names(
    build: type[keras.Model], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subclassed, "is_by_hand", False)
    model = build()
    model(images)
    freed(model.base)
    finding = only(besides_scaling(model))
    assert finding.name == findings.BATCH_STATISTICS_IN_FIT
    own = [each for each in model.base.layers if isinstance(each, keras.layers.BatchNormalization)]
    assert finding.layers == tuple(layer.name for layer in own)
    assert "in model.base.layers" in finding.repair
    exec(finding.repair, {"model": model, "keras": keras})
    assert not any(layer.trainable for layer in own)
    assert not besides_scaling(model)


def test_a_loss_of_ones_own_does_not_matter() -> None:
    model = classifier(small_base())
    model.compile(loss=lambda truth, scores: keras.ops.mean(scores - truth))
    assert not check_model(model)


def two_inputs() -> keras.Model:
    one, other = keras.Input((SIZE, SIZE, 3)), keras.Input((SIZE, SIZE, 3))
    return keras.Model([one, other], keras.layers.Flatten()(one + other))


def two_outputs() -> keras.Model:
    inputs = keras.Input((SIZE, SIZE, 3))
    return keras.Model(inputs, [keras.layers.Flatten()(inputs), inputs])


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("model.keras", "not a str"),
        (keras.Sequential([keras.layers.Dense(2)]), "no weights yet"),
        (two_inputs(), "2 inputs"),
        (two_outputs(), "2 outputs"),
        (keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]), "RGB images"),
        (keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()]), "one row of class"),
        (
            keras.Sequential([keras.Input((8, 8, 3)), Uncopyable(keras.layers.Flatten())]),
            "cannot be copied to try it: NotImplementedError: Object Uncopyable",
        ),
    ],
)
def test_what_is_no_classifier_is_refused_in_a_sentence(model: Any, part: str) -> None:
    with pytest.raises(ModelError, match=part) as caught:
        check_model(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE, 3), (4, SIZE, SIZE), (4, SIZE, SIZE, 1)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match="at least 2"):
        check_model(classifier(small_base()), np.zeros(shape))


def test_images_that_the_model_does_not_take_are_refused() -> None:
    with pytest.raises(ModelError, match="does not run on images"):
        check_model(flat(trainable=False), np.zeros((2, 16, 16, 3)))


def test_the_documentation_lists_every_finding() -> None:
    text = (ROOT / "docs" / "your-own-model.md").read_text("utf-8")
    assert re.findall(r"^\| ([\w ]+) \|", text, re.MULTILINE)[1:] == list(findings.NAMES)
