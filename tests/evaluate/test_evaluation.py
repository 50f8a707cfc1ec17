"""The winner's accuracies: from its own weights, once, and never from what is not there."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.small_search import COLOURS, IMAGES_PER_CLASS, small_search, tune
from tuner.data.dataset import Dataset, ImageFile
from tuner.decoding.decode import read_image
from tuner.errors import DataError, RunError
from tuner.evaluate import baselines, evaluation
from tuner.evaluate.baseline_predictions import Predictions, baseline_predictions
from tuner.evaluate.baselines import LeftOut
from tuner.evaluate.evaluation import count_correct, evaluate_winner, recorded_evaluation
from tuner.runs.checkpoint import state_file
from tuner.runs.journal import Journal
from tuner.runs.records import RungRecord, TrialRecord, trial_name
from tuner.runs.run import Run, open_run, winner_of
from tuner.settings import SearchSettings
from tuner.storage.atomic import read_arrays, write_arrays
from tuner.storage.cache import Cache
from tuner.training import networks
from tuner.training.networks import trained_model


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A copy of the finished run, which a test may spoil."""
    return open_run(small_search().copy_of_runs(tmp_path))


@pytest.fixture
def dataset(run: Run) -> Dataset:
    return run.dataset(small_search().photos)


def resized(dataset: Dataset, split: str) -> np.ndarray:
    """Each image of the split through the one resize, one after the other."""
    from search_spaces.resize import resize

    images = [read_image(dataset.root / file.path) for file in dataset.of(split)]
    return np.concatenate([np.asarray(resize(image[np.newaxis], 32)) for image in images])


def test_the_recorded_validation_accuracy_comes_back(run: Run, dataset: Dataset) -> None:
    trial = winner_of(run)
    model = trained_model(run, trial, len(dataset.classes))
    assert not model.compiled
    probabilities = np.asarray(model(resized(dataset, "validation")))
    recorded = run.journal.epochs(trial.id)[-1]["val_accuracy"]
    correct = count_correct(probabilities, dataset.labels("validation"))
    assert correct == round(recorded * len(dataset.of("validation")))


def test_every_trial_keeps_what_it_made_of_each_validation_image(
    run: Run, dataset: Dataset
) -> None:
    labels, trials = dataset.labels("validation"), run.journal.trials()
    for trial in trials:
        outcomes = run.journal.outcomes(trial.id)
        assert outcomes is not None
        recorded = run.journal.epochs(trial.id)[trial.epochs - 1]
        assert outcomes.right(labels).mean() == pytest.approx(recorded["val_accuracy"])
        losses = -np.log(np.clip(outcomes.probability.astype(np.float64), 1e-7, 1))
        assert losses.mean() == pytest.approx(recorded["val_loss"], rel=2e-3)
    assert len(trials) > 1


