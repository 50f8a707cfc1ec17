"""One program for many trials: each trains as if it were the only one."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from search_spaces.backbone import PretrainedBackbone, build_backbone, trained_convolutions
from search_spaces.head import DROPOUT
from search_spaces.optimizer import TransferAdam
from search_spaces.resnet50 import Configuration, ResNet50Space, compile_classifier
from tuner.features.store import FeatureStore
from tuner.storage.atomic import read_arrays, write_arrays
from tuner.storage.cache import Cache
from tuner.training import compiled as programs_module
from tuner.training import trainer as trainer_module
from tuner.training.compiled import Programs, VariableDropout, VariableL2
from tuner.training.rows import Rows
from tuner.training.state import restore_weights
from tuner.training.trainer import EpochMetrics, Trainer

CLASSES, BATCH, SIZE = 3, 16, 32
SPACE = ResNet50Space(CLASSES, SIZE, "none")
ORDER = (5, 2)

HEAD = Configuration(head_width=128, dropout=0.3, l2=1e-3, learning_rate=1e-3)
OTHER_HEAD = Configuration(head_width=128, dropout=0.5, l2=1e-5, learning_rate=1e-2)
BLOCK = dataclasses.replace(HEAD, unfreeze_blocks=1, backbone_lr_factor=0.1)
OTHER_BLOCK = dataclasses.replace(OTHER_HEAD, unfreeze_blocks=1, backbone_lr_factor=1.0)


@pytest.fixture(scope="module")
def pretrained(backbone_weights: list[np.ndarray]) -> PretrainedBackbone:
    model = build_backbone(SIZE, "none")
    model.set_weights(backbone_weights)
    return PretrainedBackbone(model)


@pytest.fixture(scope="module")
def rows(
    pretrained: PretrainedBackbone,
    digits: tuple[np.ndarray, np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[int, tuple[Rows, Rows]]:
    """Training and validation rows at two cuts, of scikit-learn's digits 0, 1 and 2."""
    x, y = digits
    chosen = np.flatnonzero(y < CLASSES)[:110]
    store = FeatureStore(pretrained.lend(0), Cache(tmp_path_factory.mktemp("cache")))
    store.stored = ()
    features = store.open(x[chosen].astype(np.uint8))
    return {
        cut: (
            Rows(features.rows(cut)[:76], y[chosen[:76]]),  # 4 x 16 + 12
            Rows(features.rows(cut)[76:], y[chosen[76:]]),
        )
        for cut in (0, 1)
    }


@pytest.fixture(scope="module")
def shared(pretrained: PretrainedBackbone) -> Programs:
    return Programs(SPACE, pretrained, BATCH)


Result = tuple[list[EpochMetrics], dict[str, np.ndarray], np.ndarray]


def train(
    trainer: Trainer, rows: tuple[Rows, Rows], epochs: int = 3
) -> tuple[list[EpochMetrics], dict[str, np.ndarray]]:
    return [trainer.run_epoch(*rows) for _ in range(epochs)], trainer.state()


def trial(
    programs: Programs,
    configuration: Configuration,
    rows: dict[int, tuple[Rows, Rows]],
    seed: int = 11,
    epochs: int = 3,
) -> Result:
    trainer = programs.trainer(configuration, seed, ORDER)
    metrics, state = train(trainer, rows[configuration.unfreeze_blocks], epochs)
    return metrics, state, trainer.predict(rows[configuration.unfreeze_blocks][1].x)


def stock(
    pretrained: PretrainedBackbone,
    configuration: Configuration,
    rows: dict[int, tuple[Rows, Rows]],
    seed: int = 11,
    class_weights: np.ndarray | None = None,
) -> tuple[list[EpochMetrics], dict[str, np.ndarray]]:
    """The same trial on a network of its own, with Keras's Dropout and L2."""
    backbone = pretrained.lend(configuration.unfreeze_blocks)
    model = SPACE.build_suffix(configuration, backbone, seed)
    compile_classifier(model, configuration)
    assert not any(isinstance(layer, VariableDropout) for layer in model.layers)
    trainer = Trainer(model, BATCH, ORDER, class_weights)
    return train(trainer, rows[configuration.unfreeze_blocks])


