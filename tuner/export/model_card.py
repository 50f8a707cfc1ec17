"""Write MODEL_CARD.md: what an exported network is, how good it is, and how to load it."""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner.export.loading_examples import ENCODED, LOADING
from tuner.metrics import scores as scores_module
from tuner.metrics.intervals import share_interval
from tuner.text import percent

_MOST_CLASSES, _MOST_ROWS, _MOST_CONFUSIONS = 50, 30, 10
_SCORES = {
    "balanced_accuracy": ("mean of the classes' own accuracies", percent),
    "macro_f1": ("macro F1", percent),
    "log_loss": ("log loss, nats", "{:.3f}".format),
    "brier_score": ("Brier score, 0 to 2", "{:.3f}".format),
    "calibration_error": ("expected calibration error, 15 bins", percent),
}


@dataclass(frozen=True)
class Confusion:
    """Test images of one class predicted as another.

    Attributes:
        label: their class.
        predicted: the predicted class.
        count: the number of such images.
        of: the number of test images of the class.
    """

    label: str
    predicted: str
    count: int
    of: int


def confusions(
    probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> list[Confusion]:
    """The ten most frequent mistakes, most frequent first.

    Args:
        probabilities: shape (images, classes).
        labels: class numbers, shape (images,).
        classes: their names.
    """
    totals = np.bincount(labels)
    found = scores_module.confusions(probabilities.argmax(axis=1), labels)
    wrong = [each for each in found if each[0] != each[1]]
    wrong.sort(key=lambda each: -each[2])
    return [
        Confusion(classes[own], classes[named], count, int(totals[own]))
        for own, named, count in wrong[:_MOST_CONFUSIONS]
    ]


def model_card(description: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The model card, in Markdown.

    Class names are untrusted text: they are escaped, so that none becomes Markdown or HTML.

    Args:
        description: the content of export.json.
        labels: class names in the order of the outputs.
    """
    formats = description["formats"]
    sections = [
        "# Model card",
        _summary(description, labels),
        "## Data\n\n" + _data(description, labels),
        "## How good it is\n\n" + _metrics(description),
        "## Was the search worth it?\n\n" + _opponents(description),
        *_by_class(description),
        "## Files\n\n" + _files(formats, description),
        "## Loading\n\n" + _loading(formats),
        "## Pixels\n\n" + _pixels(description),
        "## Limits\n\n" + _limits(description),
    ]
    return "\n\n".join(sections) + "\n"


def _by_class(description: Mapping[str, Any]) -> list[str]:
    if not description["per_class"]:  # there are no test images
        return []
    return [
        "## Classes\n\n" + _classes(description["per_class"]),
        "## Confusions\n\n" + _confusions(description["confusions"]),
    ]


def escaped(text: str) -> str:
    """Text escaped for Markdown, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~:@/])", r"\\\1", html.escape(line, quote=False))


def _summary(description: Mapping[str, Any], labels: Sequence[str]) -> str:
    space, network = description["space"], "a ResNet50 whose head and unfreeze depth were"
    if space != "resnet50":
        network = f"a network of the search space {escaped(space)} whose hyperparameters were"
    return (
        f"An image classifier for {len(labels)} classes: {network} "
        f"chosen by a Hyperband search. It takes RGB images of any size and gives a "
        f"probability for each class, in the order of `labels.json`. Inside, images are resized to "
        f"{description['image_size']} x {description['image_size']} pixels."
    )


def _data(description: Mapping[str, Any], labels: Sequence[str]) -> str:
    images, split, leak = (description[n] for n in ("images", "split", "leaked_test_images"))
    rows = [f"{images[split]} {split} images" for split in ("train", "validation", "test")]
    names = ", ".join(escaped(label) for label in labels[:_MOST_CLASSES])
    more = len(labels) - _MOST_CLASSES
    searched = "The search trained on the training images and selected on the validation images."
    if "refit" in description:
        searched = "The network was refitted on the training and validation images of a search."
    if not images["test"]:
        searched += " No image was held out for a test."
    elif leak and leak["sentence"]:
        searched += f" {leak['sentence']}"
    else:
        searched += " The test images were held out."
    return (
        f"{', '.join(rows)}. Where the data did not name the splits itself, they were drawn with "
        f"seed {split['seed']}: of each class {percent(split['validation_fraction'])} for "
        f"validation and {percent(split['test_fraction'])} for the test, copies of a picture on "
        f"one side. {searched}\n\n"
        f"Classes: {names}{f' and {more} more' if more > 0 else ''}."
    )


