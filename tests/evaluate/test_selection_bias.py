"""Selection bias: known where all trials are equally good, and removed from the score."""

from pathlib import Path

import numpy as np
import pytest

from tuner.evaluate.selection_bias import Choice, corrected_accuracy, corrections, selection_bias_of
from tuner.runs.journal import Journal
from tuner.runs.outcomes import Outcomes
from tuner.runs.records import RungRecord


def ones(images: int) -> np.ndarray:
    return np.ones((1, images), np.float32)


def test_a_choice_by_images_by_classes_and_of_the_simplest() -> None:
    values = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 0, 1]])
    labels = np.array([0, 0, 0, 1])
    assert Choice(values).of(ones(4)).tolist() == [0]  # of equals the first
    assert Choice(values, labels).of(ones(4)).tolist() == [1]
    counts = np.array([[0, 0, 0, 3], [2, 0, 2, 0], [0, 1, 0, 0]])
    assert Choice(values).of(counts).tolist() == [1, 0, 0]
    poorer = np.array([[1, 1, 0, 0], [1, 1, 1, 0]])
    assert Choice(poorer).of(ones(4)).tolist() == [1]
    assert Choice(poorer, slack=0.25, costs=[1, 2]).of(ones(4)).tolist() == [0]
    assert Choice(poorer, slack=0.25, costs=[2, 2]).of(ones(4)).tolist() == [1]
    assert Choice(poorer, slack=0.2, costs=[1, 2]).of(ones(4)).tolist() == [1]
    assert Choice(values, costs=[3, 2, 2]).of(ones(4)).tolist() == [1]


def test_a_class_that_a_resample_lacks_does_not_count() -> None:
    values, labels = np.array([[1, 0, 0], [0, 1, 1]]), np.array([0, 1, 1])
    assert Choice(values, labels).of(np.array([[1, 0, 0], [0, 2, 0]])).tolist() == [0, 1]


@pytest.mark.parametrize("trials", [1, 40])
def test_the_luck_of_trials_that_are_equally_good_is_taken_out(trials: int) -> None:
    random = np.random.default_rng(0)
    naive, corrected = [], []
    for _ in range(60):
        right = (random.random((trials, 150)) < 0.7).astype(np.float32)
        choice = Choice(right)
        naive.append(right[choice.of(ones(150))[0]].mean() - 0.7)
        corrected.append(corrected_accuracy(right, choice, draws=100) - 0.7)
    if trials == 1:
        assert naive == pytest.approx(corrected, abs=1e-6)
    else:
        assert np.mean(naive) > 0.05
        assert abs(np.mean(corrected)) < np.mean(naive) / 4


def test_a_winner_without_rivals_has_no_bias() -> None:
    """Whatever the draws: what they say of the winner itself is taken off."""
    random = np.random.default_rng(2)
    right = random.random((3, 72)) < np.array([[0.95], [0.4], [0.4]])
    choice = Choice(right.astype(np.float32))
    assert corrections(right.astype(np.float32), choice) == pytest.approx([right[0].mean()] * 2)


def journal_of(folder: Path, rights: np.ndarray, keep: bool = True) -> Journal:
    """A search whose trials name so the images that are all of class 0."""
    journal = Journal.create(folder / "journal.db")
    for number, right in enumerate(rights):
        journal.begin_trial({}, slot=(0, 0))
        journal.set_parameters(number, 10 * (number + 1))
        sure = np.where(right, 0.9, 0.1)
        made = Outcomes.of(np.stack([sure, 1 - sure], axis=1), np.zeros(len(right), int))
        rung = RungRecord(0, 1, float(right.mean()), 1.0)
        journal.finish_rung(number, rung, [{}], outcomes=made if keep else None, completed=True)
    return journal


def test_the_luck_of_a_search(tmp_path: Path) -> None:
    rights = np.random.default_rng(1).random((30, 80)) < 0.6
    journal, labels = journal_of(tmp_path, rights), np.zeros(80, np.int32)
    bias = selection_bias_of(journal, labels, "val_accuracy", "best")
    assert bias is not None
    assert (bias.trials, bias.validation) == (
        30,
        pytest.approx(rights.mean(axis=1).max()),
    )
    assert bias.corrected < bias.validation - 0.03
    assert bias.to_json()["flattery"] == pytest.approx(bias.validation - bias.corrected)
    assert selection_bias_of(journal, labels, "val_accuracy", "best") == bias
    # Every second trial would be near enough to the best: the first has fewest scalars.
    simple = selection_bias_of(journal, labels, "val_accuracy", "simple")
    assert simple is not None
    assert simple.validation <= bias.validation
    by_loss = selection_bias_of(journal, labels, "val_loss", "best")
    assert by_loss is not None
    assert by_loss.validation == bias.validation  # these probabilities say the same


def test_without_outcomes_the_luck_is_not_known(tmp_path: Path) -> None:
    rights = np.ones((2, 5), bool)
    journal = journal_of(tmp_path, rights, keep=False)
    assert selection_bias_of(journal, np.zeros(5, np.int32), "val_accuracy", "best") is None