def assert_same(one: Result, other: Result) -> None:
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys()
    for name, array in one[1].items():
        np.testing.assert_array_equal(array, other[1][name], strict=True, err_msg=name)
    np.testing.assert_array_equal(one[2], other[2])


# Like a stock network

CONFIGURATIONS = {
    "dropout": HEAD,
    "another of that shape": OTHER_HEAD,
    "no dropout": dataclasses.replace(HEAD, dropout=0.0),
    "batchnorm": dataclasses.replace(HEAD, head_batchnorm=True),
    "two layers": dataclasses.replace(HEAD, head_layers=2),
    "two layers with batchnorm": dataclasses.replace(
        OTHER_HEAD, head_layers=2, head_batchnorm=True, learning_rate=1e-3
    ),
    "no layer": dataclasses.replace(HEAD, head_layers=0),
    "one block": BLOCK,
    "one block, another of that shape": dataclasses.replace(OTHER_BLOCK, learning_rate=1e-3),
    "one block, no dropout, batchnorm": dataclasses.replace(
        BLOCK, dropout=0.0, head_batchnorm=True
    ),
}


# It traces two graphs of its own, and the others have what it combines.
LONG = "one block, no dropout, batchnorm"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == LONG else ()) for name in CONFIGURATIONS],
)
def test_a_program_trains_bit_for_bit_as_a_stock_network_does(
    shared: Programs,
    pretrained: PretrainedBackbone,
    rows: dict[int, tuple[Rows, Rows]],
    name: str,
) -> None:
    configuration = CONFIGURATIONS[name]
    # the program has served another trial of this shape before
    shape = dataclasses.replace(configuration, dropout=0.6, l2=1e-2, learning_rate=3e-3)
    trial(shared, shape, rows, seed=99, epochs=1)
    metrics, state, _ = trial(shared, configuration, rows)
    expected, expected_state = stock(pretrained, configuration, rows)
    assert metrics == expected
    assert metrics[-1].loss < 0.9 * metrics[0].loss, "nothing was learnt: it compares nothing"
    ours = {name: array for name, array in state.items() if not name.startswith("optimizer/")}
    theirs = {
        name: array for name, array in expected_state.items() if not name.startswith("optimizer/")
    }
    if configuration.dropout == 0:  # then there is no stock layer that draws
        ours = {name: array for name, array in ours.items() if not name.startswith(DROPOUT)}
    assert ours.keys() == theirs.keys()
    for variable, array in ours.items():
        np.testing.assert_array_equal(array, theirs[variable], strict=True, err_msg=variable)


def test_class_weights_are_the_same_for_all_trials_of_a_program(
    pretrained: PretrainedBackbone, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    weights = np.array([0.2, 1.0, 3.0], np.float32)
    programs = Programs(SPACE, pretrained, BATCH, weights)
    trial(programs, OTHER_HEAD, rows, seed=99, epochs=1)
    metrics, _, _ = trial(programs, HEAD, rows)
    assert metrics == stock(pretrained, HEAD, rows, class_weights=weights)[0]
    assert metrics != stock(pretrained, HEAD, rows)[0], "the weights change nothing"
    steps = programs.trainer(HEAD, 1, ORDER)._train_steps
    assert steps.experimental_get_tracing_count() == 1


def test_the_state_fits_the_network_that_build_gives(
    shared: Programs, pretrained: PretrainedBackbone, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    _, state, probabilities = trial(shared, BLOCK, rows)
    model = SPACE.build_suffix(BLOCK, pretrained.lend(1), seed=0)
    restore_weights(model, state)
    np.testing.assert_allclose(
        model.predict(rows[1][1].x, batch_size=BATCH, verbose=0), probabilities, atol=1e-6
    )


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.6])
def test_the_masks_are_those_of_dropout(rate: float) -> None:
    x = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    ours, theirs = VariableDropout("ours"), keras.layers.Dropout(rate, seed=7)
    ours.seed_generator.state.assign([7, 0])
    ours.set_rate(rate)
    for _ in range(3):
        mine, other = np.asarray(ours(x, training=True)), np.asarray(theirs(x, training=True))
        np.testing.assert_array_equal(mine, other)
        assert abs((mine == 0).mean() - rate) < 0.05
    np.testing.assert_array_equal(ours(x, training=False), x)


