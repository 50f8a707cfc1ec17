"""Every bound of the settings, their file, and what --fix takes."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import RunError, SettingsError
from tuner.metrics.objective import OBJECTIVES
from tuner.settings import AUGMENTATIONS, SCHEMA_VERSION, SearchSettings, parse_fixed

LEAST = {
    "image_size": 32,
    "batch_size": 1,
    "max_epochs": 1,
    "factor": 2,
    "iterations": 1,
    "seed": 0,
    "split_seed": 0,
    "views": 1,
}


@pytest.mark.parametrize(("name", "least"), LEAST.items())
def test_the_least_value_is_taken_and_one_below_is_not(name: str, least: int) -> None:
    assert getattr(SearchSettings(**{name: least}), name) == least
    option = f"--{name.replace('_', '-')}"
    with pytest.raises(SettingsError) as raised:
        SearchSettings(**{name: least - 1})
    assert str(raised.value) == f"{option} must be at least {least}, but is {least - 1}."


def test_there_may_be_no_test() -> None:
    assert SearchSettings(test_fraction=0).test_fraction == 0
    with pytest.raises(SettingsError, match="--val-fraction must be between 0 and 1, but is 0"):
        SearchSettings(val_fraction=0)


@pytest.mark.parametrize("name", ["val_fraction", "test_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5, float("nan"), float("inf")])
def test_a_fraction_is_strictly_between_0_and_1(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"--{name.replace('_', '-')} must be between 0 and 1"):
        SearchSettings(**{name: value})


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.9, 0.2)])
def test_something_is_left_to_train_on(val: float, test: float) -> None:
    with pytest.raises(SettingsError, match="leave something to train on"):
        SearchSettings(val_fraction=val, test_fraction=test)


def test_the_largest_fractions_that_leave_something() -> None:
    assert SearchSettings(val_fraction=0.5, test_fraction=0.49).val_fraction == 0.5


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_objectives(objective: str) -> None:
    assert SearchSettings(objective=objective).objective == objective


def test_an_unknown_objective_lists_the_choices() -> None:
    with pytest.raises(
        SettingsError, match="one of val_accuracy, val_balanced_accuracy, val_loss, but"
    ):
        SearchSettings(objective="accuracy")


def test_unknown_class_weights_list_the_choices() -> None:
    with pytest.raises(SettingsError, match="--class-weights must be one of none, balanced, but"):
        SearchSettings(class_weights="uniform")


def test_a_file_from_before_class_weights_has_none(tmp_path: Path) -> None:
    document = json.loads(SearchSettings(class_weights="balanced").to_json())
    del document["class_weights"]
    (tmp_path / "settings.json").write_text(json.dumps(document), "utf-8")
    assert SearchSettings.load(tmp_path / "settings.json").class_weights == "none"


@pytest.mark.parametrize("augment", AUGMENTATIONS[1:])
def test_augmentation_and_views_go_together(augment: str) -> None:
    assert SearchSettings(augment=augment, views=2).augment == augment
    with pytest.raises(SettingsError, match=f"--views needs --augment, .* {augment} and 1"):
        SearchSettings(augment=augment)
    with pytest.raises(SettingsError, match=r"--views needs --augment, .* none and 2"):
        SearchSettings(views=2)


def test_flip_has_two_views() -> None:
    with pytest.raises(SettingsError, match="only 2 different --views"):
        SearchSettings(augment="flip", views=3)


def test_an_unknown_augmentation_lists_the_choices() -> None:
    with pytest.raises(SettingsError, match="one of none, flip, light, strong, but is mirror"):
        SearchSettings(augment="mirror", views=2)


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_time_budget_is_more_than_nothing(seconds: float) -> None:
    assert SearchSettings(time_budget_seconds=0.5).time_budget_seconds == 0.5
    with pytest.raises(SettingsError, match=r"--time-budget must be above 0 s, but is "):
        SearchSettings(time_budget_seconds=seconds)


CHANGES: dict[str, tuple[Any, Any, str]] = {
    "data": (None, "/photos", "DATA was digits, not /photos"),
    "space": ("resnet50", "own:Space", "--space was resnet50, not own:Space"),
    "fixed": ({}, {"l2": "0", "dropout": "0"}, "--fix was nothing, not l2=0 dropout=0"),
    "weights": ("imagenet", "/a.h5", "--weights was imagenet, not /a.h5"),
    "image_size": (224, 64, "--image-size was 224, not 64"),
    "crop": (False, True, "--crop was off, not on"),
    "batch_size": (32, 16, "--batch-size was 32, not 16"),
    "max_epochs": (30, 10, "--max-epochs was 30, not 10"),
    "factor": (3, 2, "--factor was 3, not 2"),
    "iterations": (2, 1, "--iterations was 2, not 1"),
    "objective": ("val_accuracy", "val_loss", "--objective was val_accuracy, not val_loss"),
    "seed": (0, 1, "--seed was 0, not 1"),
    "val_fraction": (0.15, 0.2, "--val-fraction was 0.15, not 0.2"),
    "test_fraction": (0.15, 0.2, "--test-fraction was 0.15, not 0.2"),
    "split_seed": (0, 1, "--split-seed was 0, not 1"),
    "drop_leaks": (False, True, "--drop-leaks was off, not on"),
    "keep_conflicts": (True, False, "--keep-conflicts was on, not off"),
    "class_level": (None, "2", "--class-level was nothing, not 2"),
    "path_column": (None, "file", "--path-column was nothing, not file"),
    "label_column": ("2", "3", "--label-column was 2, not 3"),
    "split_column": ("set", None, "--split-column was set, not nothing"),
    "group_by": (None, "variants", "--group-by was nothing, not variants"),
    "near_duplicates": ("group", "warn", "--near-duplicates was group, not warn"),
    "augment": ("light", "strong", "--augment was light, not strong"),
    "views": (2, 3, "--views was 2, not 3"),
    "class_weights": ("none", "balanced", "--class-weights was none, not balanced"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_difference_is_named(name: str) -> None:
    before, after, expected = CHANGES[name]
    other = {"views": 2} if name == "augment" else {"augment": "light"} if name == "views" else {}
    one, two = (SearchSettings(**{name: value}, **other) for value in (before, after))
    assert one.differences(two) == [expected]
    assert one.differences(one) == two.differences(two) == []


def test_every_field_but_the_budget_is_compared() -> None:
    fields = {field.name for field in dataclasses.fields(SearchSettings)}
    assert CHANGES.keys() == fields - {"time_budget_seconds"}


def test_all_differences_are_named() -> None:
    other = SearchSettings(seed=1, image_size=64, objective="val_loss")
    assert len(SearchSettings().differences(other)) == 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"time_budget_seconds": 60.0}, {"time_budget_seconds": None}),
        ({"data": "/photos"}, {"data": "/moved/photos"}),
        ({"weights": "/a.h5"}, {"weights": "/moved/a.h5"}),
    ],
)
def test_what_may_change_is_no_difference(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert SearchSettings(**one).differences(SearchSettings(**other)) == []


@pytest.mark.parametrize("other", ["imagenet", "none"])
def test_a_weights_file_is_not_the_same_as_a_named_choice(other: str) -> None:
    differences = SearchSettings(weights="/a.h5").differences(SearchSettings(weights=other))
    assert differences == [f"--weights was /a.h5, not {other}"]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SearchSettings().seed = 1  # type: ignore[misc]


@given(
    data=st.none() | st.text(),
    fixed=st.dictionaries(st.text(), st.text()),
    seed=st.integers(0, 2**64),
    val_fraction=st.floats(0.001, 0.5),
    objective=st.sampled_from(OBJECTIVES),
    time_budget_seconds=st.none() | st.floats(0.1, 1e9),
)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, **values: Any) -> None:
    settings = SearchSettings(**values)
    path = tmp_path_factory.getbasetemp() / "settings.json"
    path.write_text(settings.to_json(), "utf-8")
    assert SearchSettings.load(path) == settings


def test_the_file_carries_the_schema_and_every_field() -> None:
    document = json.loads(SearchSettings().to_json())
    assert document.pop("schema") == SCHEMA_VERSION
    assert document == dataclasses.asdict(SearchSettings())


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    document = json.loads(SearchSettings().to_json()) | {"schema": SCHEMA_VERSION + 1, "new": 1}
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(RunError, match=r"written by a newer version .* Upgrade"):
        SearchSettings.load(path)


@pytest.mark.parametrize("text", ["", "{", '{"data": null}', "null", '"text"', "3"])
def test_a_damaged_file_is_a_run_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text, "utf-8")
    with pytest.raises(RunError, match="cannot be read"):
        SearchSettings.load(path)


@pytest.mark.parametrize("text", ["[]", "[1]", '{"schema": null}', '{"schema": 1, "unknown": 2}'])
def test_another_document_is_a_run_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text, "utf-8")
    with pytest.raises(RunError):
        SearchSettings.load(path)


def test_a_missing_file_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be read"):
        SearchSettings.load(tmp_path / "settings.json")


def test_parse_fixed() -> None:
    assert parse_fixed([]) == {}
    assert parse_fixed(["unfreeze_blocks=0", "l2=1e-4"]) == {"unfreeze_blocks": "0", "l2": "1e-4"}
    assert parse_fixed(["name=a=b"]) == {"name": "a=b"}


@pytest.mark.parametrize("pair", ["", "dropout", "=0.5", "dropout=", "="])
def test_fix_takes_name_and_value(pair: str) -> None:
    with pytest.raises(SettingsError, match="--fix takes name=value") as raised:
        parse_fixed(["l2=1e-4", pair])
    assert repr(pair) in str(raised.value)


def test_a_name_is_fixed_once() -> None:
    with pytest.raises(SettingsError, match="--fix dropout is given twice"):
        parse_fixed(["dropout=0.1", "dropout=0.1"])
