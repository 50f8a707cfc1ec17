"""Does every exported file give the network's answers, and what does it cost?

    python benchmarks/parity.py --data emoji-google --weights resnet50-clipart64.weights.h5

Three sets of images: scikit-learn's digits, a folder of class folders (--data), and 200 photo-sized
images of mixed sizes and formats, cut out of scikit-learn's two photos. For each, a ResNet50
(--weights) with a head that logistic regression fits on half of the images is exported in every
format and twice quantized; each file predicts the images in its own runtime, in another process.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import RESULTS, Report, progress, scratch_folder

EXPORTS: tuple[tuple[tuple[str, ...], str | None], ...] = (
    (("keras", "savedmodel", "onnx", "litert"), None),
    (("litert",), "float16"),
    (("litert",), "int8"),
)
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
SUFFIXES = {"JPEG": "jpg", "TIFF": "tif"}


def main() -> None:
    options = _parse()
    with scratch_folder(options) as scratch:
        report = Report("parity", "Does every exported file give the network's answers?", options)
        sets = [
            ("digits", _digits(scratch), 32),
            ("photos", _photos(scratch / "photos", options.photos), options.photo_size),
        ]
        if options.data:
            sets.append((options.data.name, options.data, 64))
        for name, folder, image_size in sets:
            if name in (options.only or name):
                rows = _rows(name, folder, image_size, options.weights, options.limit, scratch)
                report.table(f"{name}, {image_size} px", rows)
                report.write()


def _rows(
    name: str, folder: Path, image_size: int, weights: str, limit: int, scratch: Path
) -> list[dict[str, Any]]:
    from tuner.export.files import ExportOptions, export_model, write_files
    from tuner.export.formats import FORMATS
    from tuner.export.parity import check_encoded, check_file

    progress(f"{name}: the network")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int))
    paths = [paths[row] for row in chosen]
    network, reference, small = _network(paths, image_size, weights)
    model = export_model(network, image_size)
    rows = []
    for formats, quantize in EXPORTS:
        progress(f"{name}: {', '.join(formats)} {quantize or ''}")
        target = scratch / f"{name}-{quantize}"
        target.mkdir()
        write_files(model, target, ExportOptions(formats, quantize), small[::2][:128])
        for key in formats:
            path = target / FORMATS[key].file
            size = sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())
            row = {"file": f"{key} {quantize or ''}".strip(), "MB": round(size / 1e6, 1)}
            rows.append(row | _row(check_file(reference, key, path), reference, quantize))
        if "savedmodel" in formats:
            encoded = check_encoded(reference, target / FORMATS["savedmodel"].file)
            if encoded is not None:
                row = {"file": "savedmodel, encoded bytes", "MB": ""}
                rows.append(row | _row(encoded, reference, None))
    return rows


def _row(parity: Any, reference: Any, quantize: str | None) -> dict[str, Any]:
    """What a check gave, and whether `tune best --export` would keep the file."""
    kept = {None: parity.equal, "float16": parity.near, "int8": parity.usable}[quantize]
    return {
        "images": parity.images,
        "other class": parity.differing,
        "ties": parity.ties,
        "largest difference": f"{parity.largest:.1e}",
        "right, of those not fitted": _percent(parity.test_accuracy),
        "network": _percent(reference.accuracy(reference.probabilities, test=True)),
        "kept": "yes" if kept else "no",
        "ms per image": round(parity.milliseconds, 1),
        "plainly decoded": sum(reference.plain),
    }


def _network(paths: Sequence[Path], image_size: int, weights: str) -> tuple[Any, Any, np.ndarray]:
    """A network, what it makes of the images, and the images as it takes them."""
    import keras
    from sklearn.linear_model import LogisticRegression

    from search_spaces.backbone import build_backbone
    from search_spaces.head import build_head
    from search_spaces.resize import resizer
    from tuner.decoding.decode import on_all_cores, read_image
    from tuner.export.parity import Reference

    classes = sorted({path.parent.name for path in paths})
    labels = np.array([classes.index(path.parent.name) for path in paths])
    keras.utils.set_random_seed(0)
    resize = resizer(image_size)
    pixels = (resize(image[None]) for image in on_all_cores(read_image, paths))
    small = np.concatenate([np.asarray(image).astype(np.uint8) for image in pixels])
    backbone = build_backbone(image_size, weights)
    pooled = backbone.output
    if len(pooled.shape) == 4:
        pooled = keras.layers.GlobalAveragePooling2D()(pooled)
    features = keras.Model(backbone.input, pooled).predict(small, verbose=0)
    output = build_head(
        pooled, len(classes), layers=0, width=1, batchnorm=False, dropout=0.0, l2=0.0, seed=0
    )
    network = keras.Model(backbone.input, output)
    order = np.r_[0 : len(paths) : 2, 1 : len(paths) : 2]
    fitted = len(paths[::2])
    # One scale for all features: each by its own would make the weights of nearly constant ones
    # larger than any training does, and rounding with them.
    mean, deviation = features.mean(axis=0), features.std(axis=0).mean()
    scaled = (features - mean) / deviation
    model = LogisticRegression(C=0.1, max_iter=300).fit(scaled[::2], labels[::2])
    kernel = (model.coef_ / deviation).T
    if len(classes) == 2:  # one column says both
        kernel = np.concatenate([-kernel / 2, kernel / 2], axis=1)
    logits = network.get_layer("head_logits")
    logits.set_weights([kernel, _bias(model, mean, kernel, len(classes))])
    probabilities = network.predict(small, verbose=0)
    reference = Reference(
        [paths[row] for row in order], labels[order], fitted, probabilities[order]
    )
    return network, reference, small


def _bias(model: Any, mean: np.ndarray, kernel: np.ndarray, classes: int) -> np.ndarray:
    intercept = model.intercept_ if classes > 2 else np.r_[-0.5, 0.5] * model.intercept_
    return intercept - mean @ kernel


def _digits(scratch: Path) -> Path:
    from tuner.data.load import digits_dataset

    return digits_dataset(scratch / "cache").root


def _photos(folder: Path, count: int) -> Path:
    """Four classes: the halves of two photos, cut at random and blown up to 1 to 12 megapixels."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    sources = [Image.fromarray(photo) for photo in load_sample_images().images]
    for number in range(count):
        label = number % 4
        source = sources[label // 2]
        width, height = source.size
        left = random.integers(0, width // 4) + (label % 2) * width // 2
        top = random.integers(0, height // 2)
        box = (left, top, left + width // 4, top + height // 2)
        size = tuple(int(side) for side in random.integers(900, 3500, 2))
        image = source.resize(size, Image.Resampling.BICUBIC, box)
        _save(image, folder / f"class {label}", number)
    return folder


def _save(image: Any, folder: Path, number: int) -> None:
    from PIL import Image, ImageCms

    folder.mkdir(parents=True, exist_ok=True)
    form = FORMATS[number % len(FORMATS)] if number % 2 else "JPEG"
    more: dict[str, Any] = {"JPEG": {"quality": 60 + number % 40, "progressive": number % 3 == 0}}
    options = more.get(form, {})
    if form == "JPEG" and number % 5 == 0:  # as phones do
        exif = Image.Exif()
        exif[0x0112] = 1 + number % 8
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        options |= {"exif": exif, "icc_profile": profile}
    if form == "JPEG" and number % 11 == 0:
        image = image.convert("L")
    if form == "JPEG" and number % 13 == 0:
        image = image.convert("CMYK")
    if form in ("PNG", "WEBP") and number % 3 == 0:
        image.putalpha(image.convert("L"))
    if form == "GIF":
        image = image.quantize(256)
    image.save(folder / f"{number:03}.{SUFFIXES.get(form, form.lower())}", form, **options)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="Folder of class folders.")
    parser.add_argument("--weights", default="none", help="Of the backbone: none, or a file.")
    parser.add_argument("--scratch", type=Path, help="Folder for temporary files.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Folder of the JSON file.")
    parser.add_argument("--photos", type=int, default=200, help="Photo-sized images.")
    parser.add_argument("--photo-size", type=int, default=224, help="Of their network, in pixels.")
    parser.add_argument("--limit", type=int, default=2000, help="Images of a set, at most.")
    parser.add_argument("--only", nargs="*", help="Names of the sets.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