def test_the_penalty_is_that_of_l2() -> None:
    kernel = np.random.default_rng(0).normal(size=(40, 30)).astype(np.float32)
    penalty = VariableL2()
    for strength in (0.0, 1e-3):
        penalty.l2.assign(strength)
        assert float(penalty(kernel)) == pytest.approx(
            float(keras.regularizers.L2(strength)(kernel)), rel=1e-6
        )


# Nothing is left behind


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(OTHER_HEAD, HEAD, id="head"),
        pytest.param(OTHER_BLOCK, BLOCK, id="block"),
        pytest.param(OTHER_BLOCK, HEAD, id="block then head", marks=pytest.mark.slow),
        pytest.param(
            dataclasses.replace(OTHER_HEAD, head_batchnorm=True),
            dataclasses.replace(HEAD, head_batchnorm=True),
            id="batchnorm",
        ),
        pytest.param(dataclasses.replace(HEAD, dropout=0.0), HEAD, id="no dropout then dropout"),
    ],
)
def test_a_trial_leaves_nothing_behind(
    pretrained: PretrainedBackbone,
    rows: dict[int, tuple[Rows, Rows]],
    first: Configuration,
    second: Configuration,
) -> None:
    alone = trial(Programs(SPACE, pretrained, BATCH), second, rows, seed=4)
    programs = Programs(SPACE, pretrained, BATCH)
    trial(programs, first, rows, seed=8)
    assert_same(trial(programs, second, rows, seed=4), alone)
    assert_same(trial(programs, second, rows, seed=4), alone)
    assert alone[0] != trial(programs, second, rows, seed=5)[0], "the seed decides nothing"


