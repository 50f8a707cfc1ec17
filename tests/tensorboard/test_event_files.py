"""Event files as TensorBoard reads them."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

from tests.support.hparams_page import scalars
from tuner.tensorboard.event_files import add, replace
from tuner.tensorboard.event_files import scalars as points


def curve(folder: Path) -> list[tuple[int, float]]:
    return scalars(folder)["accuracy"]


def test_what_is_added_comes_after_what_was_there(tmp_path: Path) -> None:
    replace(tmp_path / "0000", [points({"accuracy": 0.25, "loss": 2.0}, 1, 10.0)])
    add(tmp_path / "0000", [points({"accuracy": 0.5}, 2, 20.0), points({"accuracy": 1.0}, 3, 30.0)])
    assert curve(tmp_path / "0000") == [(1, 0.25), (2, 0.5), (3, 1.0)]
    assert scalars(tmp_path / "0000")["loss"] == [(1, 2.0)]


def test_a_file_that_ends_anywhere_is_read_up_to_there(tmp_path: Path) -> None:
    replace(tmp_path, [points({"accuracy": 0.5}, step, 0.0) for step in (1, 2, 3)])
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    lengths = set()
    for size in range(len(data) - 60, len(data)):
        file.write_bytes(data[:size])
        lengths.add(len(curve(tmp_path)))
    assert lengths == {1, 2}


def test_replacing_leaves_one_file_and_no_old_point(tmp_path: Path) -> None:
    replace(tmp_path, [points({"accuracy": 0.25}, 1, 0.0)])
    (tmp_path / ".000001.99").write_bytes(b"of a killed process")
    replace(tmp_path, [points({"accuracy": 0.5}, 1, 0.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["events.out.tfevents.000001"]
    assert curve(tmp_path) == [(1, 0.5)]


def test_who_reads_already_forgets_what_was_replaced(tmp_path: Path) -> None:
    replace(tmp_path, [points({"accuracy": 0.25}, step, 0.0) for step in (1, 2)])
    reader = EventAccumulator(str(tmp_path)).Reload()
    assert len(reader.Tensors("accuracy")) == 2
    replace(tmp_path, [points({"accuracy": 0.5}, 1, 0.0)])
    add(tmp_path, [points({"accuracy": 0.75}, 2, 0.0)])
    found = [
        (event.step, event.tensor_proto.float_val[0])
        for event in reader.Reload().Tensors("accuracy")
    ]
    assert found == [(1, 0.5), (2, 0.75)]


def test_nothing_is_added_to_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        add(tmp_path / "gone", [points({"accuracy": 0.25}, 1, 0.0)])
