"""Do the intervals hold, and is the selection bias of the best score corrected?

    python benchmarks/honesty.py --data FOLDER --weights FILE --image-size 64

Heads of a head-only search are trained on a few images, and their predictions for all others are
stored. Small validation and test sets are drawn from those with replacement, so that the true
accuracy is known: that on all of them.

coverage    How often 95 % intervals of a test set hold the truth: of a trial's accuracy (Wilson's,
            and Clopper and Pearson's, which was not taken), of its other scores, and of how much
            one trial is better than another on the same images.
luck        The validation score of the best of n trials less its true accuracy, and the same of the
            corrected score; of the two estimates that it lies between, and of one by ten folds,
            which was not taken. All trials are trained to the end, and any can win.
brackets    The same where the trials stand in Hyperband's brackets: they are stopped at rungs by
            the same images, and the best of those that reach the highest rung wins.

The error of a set that all trials share, by which it happens to be easy or hard, is taken out of
each difference: the mean error of the better trials, whose expectation is 0. That changes no bias,
and makes it known with a third of the repeats.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, progress, run_arm, scratch_folder
from honesty_trials import train

TRIALS = (10, 60, 170)
IMAGES = (72, 250, 1000)
RUNGS = (1, 3, 9)
FACTOR = 3
_DRAWS = 200


def main() -> None:
    options = _parse()
    report = Report("honesty", "Do intervals hold, and is the selection bias corrected?", options)
    pool = Pool(stored_outcomes(options))
    report.keep("accuracies", sorted(map(float, pool.right[-1].mean(axis=1))))
    random = np.random.default_rng(options.seed)
    sizes = [size for size in IMAGES if size <= options.largest]
    report.table(
        "95 % intervals that hold the truth, %",
        [coverage(pool, size, 2 * options.repeats, random) for size in sizes],
    )
    for title, finalists in (("all trials can win", everyone), ("brackets", promoted)):
        rows = []
        for trials in TRIALS:
            for size in sizes:
                rows.append(selection_bias(pool, trials, size, options.repeats, finalists, random))
                progress(f"{title}: best of {trials} on {size} images")
        report.table(f"The best validation score less the truth, points: {title}", rows)
    report.write()


def stored_outcomes(options: argparse.Namespace) -> dict[str, np.ndarray]:
    """What the trials answered: from the file of `--outcomes`, or trained and kept there."""
    if options.outcomes and options.outcomes.exists():
        with np.load(options.outcomes) as found:
            return dict(found)
    with scratch_folder(options) as scratch:
        stored: dict[str, np.ndarray] = run_arm(
            train,
            folder=str(options.data),
            weights=str(options.weights),
            image_size=options.image_size,
            training=options.train,
            trials=max(TRIALS),
            rungs=RUNGS,
            seed=options.seed,
            cache=str(scratch),
        )
    if options.outcomes:
        np.savez(options.outcomes, **stored)
    return stored


class Pool:
    """Trials and what they made of many images.

    Attributes:
        labels: shape (images,).
        right: by rung, trial and image, float32.
        losses: cross-entropies of the last rung, by trial and image.
    """

    def __init__(self, stored: dict[str, np.ndarray]) -> None:
        order = np.argsort(stored["parameters"], kind="stable")  # of equals the cheapest wins
        self.labels = stored["labels"]
        predicted = stored["predicted"][:, order]
        self.right = (predicted == self.labels).astype(np.float32)
        own = stored["probability"][-1, order].astype(np.float64)
        self.losses = -np.log(np.clip(own, 1e-7, 1))


def coverage(pool: Pool, size: int, repeats: int, random: np.random.Generator) -> dict[str, Any]:
    """How often each interval of `size` images holds the truth, in percent."""
    from scipy.stats import binomtest

    from tuner.metrics.intervals import (
        balanced_interval,
        difference_interval,
        mean_interval,
        share_interval,
    )
    from tuner.metrics.scores import balanced_accuracy

    right, labels = pool.right[-1] > 0, pool.labels
    accuracies = right.mean(axis=1)
    good = np.flatnonzero(accuracies > np.quantile(accuracies, 0.5))
    held: dict[str, list[bool]] = {}

    def note(name: str, interval: Any, truth: float) -> None:
        held.setdefault(name, []).append(bool(interval[0] <= truth <= interval[1]))

    for seed in range(repeats):
        one, other = random.choice(good, 2, replace=False)
        drawn = random.integers(0, len(labels), size)
        hits = right[one, drawn]
        exact = binomtest(int(hits.sum()), size).proportion_ci()
        note("accuracy, Wilson", share_interval(int(hits.sum()), size), accuracies[one])
        note("accuracy, Clopper-Pearson", (exact.low, exact.high), accuracies[one])
        named = np.eye(labels.max() + 1)[np.where(right[one], labels, (labels + 1) % 2)]
        truth = balanced_accuracy(named, labels)
        note("balanced accuracy", balanced_interval(hits, labels[drawn], seed), truth)
        losses = pool.losses[one]
        note("log loss", mean_interval(losses[drawn], seed), losses.mean())
        truth = accuracies[one] - accuracies[other]
        note("difference", difference_interval(hits, right[other, drawn], seed), truth)
    return {"test images": size} | {name: 100 * np.mean(hold) for name, hold in held.items()}


def everyone(scores: np.ndarray) -> np.ndarray:
    """All trials."""
    return np.arange(scores.shape[1])


def promoted(scores: np.ndarray) -> np.ndarray:
    """The trials that reach the last rung of Hyperband's brackets.

    Of 17 trials 9 begin at the first of three rungs, 5 at the second, 3 at the last.
    """
    trials = np.arange(scores.shape[1]) * 5 % 17  # which bracket: whatever the trial's place
    finalists = []
    for start, bracket in enumerate((trials < 9, (trials >= 9) & (trials < 14), trials >= 14)):
        left = np.flatnonzero(bracket)
        for rung in scores[start:-1]:
            best = np.argsort(-rung[left], kind="stable")[: max(1, len(left) // FACTOR)]
            left = np.sort(left[best])
        finalists.append(left)
    return np.sort(np.concatenate(finalists))


def selection_bias(
    pool: Pool, trials: int, size: int, repeats: int, finalists: Any, random: np.random.Generator
) -> dict[str, Any]:
    """Biases of the best score of some trials on `size` images, in points."""
    from tuner.evaluate.selection_bias import Choice, corrections

    names = ("naive", "corrected", "BBC", "optimism", "10 folds")
    errors: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        rows = np.sort(random.choice(pool.right.shape[1], trials, replace=False))
        drawn = random.integers(0, len(pool.labels), size)
        right = pool.right[:, rows][:, :, drawn]
        truth, scores = pool.right[-1, rows].mean(axis=1), right.mean(axis=2)
        better = truth >= np.quantile(truth, 0.75)
        shared = float((scores[-1] - truth)[better].mean())
        left = finalists(scores)
        last = right[-1, left]
        choice = Choice(last)
        winner = int(choice.of(np.ones((1, size), np.float32))[0])
        base = float(truth[left[winner]]) + shared
        errors["naive"].append(float(last[winner].mean()) - base)
        bbc, optimism = corrections(last, choice, _DRAWS)
        errors["BBC"].append(bbc - base)
        errors["optimism"].append(optimism - base)
        errors["corrected"].append((bbc + optimism) / 2 - base)
        errors["10 folds"].append(cross_validated(last, choice, random) - base)
    means = {name: 100 * float(np.mean(each)) for name, each in errors.items()}
    return (
        {"trials": trials, "can win": len(left), "images": size, "naive": means["naive"]}
        | {"+-": 100 * float(np.std(errors["naive"])) / repeats**0.5}
        | {f"{name} / naive": means[name] / means["naive"] for name in names[1:]}
        | {
            f"RMS {name}": 100 * float(np.sqrt(np.mean(np.square(each))))
            for name, each in errors.items()
        }
    )


def cross_validated(right: np.ndarray, choice: Any, random: np.random.Generator) -> float:
    """Twice: chosen on nine tenths of the images, scored on the rest, over all tenths."""
    size, hits = right.shape[1], []
    for _ in range(2):
        tenth = random.permutation(size) % 10
        inside = (tenth != np.arange(10)[:, np.newaxis]).astype(np.float32)
        hits.append(right[choice.of(inside)[tenth], np.arange(size)].mean())
    return float(np.mean(hits))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", default="none", help="none, imagenet, or a weights file")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--train", type=int, default=300, help="images to train on (300)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=500,
        help="sets that are drawn, for coverage twice as many (500)",
    )
    parser.add_argument("--largest", type=int, default=max(IMAGES), help="images of a set (1000)")
    parser.add_argument("--seed", type=int, default=0, help="of everything (0)")
    parser.add_argument("--outcomes", type=Path, help="file to keep the trials' answers in")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