def _metrics(description: Mapping[str, Any]) -> str:
    parts = [_table(("images", "accuracy", "95 % interval", "most frequent class alone"), [
        *_validation(description), *_test(description)
    ])]  # fmt: skip
    if "refit" in description:
        parts.insert(0, description["refit"]["sentence"])
    scores, intervals = description["test_scores"], description["intervals"]
    if scores is None:
        return "\n\n".join([*parts, description["verdict"]])
    rows = []
    for name, (title, shown) in _SCORES.items():
        between = intervals.get(name)
        interval = "" if between is None else f"{shown(between[0])} to {shown(between[1])}"
        rows.append((title, shown(scores[name]), interval))
    parts.append(_table(("of the test images", "", "95 % interval"), rows))
    parts.append(_calibration(description))
    if description["looks_sentence"]:
        parts.append(escaped(description["looks_sentence"]))
    return "\n\n".join(parts)


def _validation(description: Mapping[str, Any]) -> list[Sequence[str]]:
    """The row of the validation images; none for a refitted network."""
    accuracy, bias = description["validation_accuracy"], description["luck"]
    if accuracy is None:
        return []
    # An interval would hold only if these images had not selected the network.
    known = "none: selected on these images"
    if bias is not None and bias["trials"] > 1:
        known = (
            f"none: bias-corrected {percent(bias['corrected'])}, best of {bias['trials']} trials"
        )
    chance = percent(description["majority_rate"]["validation"])
    images = f"{description['images']['validation']} validation (selected on)"
    return [(images, percent(accuracy), known, chance)]


def _test(description: Mapping[str, Any]) -> list[Sequence[str]]:
    accuracy, images = description["test_accuracy"], description["images"]["test"]
    if accuracy is None:
        return []
    low, high = share_interval(round(accuracy * images), images)
    chance = percent(description["majority_rate"]["test"])
    rows = [(f"{images} test", percent(accuracy), f"{percent(low)} to {percent(high)}", chance)]
    leak = description["leaked_test_images"]
    if leak and leak["images"] and leak["accuracy"] is not None:
        low, high = leak["interval"]
        others = f"{leak['of'] - leak['images']} test without those that have copies"
        rows.append((others, percent(leak["accuracy"]), f"{percent(low)} to {percent(high)}", ""))
    return list(rows)