def test_the_backbone_is_set_back_for_each_trial(
    shared: Programs, pretrained: PretrainedBackbone, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    before = pretrained.lend(0).get_weights()
    trial(shared, BLOCK, rows)
    moved = [
        np.abs(new - old).max()
        for new, old in zip(pretrained.model.get_weights(), before, strict=True)
    ]
    trained = {id(v) for layer in trained_convolutions(pretrained.model, 1) for v in layer.weights}
    for variable, distance in zip(pretrained.model.weights, moved, strict=True):
        assert (distance > 0) == (id(variable) in trained), variable.path
    shared.trainer(HEAD, 1, ORDER)
    for weight, old in zip(pretrained.model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_the_batch_statistics_of_the_backbone_never_move(
    shared: Programs, pretrained: PretrainedBackbone, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    def statistics() -> list[np.ndarray]:
        layers = pretrained.model.layers
        return [
            weight
            for layer in layers
            if isinstance(layer, keras.layers.BatchNormalization)
            for weight in layer.get_weights()
        ]

    before = statistics()
    trial(shared, BLOCK, rows)
    assert len(before) == 4 * 53
    for one, other in zip(before, statistics(), strict=True):
        np.testing.assert_array_equal(one, other)


# Promotion


@pytest.mark.parametrize("configuration", [HEAD, BLOCK], ids=["head", "block"])
@pytest.mark.parametrize("batchnorm", [False, True])
def test_a_promoted_trial_goes_on_bit_for_bit(
    shared: Programs,
    rows: dict[int, tuple[Rows, Rows]],
    tmp_path: Path,
    configuration: Configuration,
    batchnorm: bool,
) -> None:
    configuration = dataclasses.replace(configuration, head_batchnorm=batchnorm)
    cut = configuration.unfreeze_blocks
    metrics, state, probabilities = trial(shared, configuration, rows, epochs=5)
    trainer = shared.trainer(configuration, 11, ORDER)
    begun, _ = train(trainer, rows[cut], 2)
    write_arrays(tmp_path / "state.npz", trainer.state())
    for other in (dataclasses.replace(OTHER_HEAD, head_batchnorm=batchnorm), BLOCK, OTHER_BLOCK):
        trial(shared, other, rows, seed=77, epochs=1)
    same_shape = dataclasses.replace(configuration, dropout=0.6, l2=1e-2, learning_rate=1e-2)
    trial(shared, same_shape, rows, seed=78, epochs=1)
    trainer = shared.trainer(configuration, 11, ORDER)
    trainer.restore(read_arrays(tmp_path / "state.npz"))
    rest, end = train(trainer, rows[cut], 3)
    assert_same(
        ([*begun, *rest], end, trainer.predict(rows[cut][1].x)), (metrics, state, probabilities)
    )


def test_a_final_state_is_a_third_and_gives_the_same_network(
    shared: Programs, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    _, state, probabilities = trial(shared, HEAD, rows)
    trainer = shared.trainer(HEAD, 11, ORDER)
    train(trainer, rows[0])
    final = trainer.state(final=True)
    assert final.keys() == {name for name in state if not name.startswith("optimizer/")}
    sizes = [sum(array.nbytes for array in arrays.values()) for arrays in (final, state)]
    assert sizes[0] < 0.34 * sizes[1]
    model = SPACE.build_suffix(HEAD, shared._backbone.lend(0), seed=3)
    restore_weights(model, final)
    np.testing.assert_allclose(
        model.predict(rows[0][1].x, batch_size=BATCH, verbose=0), probabilities, atol=1e-6
    )


# How many live


@pytest.fixture
def fresh(pretrained: PretrainedBackbone) -> Programs:
    return Programs(SPACE, pretrained, BATCH)


def begin(programs: Programs, *widths: int) -> None:
    for width in widths:
        programs.trainer(dataclasses.replace(HEAD, head_width=width), 1, ORDER)


def live_widths(programs: Programs) -> list[int]:
    return [shape[2] for shape in programs._live]


def test_one_program_serves_one_shape(fresh: Programs) -> None:
    one = fresh.trainer(HEAD, 1, ORDER)
    assert fresh.trainer(OTHER_HEAD, 2, ORDER) is one
    assert fresh.trainer(dataclasses.replace(HEAD, head_width=256), 1, ORDER) is not one
    assert fresh.trainer(dataclasses.replace(HEAD, head_batchnorm=True), 1, ORDER) is not one
    assert fresh.trainer(dataclasses.replace(HEAD, head_layers=2), 1, ORDER) is not one
    assert fresh.trainer(BLOCK, 1, ORDER) is not one
    assert fresh.trainer(HEAD, 3, ORDER) is one
    assert len(fresh._live) == 5


def test_another_batch_size_is_another_program_and_trains_in_steps_of_it(
    fresh: Programs, rows: dict[int, tuple[Rows, Rows]]
) -> None:
    one = fresh.trainer(HEAD, 1, ORDER)
    half = fresh.trainer(HEAD, 1, ORDER, BATCH // 2)
    assert half is not one
    half.run_epoch(*rows[0])
    steps = -(-len(rows[0][0].y) // (BATCH // 2))
    assert int(half.model.optimizer.iterations) == steps
    assert fresh.trainer(HEAD, 1, ORDER, BATCH) is fresh.trainer(HEAD, 1, ORDER) is one


def test_what_is_let_go_of_is_built_anew(fresh: Programs) -> None:
    one = fresh.trainer(HEAD, 1, ORDER)
    fresh.clear()
    assert not fresh._live
    assert fresh.trainer(HEAD, 1, ORDER) is not one


def test_without_a_hidden_layer_the_width_is_no_part_of_the_shape(fresh: Programs) -> None:
    one = fresh.trainer(Configuration(head_layers=0, head_width=128), 1, ORDER)
    assert fresh.trainer(Configuration(head_layers=0, head_width=2048), 1, ORDER) is one


def test_the_least_recently_used_programs_are_dropped(
    fresh: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(fresh, 128)
    size = fresh.trainer(HEAD, 1, ORDER).bytes
    assert size == pytest.approx(3 * 4 * (2048 * 128 + 128 + 128 * 3 + 3), rel=1e-3)
    monkeypatch.setattr(programs_module, "_LIMIT_BYTES", int(3.2 * size))
    released: list[None] = []
    monkeypatch.setattr(programs_module, "release_memory", lambda: released.append(None))
    begin(fresh, 127, 126)
    assert live_widths(fresh) == [128, 127, 126]
    assert not released
    begin(fresh, 128, 125)
    assert len(released) == 1
    assert live_widths(fresh) == [126, 128, 125]
    begin(fresh, 256)  # twice as large
    assert live_widths(fresh) == [125, 256]
    begin(fresh, 1024)  # alone larger than the limit
    assert live_widths(fresh) == [1024]


@pytest.fixture(autouse=True)
def undisturbed(pretrained: PretrainedBackbone) -> Iterator[None]:
    yield
    pretrained.lend(0)


def test_a_program_that_was_dropped_is_built_anew_and_trains_the_same(
    fresh: Programs, rows: dict[int, tuple[Rows, Rows]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trial(fresh, HEAD, rows)
    monkeypatch.setattr(programs_module, "_LIMIT_BYTES", 1)
    begin(fresh, 256)
    assert live_widths(fresh) == [256]
    assert_same(trial(fresh, HEAD, rows), first)


# The optimizer


@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_the_fused_step_equals_update_step(factor: float) -> None:
    """Several steps of several sizes, among them gradients of nothing but zeros."""
    random = np.random.default_rng(0)
    shapes = {"conv": (3, 3, 8, 8), "head_logits": (64, 5)}
    models = []
    for _ in range(2):
        variables = [
            keras.Variable(np.random.default_rng(1).normal(size=shape).astype("float32"), name=name)
            for name, shape in shapes.items()
        ]
        optimizer = TransferAdam(1e-2, backbone_lr_factor=factor)
        optimizer.build(variables)
        models.append((variables, optimizer))
    for step in range(8):
        gradients = [
            (random.normal(size=shape) * 10.0 ** random.integers(-6, 2)).astype("float32")
            * (random.random(shape) < 0.7)
            for shape in shapes.values()
        ]
        (ours, fused), (theirs, plain) = models
        for number, gradient in enumerate(gradients):
            tensor = keras.ops.convert_to_tensor(gradient)
            trainer_module._adam_step(fused, tensor, ours[number])
            plain.update_step(tensor, theirs[number], plain.learning_rate)
        for optimizer in (fused, plain):
            optimizer.iterations.assign_add(1)
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6, err_msg=f"step {step}")
        for one, other in zip(fused.variables, plain.variables, strict=True):
            tiny = 1e-6 * np.abs(other.numpy()).max()
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=tiny)
    moved = [
        np.abs(variable.numpy() - np.random.default_rng(1).normal(size=shape)).mean()
        for variable, shape in zip(ours, shapes.values(), strict=True)
    ]
    assert 0.5 * factor < moved[0] / moved[1] < 1.5 * factor


@pytest.mark.parametrize(
    ("configuration", "steps"),
    [
        (HEAD, 5),
        # Further on the network itself amplifies what the two round differently.
        (dataclasses.replace(BLOCK, backbone_lr_factor=1.0), 1),
        (dataclasses.replace(BLOCK, backbone_lr_factor=0.1), 1),
    ],
    ids=["head", "block", "block with a factor"],
)
def test_a_trial_with_the_fused_step_equals_one_with_update_step(
    pretrained: PretrainedBackbone,
    rows: dict[int, tuple[Rows, Rows]],
    monkeypatch: pytest.MonkeyPatch,
    configuration: Configuration,
    steps: int,
) -> None:
    whole, validation = rows[configuration.unfreeze_blocks]
    some = Rows(whole.x[: steps * BATCH], whole.y[: steps * BATCH])
    states = []
    for fused in (True, False):
        if not fused:
            monkeypatch.setattr(
                trainer_module,
                "_adam_step",
                lambda optimizer, gradient, variable: optimizer.update_step(
                    gradient, variable, optimizer.learning_rate
                ),
            )
        programs = Programs(SPACE, pretrained, BATCH)
        trainer = programs.trainer(configuration, 11, ORDER)
        trainer.run_epoch(some, validation)
        states.append(trainer.state(final=True))
    trained = any(name.startswith("conv5_block3") for name in states[0])
    assert trained == bool(configuration.unfreeze_blocks)
    for name, array in states[0].items():
        np.testing.assert_allclose(array, states[1][name], rtol=0, atol=1e-6, err_msg=name)
