"""Write a network in several formats, and check each file against the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from search_spaces.resize import resizer
from tuner.counting import Progress, silent
from tuner.errors import TuneError
from tuner.export.convert import convert
from tuner.export.formats import FORMATS, check_formats
from tuner.export.parity import Parity, Reference, check_encoded, check_file


@dataclass(frozen=True)
class ExportOptions:
    """The files to write.

    Example:
        ExportOptions(("keras", "litert"), quantize="float16")

    Attributes:
        formats: of `tuner.export.formats.FORMATS`.
        quantize: the LiteRT file's number format, float16 or int8; None for float32.
        calibrate: whether to fit a temperature and fold it into the last layer.

    Raises:
        ExportError: a format is unknown, or its packages are not installed.
    """

    formats: tuple[str, ...] = ("keras",)
    quantize: str | None = None
    calibrate: bool = False

    def __post_init__(self) -> None:
        check_formats(self.formats, self.quantize)
        once = tuple(name for name in FORMATS if name in self.formats)
        object.__setattr__(self, "formats", once)


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error on the test images, 0 to 1; None if there are none.

    Attributes:
        temperature: the logits are divided by it; None if they are as trained.
        before: error of the network as trained.
        after: error of the exported network.
    """

    temperature: float | None
    before: float | None
    after: float | None

    @property
    def warning(self) -> str | None:
        """A sentence if the temperature made it worse, else None."""
        if self.temperature is None or (self.after or 0.0) <= (self.before or 0.0):
            return None
        return (
            "The temperature did not help: the calibration error on the test images rose. Export "
            "without --calibrate, or validate on more images."
        )


@dataclass(frozen=True)
class Exported:
    """Files written and checked.

    Attributes:
        parities: the check of each format.
        reference: the network's own predictions.
        calibration: how well its probabilities are calibrated.
        bytes: the size of each format's file or folder.
        encoded: the check of SavedModel's signature on encoded bytes, or None.
        quantize: the LiteRT file's number format; None for float32.
    """

    parities: Mapping[str, Parity]
    reference: Reference
    calibration: Calibration
    bytes: Mapping[str, int]
    encoded: Parity | None = None
    quantize: str | None = None

    @property
    def warning(self) -> str | None:
        """A sentence if a quantized file is significantly less accurate, else None."""
        if self.quantize is None or not self.parities["litert"].worse:
            return None
        loss = self.parities["litert"].loss
        return f"The {self.quantize} file is less accurate than the network: {loss}."


def export_model(network: keras.Model, image_size: int, crop: bool = False) -> keras.Model:
    """Put the crop and the resize in front of a network.

    Args:
        network: from (batch, image_size, image_size, 3) to probabilities. Its optimizer, which
            plain Keras may not know, is left out.
        image_size: in pixels.
        crop: whether the network was trained on the centre square of each image.

    Returns:
        Model from RGB values 0 to 255, (batch, any height, any width, 3), to probabilities.
    """
    resized = resizer(image_size, crop)
    uncompiled = keras.Model(network.inputs[0], network.outputs[0], name=network.name)
    return keras.Model(resized.input, uncompiled(resized.output), name="tuned_resnet50")


def write_files(
    model: keras.Model, folder: Path, options: ExportOptions, examples: np.ndarray | None = None
) -> None:
    """Writes a model from `export_model` in each format.

    Args:
        model: the model.
        folder: exists.
        options: the formats.
        examples: for int8, training images of the network's size, uint8, (images, size, size, 3).

    Raises:
        TuneError: a converter failed.
        OSError: the folder cannot be written.
    """
    path = folder / FORMATS["keras"].file
    model.save(path)
    convert(path, folder, options.formats, options.quantize, examples)
    if "keras" not in options.formats:
        path.unlink()


def check_files(
    folder: Path,
    reference: Reference,
    options: ExportOptions,
    calibration: Calibration,
    on_progress: Progress = silent,
) -> Exported:
    """Check each file in its own runtime.

    Raises:
        TuneError: a file in float32 has another class for over 0.1 % of the images, or a
            probability that differs by over 0.001; or a file in float16 has another class for over
            0.1 %, in int8 for over 10 %, classes within 0.02 of the best left out.
    """
    parities = {}
    for name in options.formats:
        parities[name] = check_file(reference, name, folder / FORMATS[name].file, on_progress)
        _check_equal(name, parities[name], options.quantize)
    encoded = None
    if "savedmodel" in options.formats:
        encoded = check_encoded(reference, folder / FORMATS["savedmodel"].file)
        if encoded is not None:
            _check_equal("savedmodel, on encoded bytes,", encoded, None)
    sizes = {name: _bytes(folder / FORMATS[name].file) for name in options.formats}
    return Exported(parities, reference, calibration, sizes, encoded, options.quantize)


def _check_equal(name: str, parity: Parity, quantize: str | None) -> None:
    numbers = quantize if name == "litert" else None
    if numbers == "int8" and not parity.usable:
        raise TuneError(
            f"the exported {name} file in int8 differs too much from the network: "
            f"{parity.departure}; nothing was written. Export with --quantize float16, or without."
        )
    if numbers == "float16" and not parity.near:
        raise TuneError(
            f"the exported {name} file in float16 does not give the network's predictions: "
            f"{parity.departure}; nothing was written. Export without --quantize."
        )
    if numbers is None and not parity.equal:
        raise TuneError(
            f"the exported {name} file does not give the network's predictions: {parity.sentence}; "
            "nothing was written."
        )


def _bytes(path: Path) -> int:
    files: Sequence[Path] = [path] if path.is_file() else list(path.rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file())
