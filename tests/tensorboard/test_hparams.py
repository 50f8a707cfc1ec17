"""Domains as the HParams page reads them."""

from pathlib import Path
from typing import Any

import keras_tuner
import pytest
from tensorboard.plugins.hparams import api, api_pb2

from search_spaces.resnet50 import HEAD_WIDTHS, ResNet50Space
from tests.support.hparams_page import declared
from tuner.tensorboard.event_files import replace
from tuner.tensorboard.hparams import Searched, experiment, joined


def page(folder: Path, *searches: Searched) -> dict[str, Any]:
    replace(folder, [experiment(searches, 1.0)])
    return declared(folder)


def resnet50(**pinned: Any) -> Searched:
    space = keras_tuner.HyperParameters()
    ResNet50Space(num_classes=3).declare_hyperparameters(space)
    return Searched(space, pinned, "val_accuracy")


def numbers(info: Any) -> list[float]:
    return [value.number_value for value in info.domain_discrete.values]


def test_the_space_of_this_program(tmp_path: Path) -> None:
    found = page(tmp_path, resnet50())
    assert len(found) == 8
    width, rate = found["head_width"], found["learning_rate"]
    assert width.type == api_pb2.DATA_TYPE_FLOAT64
    assert numbers(width) == HEAD_WIDTHS
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value) == (1e-5, 1e-2)
    assert rate.display_name == "learning_rate (log scale)"
    assert found["dropout"].display_name == ""
    assert found["head_batchnorm"].type == api_pb2.DATA_TYPE_BOOL
    always = {"unfreeze_blocks", "head_layers", "dropout", "l2", "learning_rate"}
    assert {name for name, info in found.items() if info.differs} == always


def test_whole_numbers_stay_whole_and_texts_texts(tmp_path: Path) -> None:
    space = keras_tuner.HyperParameters()
    space.Int("units", 8, 512, sampling="log")
    space.Int("layers", 1, 4)
    space.Choice("activation", ["relu", "gelu"])
    space.Fixed("kernel", 3)
    found = page(tmp_path, Searched(space, {}, "val_loss"))
    units = found["units"]
    assert (units.domain_interval.min_value, units.domain_interval.max_value) == (8, 512)
    assert units.display_name == "units (log scale)"
    assert found["layers"].display_name == ""
    texts = [value.string_value for value in found["activation"].domain_discrete.values]
    assert (sorted(texts), found["activation"].type) == (
        ["gelu", "relu"],
        api_pb2.DATA_TYPE_STRING,
    )
    assert numbers(found["kernel"]) == [3]


def test_what_is_pinned_has_one_value_and_what_it_switches_off_is_not_there(tmp_path: Path) -> None:
    found = page(tmp_path, resnet50(unfreeze_blocks=0, learning_rate=0.001))
    assert numbers(found["unfreeze_blocks"]) == [0]
    assert numbers(found["learning_rate"]) == [0.001]
    assert "backbone_lr_factor" not in found
    assert "head_width" in found


def test_domains_of_several_searches_are_joined(tmp_path: Path) -> None:
    found = page(tmp_path, resnet50(unfreeze_blocks=0, dropout=0.9), resnet50(unfreeze_blocks=3))
    assert numbers(found["unfreeze_blocks"]) == [0, 3]
    assert "backbone_lr_factor" in found
    assert found["dropout"].domain_interval.max_value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (api.IntInterval(1, 3), api.IntInterval(2, 5), "[1, 5]"),
        (api.IntInterval(1, 3), api.RealInterval(0.5, 2.0), "[0.5, 3.0]"),
        (api.RealInterval(1.0, 2.0), api.Discrete([4.0]), "[1.0, 4.0]"),
        (api.Discrete(["a"]), api.Discrete(["a", "b"]), "{'a', 'b'}"),
        (api.Discrete(["a"]), api.Discrete([1]), "None"),
        (api.Discrete(["a"]), api.IntInterval(1, 2), "None"),
    ],
)
def test_joined(one: api.Domain, other: api.Domain, expected: str) -> None:
    assert str(joined(one, other)) == expected
