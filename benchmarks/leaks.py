"""How many copies of a picture straddle a split, and how much do they flatter a score?

    python benchmarks/leaks.py --data FOLDER --weights FILE --image-size 64

A tenth of a folder's images are copied under another name: as they are, recompressed, or resized.
Then the folder is split twice with the same shares, over several seeds: by scikit-learn's
stratified split, which knows labels alone, and by ours. A linear head on the pooled features (ridge
regression, since it is exact and quick) is trained on each training part and scored on its
validation part, once on all of it and once without the images whose copy it was trained on.
"""

import argparse
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, progress, run_arm, scratch_folder
from PIL import Image

SHARE = 0.1
Copy = tuple[str, str]


def main() -> None:
    options = _parse()
    report = Report("leaks", "How many copies straddle a split, and what does that do?", options)
    with scratch_folder(options) as scratch:
        copies = copy_some(options.data, scratch / "images")
        progress(f"{len(copies)} copies")
        found = run_arm(
            measure,
            folder=str(scratch / "images"),
            copies=copies,
            weights=str(options.weights),
            image_size=options.image_size,
            seeds=options.seeds,
            cache=str(scratch / "cache"),
        )
    report.table("Copies on two sides of the split, and the score of one head", found)
    report.write()


def copy_some(data: Path, folder: Path) -> list[Copy]:
    """Copies a folder, and a tenth of its images once more; the pairs of paths."""
    shutil.copytree(data, folder)
    random = np.random.default_rng(0)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = random.choice(len(paths), round(SHARE * len(paths)), replace=False)
    made = [_as_it_is, _recompressed, _resized]
    copies = []
    for number, place in enumerate(sorted(chosen)):
        path = paths[place]
        copy = path.with_name(f"{random.integers(10**9):09}.jpg")
        made[number % 3](path, copy)
        copies.append(tuple(str(each.relative_to(folder)) for each in (path, copy)))
    return copies  # type: ignore[return-value]


def _as_it_is(path: Path, copy: Path) -> None:
    shutil.copy(path, copy)


def _recompressed(path: Path, copy: Path) -> None:
    Image.open(path).convert("RGB").save(copy, quality=50)


def _resized(path: Path, copy: Path) -> None:
    image = Image.open(path).convert("RGB")
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(copy, quality=90)


def measure(
    folder: str, copies: list[Copy], weights: str, image_size: int, seeds: int, cache: str
) -> list[dict[str, Any]]:
    """An arm: both splits over all seeds."""
    from tuner.data.dataset import SplitOptions, split_survey
    from tuner.data.survey import survey
    from tuner.storage.cache import Cache

    with Cache(Path(cache)) as opened:
        found = survey(Path(folder), opened)
        paths = [picture.path for picture in found.pictures]
        labels = np.array([found.classes.index(picture.label) for picture in found.pictures])
        features = pooled(Path(folder), paths, weights, image_size, opened)

    def plain(seed: int) -> dict[str, str]:
        from sklearn.model_selection import train_test_split

        numbers = np.arange(len(paths))
        rest, test = train_test_split(numbers, test_size=0.15, stratify=labels, random_state=seed)
        _, validation = train_test_split(
            rest, test_size=0.15 / 0.85, stratify=labels[rest], random_state=seed
        )
        splits = dict.fromkeys(paths, "train")
        splits |= {paths[number]: "test" for number in test}
        return splits | {paths[number]: "validation" for number in validation}

    def ours(seed: int) -> dict[str, str]:
        dataset = split_survey(found, SplitOptions(split_seed=seed))
        return {file.path: file.split for file in dataset.files}

    rows = [
        _row("scikit-learn, stratified", plain, paths, labels, features, copies, seeds),
        _row("ours", ours, paths, labels, features, copies, seeds),
    ]
    for row in rows:
        row["images"], row["copies"] = len(paths), len(copies)
    return rows


def _row(
    name: str,
    split: Callable[[int], dict[str, str]],
    paths: list[str],
    labels: np.ndarray,
    features: np.ndarray,
    copies: list[Copy],
    seeds: int,
) -> dict[str, Any]:
    from sklearn.linear_model import RidgeClassifier
    from sklearn.preprocessing import StandardScaler

    straddling, whole, without = [], [], []
    other = dict(copies) | {copy: path for path, copy in copies}
    for seed in range(seeds):
        splits = split(seed)
        straddling.append(
            sum(splits.get(one) != splits.get(two) for one, two in copies if one in splits)
        )
        where = np.array([splits.get(path, "") for path in paths])
        scaler = StandardScaler().fit(features[where == "train"])
        model = RidgeClassifier(alpha=300.0)
        model.fit(scaler.transform(features[where == "train"]), labels[where == "train"])
        validation = np.flatnonzero(where == "validation")
        right = model.predict(scaler.transform(features[validation])) == labels[validation]
        met = np.array([splits.get(other.get(paths[n], "")) == "train" for n in validation])
        whole.append(right.mean())
        without.append(right[~met].mean())
    return {
        "split": name,
        "seeds": seeds,
        "pairs on two sides, mean": statistics.mean(straddling),
        "most": max(straddling),
        "validation accuracy, %": 100 * statistics.mean(whole),
        "without what was trained on, %": 100 * statistics.mean(without),
    }


def pooled(folder: Path, paths: list[str], weights: str, image_size: int, cache: Any) -> np.ndarray:
    from search_spaces.resnet50 import ResNet50Space
    from tuner.decoding.decode import read_image
    from tuner.features.store import FeatureStore

    space = ResNet50Space(num_classes=2, image_size=image_size, weights=weights)
    store = FeatureStore(space.build_backbone(), cache)
    store.stored = (0,)
    pixels = np.zeros((len(paths), image_size, image_size, 3), np.uint8)
    for number, path in enumerate(paths):
        image = Image.fromarray(read_image(folder / path))
        pixels[number] = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(store.open(pixels).rows(0)[:])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--weights", default="none", help="none, imagenet, or a weights file")
    parser.add_argument("--image-size", type=int, default=64, help="pixels a side (64)")
    parser.add_argument("--seeds", type=int, default=10, help="of the split (10)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