def _opponents(description: Mapping[str, Any]) -> str:
    if not description["opponents"]:
        return "There are no baselines to compare with."
    rows = []
    for each in description["opponents"]:
        low, high = (100 * end for end in each["gain_interval"])
        rows.append(
            (
                each["name"], percent(each["accuracy"]), f"{100 * each['gain']:+.1f} points",
                f"{low:.1f} to {high:.1f}", f"{each['p_value']:.2g}",
            )
        )  # fmt: skip
    heads = ("on the same test images", "accuracy", "the winner gains", "95 % interval",
             "exact McNemar p")  # fmt: skip
    parts = [_table(heads, rows), description["verdict"]]
    if "refit" in description:
        parts.insert(0, "Before the refit, as the search left it:")
    if description["left_out"]:
        parts.append(f"Skipped: {', '.join(description['left_out'])}.")
    return "\n\n".join(parts)


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of at most 30 classes, worst recall first."""
    worst = sorted(rows, key=lambda row: (row["recall"] is None, row["recall"] or 0.0))
    text = _table(
        ("class", "test images", "recall", "precision"),
        [
            (
                escaped(row["class"]), str(row["images"]),
                *("" if row[n] is None else percent(row[n]) for n in ("recall", "precision")),
            )
            for row in worst[:_MOST_ROWS]
        ],
    )  # fmt: skip
    more = len(rows) - _MOST_ROWS
    return f"{text}\n\n{more} more, with better recall, are in `export.json`." if more > 0 else text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _calibration(description: Mapping[str, Any]) -> str:
    error = description["calibration_error"]
    if description["temperature"] is None:
        return (
            "The probabilities are as trained: their expected calibration error on the test images "
            f"(15 bins) is {percent(error)}."
        )
    before = description["calibration_error_before"]
    return (
        f"The logits were divided by {description['temperature']:.3f}, fitted on the validation "
        f"images, in the weights of the last layer. Expected calibration error on the test images "
        f"(15 bins): {percent(before)} before, {percent(error)} after"
        f"{': it rose, so the temperature did not help.' if error > before else '.'}"
    )


def _confusions(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "No test image was misclassified."
    return _table(
        ("test images of", "predicted as", "images"),
        [
            (escaped(row["label"]), escaped(row["predicted"]), f"{row['count']} of {row['of']}")
            for row in rows
        ],
    )


def _files(formats: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    predicted, network = "validation and test images", "the network that was searched"
    if "refit" in description:
        predicted, network = "test images", "the refitted network"
    lines = [
        f"Each file was loaded by its own runtime in another process and predicted the {predicted};"
        f" it is compared with {network}. Where the two best classes are within 0.0001, either "
        "counts as the same.",
        "",
        "| file | numbers | other class | largest difference | validation | test |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in formats.items():
        validation, test = (
            "" if share is None else f"{percent(share)}"
            for share in (found["validation_accuracy"], found["test_accuracy"])
        )
        lines.append(
            f"| `{found['file']}` ({name}) | {found['numbers']} | {found['differing']} of "
            f"{found['images']} | {found['largest_difference']:.1e} "
            f"| {validation} | {test} |"
        )
    for found in formats.values():
        if found.get("warning"):
            lines += ["", found["warning"]]
    encoded = formats.get("savedmodel", {}).get("encoded")
    if encoded:
        lines += [
            "",
            f"SavedModel's signature on encoded bytes: {encoded['differing']} of "
            f"{encoded['images']} upright, opaque, 8-bit JPEG and PNG files get another class; "
            f"largest difference {encoded['largest_difference']:.1e}.",
        ]
    return "\n".join(lines)


def _loading(formats: Mapping[str, Any]) -> str:
    parts = [f"`{name}`:\n\n```python\n{LOADING[name]}\n```" for name in formats]
    if "savedmodel" in formats:
        parts.append(f"`savedmodel`, from encoded bytes:\n\n```python\n{ENCODED}\n```")
        parts.append(
            "The signature on bytes is for upright, opaque, 8-bit sRGB files, JPEG or PNG. It does "
            "not turn images as EXIF asks, does not convert colours of an embedded profile, puts "
            "nothing on white, and refuses CMYK and other formats."
        )
    return "\n\n".join(parts)


def _pixels(description: Mapping[str, Any]) -> str:
    plain, images = description["plainly_decoded"], description["checked_images"]
    size, crop = description["image_size"], description["crop"]
    cropped = "The centre square of the image is taken. " if crop else ""
    return (
        "Everything after decoding is in the files. In another language, decode to RGB values 0 to "
        "255 (uint8, batch x height x width x 3), upright as EXIF's orientation asks, colours of "
        "an embedded profile converted to sRGB, transparency put on white "
        '(`Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))`); '
        "of 16-bit images the upper eight bits. The lines above do the first of these; for files "
        f"of 8 bits in sRGB they and the step for transparency are enough: {plain} of the {images} "
        "checked images are decoded so to the very pixels that the network was trained on.\n\n"
        f"What the files do then: {cropped}Each axis is resized to {size} pixels, squashed and not "
        "padded, with a triangle kernel as wide as one target pixel when shrinking and as one "
        "source pixel when enlarging (antialiasing; half-pixel centres); values are rounded to "
        "whole numbers; then the network's own preprocessing follows. Do not scale, subtract or "
        "resize anything before. `export.json` says the same under `preprocessing`."
    )


def _limits(description: Mapping[str, Any]) -> str:
    limits = [
        "It predicts one of its classes for every image, whatever the image shows.",
        "The figures hold for images like those of the data set; accuracy on other photos is "
        "lower.",
        "The probabilities of images unlike the training images mean little.",
    ]
    leak = description["leaked_test_images"]
    if leak and leak["images"]:
        limits.append(
            "The test accuracy is optimistic: test images have copies among the training images."
        )
    if "refit" not in description:
        limits.append(
            "The validation accuracy is optimistic: it is that of the best of many trials."
        )
    return "\n".join(f"- {limit}" for limit in limits)