def test_an_evaluation_is_read_without_the_images(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recorded_evaluation(run) is None
    told = tune(
        "best", "--runs-dir", run.folder.parent, "--cache-dir", tmp_path / "cache", "--json"
    )
    assert told.exit_code == 0, told.output
    monkeypatch.setattr(evaluation, "pixels_of", None)
    monkeypatch.setattr(networks, "restore_weights", None)
    said, found = json.loads(told.stdout), json.loads(json.dumps(recorded_evaluation(run)))
    assert found["test_accuracy"] == said["test_accuracy"]
    for name in ("trial", "test_images", "luck", "opponents", "verdict", "per_class", "mistakes"):
        assert found[name] == said[name], name


def test_an_evaluation_of_fewer_epochs_is_not_taken_for_the_winners(
    tmp_path: Path, run: Run, dataset: Dataset
) -> None:
    trial = winner_of(run)
    stale = {"epochs": trial.epochs - 1, "test_correct": -1, "test_images": 1}
    run.journal.set_evaluation(trial.id, stale)
    with Cache(tmp_path / "cache") as cache:
        assert evaluate_winner(run, dataset, cache).test_accuracy >= 0
    assert run.journal.evaluation(trial.id)["epochs"] == trial.epochs


def test_weights_ahead_of_the_journal_are_not_taken_for_the_winners(
    run: Run, dataset: Dataset
) -> None:
    trial = winner_of(run)
    path = state_file(run.folder, trial.id)
    state = read_arrays(path)
    write_arrays(path, state | {"epoch": np.asarray(trial.epochs + 1)})
    with pytest.raises(RunError, match="is still in training"):
        trained_model(run, trial, len(dataset.classes))


def test_evaluated_once(
    tmp_path: Path, run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress: list[tuple[str, int, int]] = []
    with Cache(tmp_path / "cache") as cache:
        first = evaluate_winner(run, dataset, cache, lambda *counts: progress.append(counts))
    model = trained_model(run, first.trial, len(dataset.classes))
    probabilities = np.asarray(model(resized(dataset, "test")))
    correct = count_correct(probabilities, dataset.labels("test"))
    assert first.trial == winner_of(run)
    assert first.test_accuracy == correct / 9
    assert first.test_images == len(dataset.of("test")) == len(COLOURS) * IMAGES_PER_CLASS * 0.15
    assert first.validation_accuracy == first.trial.score
    assert first.majority_rate == first.validation_majority_rate == pytest.approx(1 / 3)
    # as many images of each class: the mean over the classes is that over the images
    assert first.validation_balanced_accuracy == pytest.approx(first.validation_accuracy)
    assert first.test_balanced_accuracy == pytest.approx(first.test_accuracy)
    assert ("decoding test images", 9, 9) in progress
    monkeypatch.setattr(evaluation, "trained_model", None)
    with Cache(tmp_path / "other cache") as cache:
        assert evaluate_winner(run, dataset, cache) == first


def test_baselines_predict_as_their_whole_networks_do(
    tmp_path: Path, run: Run, dataset: Dataset
) -> None:
    (recipe,) = (trial for trial in run.journal.trials() if trial.recipe)
    network = trained_model(run, recipe, len(dataset.classes))
    images = resized(dataset, "test").astype(np.uint8)
    with Cache(tmp_path / "cache") as cache:
        found, left_out = baseline_predictions(run, dataset, cache, images)
    answers = {answer.name: answer for answer in found}
    assert left_out == []
    assert [*answers] == ["plain head", "logistic regression", "majority class"]
    expected = np.asarray(network(images.astype(np.float32))).argmax(axis=1)
    assert answers["plain head"].classes.tolist() == expected.tolist()
    assert answers["plain head"].trial == recipe.id
    right = answers["logistic regression"].classes == dataset.labels("test")
    assert right.mean() > 0.8  # three colours


def another_winner(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[TrialRecord, TrialRecord]:
    """The plain head, and another trial that is the winner from now on, with its weights."""
    recipe, other = run.journal.trials()[:2]
    assert (recipe.recipe, other.recipe) == ("plain head", None)
    copied, state = state_file(run.folder, other.id), state_file(run.folder, recipe.id)
    copied.parent.mkdir(exist_ok=True)
    shutil.copyfile(state, copied)
    monkeypatch.setattr(evaluation, "winner_of", lambda _: other)
    return recipe, other


def test_a_skipped_baseline_is_named_and_evaluated_when_it_is_back(
    tmp_path: Path, run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, other = another_winner(run, monkeypatch)
    weights, away = state_file(run.folder, recipe.id), tmp_path / "away.npz"
    weights.rename(away)
    photos = Path(shutil.copytree(dataset.root, tmp_path / "photos"))
    gone = photos / dataset.of("train")[0].path
    gone.unlink()
    moved = replace(dataset, root=photos)
    with Cache(tmp_path / "cache") as cache:
        first = evaluate_winner(run, moved, cache)
        assert {each.name: each.may_return for each in first.left_out} == {
            "plain head": True,
            "logistic regression": True,
        }
        assert "are gone" in first.left_out[0].reason
        assert gone.name in first.left_out[1].reason
        assert [each.name for each in first.baselines] == ["majority class"]
        assert "was skipped" in first.verdict
        assert evaluate_winner(run, moved, cache) == first  # still gone: nothing is opened
        shutil.copyfile(dataset.root / dataset.of("train")[0].path, gone)
        away.rename(weights)
        again = evaluate_winner(run, moved, cache)
        assert evaluate_winner(run, moved, cache) == again
    assert [each.name for each in again.baselines] == [
        "plain head",
        "logistic regression",
        "majority class",
    ]
    assert again.left_out == ()
    assert again.trial == other
    assert len(again.accesses) == 2
    assert again.test_accuracy == first.test_accuracy


def test_the_simple_choice_is_evaluated_with_the_winner_in_one_access(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    simple, best = another_winner(run, monkeypatch)  # of equals in cost the first is the simplest
    places = ("--runs-dir", run.folder.parent, "--cache-dir", tmp_path / "cache")
    shown = [tune("best", *places, *more) for more in (["--prefer", "simple"], [])]
    assert [each.exit_code for each in shown] == [0, 0]
    assert [
        f"Winner: trial {trial_name(trial.id)}" in each.stdout
        for trial, each in zip((simple, best), shown, strict=True)
    ] == [True, True]
    assert ["which chose it" in each.stdout for each in shown] == [False, True]
    row, of_best = (
        json.loads(tune("best", *places, "--json", "--prefer", prefer).stdout)
        for prefer in ("simple", "best")
    )
    assert (row["trial"], row["preferred"]) == (trial_name(simple.id), "simple")
    assert row["validation_accuracy"] == run.journal.epochs(simple.id)[-1]["val_accuracy"]
    assert "plain head" not in {each["name"] for each in row["opponents"]}  # it is that itself
    assert of_best["trial"] == trial_name(best.id)
    assert "plain head" in {each["name"] for each in of_best["opponents"]}
    assert len(row["looks"]) == len(of_best["looks"]) == 1


def test_baselines_of_an_earlier_evaluation_stay() -> None:
    """One baseline is back and another has gone since."""
    files = [ImageFile(f"{n}.png", "ab"[n % 2], "test", f"{n}") for n in range(4)]
    dataset, right = Dataset(Path(), ("a", "b"), tuple(files)), np.array([True, True, False, True])
    trial = TrialRecord(3, None, 0, 0, {}, "COMPLETED", 5, None, (RungRecord(0, 1, 0.5, 1.0),))
    before = [
        baselines.compare("plain head", right, right, 0),
        baselines.compare("the simple choice", right, right, 2),
    ]
    left_out = [LeftOut("plain head", "gone."), LeftOut("logistic regression", "gone.")]
    results = evaluation._result(
        trial,
        np.eye(2)[[0, 1, 0, 0]],
        dataset,
        [Predictions("majority class", np.zeros(4, int))],
        left_out,
        [each.to_json() for each in before],
    )
    assert [row["name"] for row in results["opponents"]] == ["plain head", "majority class"]
    assert [row["name"] for row in results["left_out"]] == ["logistic regression"]


def test_a_baseline_with_the_weights_of_another_network_is_left_out(
    tmp_path: Path, run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, _ = another_winner(run, monkeypatch)
    path = state_file(run.folder, recipe.id)
    kept = ("epoch", "checkpoint")
    write_arrays(path, {name: array for name, array in read_arrays(path).items() if name in kept})
    with Cache(tmp_path / "cache") as cache:
        (found,) = evaluate_winner(run, dataset, cache).left_out
        assert evaluate_winner(run, dataset, cache).left_out == (found,)
    assert found.name == "plain head"
    assert "belong to another network" in found.reason
    assert not found.may_return
    assert len(run.journal.evaluation_log()) == 1


def test_the_winner_is_the_best_of_the_highest_rung(tmp_path: Path) -> None:
    with_scores = {"max": (0.5, 0.9, 0.7), "min": (0.9, 0.5, 0.7)}
    for objective, direction in (("val_accuracy", "max"), ("val_loss", "min")):
        journal = Journal.create(tmp_path / f"{direction}.db")
        for score in with_scores[direction]:
            trial = journal.begin_trial({}, slot=(0, 0)).id
            journal.finish_rung(trial, RungRecord(0, 1, score, 1.0), [{}], completed=True)
        run = Run(tmp_path, SearchSettings(objective=objective))
        run.__dict__["journal"] = journal
        assert winner_of(run).id == 1


@pytest.mark.parametrize("begun", [0, 2])
def test_no_trial_has_finished(tmp_path: Path, begun: int) -> None:
    run = Run(tmp_path / "first", SearchSettings())
    run.__dict__["journal"] = Journal.create(tmp_path / "journal.db")
    for _ in range(begun):
        run.journal.begin_trial({}, slot=(0, 0))
    with pytest.raises(RunError, match=r"no trial of run first has finished yet\. Wait for it"):
        winner_of(run)
    if begun:
        run.journal.fail(0, "it broke.")
        with pytest.raises(RunError, match="has finished yet"):
            winner_of(run)
        run.journal.fail(1, "it broke.")
        with pytest.raises(RunError, match=r"every trial of run first failed, .*: it broke\.$"):
            winner_of(run)


def test_weights_that_are_gone(run: Run, dataset: Dataset) -> None:
    winner = winner_of(run)
    state_file(run.folder, winner.id).unlink()
    with pytest.raises(RunError, match=f"weights of trial {winner.id:04d} are gone"):
        trained_model(run, winner, len(dataset.classes))


@pytest.mark.parametrize("change", ["empty", "cut", "text", "flipped", "pickled"])
def test_weights_that_are_damaged(run: Run, dataset: Dataset, change: str) -> None:
    winner = winner_of(run)
    path = state_file(run.folder, winner.id)
    data = path.read_bytes()
    middle = len(data) // 2
    spoiled = {
        "empty": b"",
        "cut": data[:middle],
        "text": b"no arrays at all",
        "flipped": data[:middle]
        + bytes(255 - b for b in data[middle : middle + 99])
        + data[middle + 99 :],
    }
    if change == "pickled":
        with path.open("wb") as file:
            np.save(file, np.array([{}], object), allow_pickle=True)
    else:
        path.write_bytes(spoiled[change])
    with pytest.raises(RunError, match=r"state\.npz is damaged"):
        trained_model(run, winner, len(dataset.classes))


def test_weights_of_another_network(run: Run, dataset: Dataset) -> None:
    winner = winner_of(run)
    path = state_file(run.folder, winner.id)
    kept = ("epoch", "checkpoint")
    write_arrays(path, {name: array for name, array in read_arrays(path).items() if name in kept})
    with pytest.raises(RunError, match="belong to another network"):
        trained_model(run, winner, len(dataset.classes))


def test_test_images_with_a_copy_in_training_are_told(
    tmp_path: Path, run: Run, dataset: Dataset
) -> None:
    copied = dataset.of("test")[:4]
    group = dataset.of("train")[0].group
    files = [replace(file, group=group) if file in copied else file for file in dataset.files]
    leaky = replace(dataset, files=tuple(files))
    with Cache(tmp_path / "cache") as cache:
        found = evaluate_winner(run, leaky, cache).leaked
        assert evaluate_winner(run, dataset, cache).leaked.sentence is None
    assert (found.images, found.training, found.validation) == (4, 4, 0)
    wrong = {
        row["path"] for row in run.journal.evaluation(winner_of(run).id)["details"]["mistakes"]
    }
    others = {file.path for file in dataset.of("test")[4:]}
    assert found.accuracy == 1 - len(wrong & others) / 5


def test_a_test_image_that_changed(tmp_path: Path, run: Run, dataset: Dataset) -> None:
    root = tmp_path / "photos"
    for file in dataset.of("test"):
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        (root / file.path).write_bytes((dataset.root / file.path).read_bytes() + b"\0")
    changed = Dataset(root, dataset.classes, dataset.files)
    with Cache(tmp_path / "cache") as cache, pytest.raises(DataError, match="has changed since"):
        evaluate_winner(run, changed, cache)
    assert run.journal.evaluation(winner_of(run).id) is None


def test_count_correct() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    assert count_correct(probabilities, np.array([0, 0, 0])) == 2
    assert count_correct(probabilities, np.array([0, 1, 1])) == 2


def test_a_space_of_ones_own(run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    space, seen = StubSpace(), []
    monkeypatch.setattr(networks, "load_space", lambda *_: space)
    monkeypatch.setattr(networks, "restore_weights", lambda model, _: seen.append(model))
    winner = winner_of(run)
    assert trained_model(run, winner, 3) is seen[0]
    assert seen[0] == json.loads(json.dumps(winner.hyperparameters))


class StubSpace:
    """Builds its hyperparameters instead of a network."""

    def build(self, hyperparameters: Any) -> Any:
        return hyperparameters.values
