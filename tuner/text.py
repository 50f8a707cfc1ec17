"""Sizes, times, shares and hyperparameters as text for people."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tuner.errors import SettingsError

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_TIMES = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LARGEST = 1e15
_LONGEST_SECONDS = 10_000 * 86400


def parse_size(text: str) -> int:
    """Parse a size such as 20GB, 500 MB or 1e9 to bytes; SettingsError if it is none."""
    number, unit = _parse(text, _SIZES)
    if number is None:
        raise SettingsError(f"{text!r} is not a size. Give a number with KB, MB, GB or TB.")
    return int(number * unit)


def parse_time(text: str) -> timedelta:
    """Parse a time such as 30d, 45m, 90s or 1h30m; SettingsError if it is none."""
    parts = re.split(r"(?<=[a-df-z])\s*(?=[0-9])", text.lower())  # 1e3s is one number
    times = [_parse(part, _TIMES) for part in parts]
    units = [unit for _, unit in times]
    seconds = sum((math.inf if number is None else number) * unit for number, unit in times)
    if seconds > _LONGEST_SECONDS or units != sorted(set(units), reverse=True):
        raise SettingsError(
            f"{text!r} is not a time. Give a number with d, h, m or s, such as 30d, 45m or 1h30m."
        )
    return timedelta(seconds=seconds)


def size(count: int) -> str:
    """Format bytes: 512 B, 1.2 GB."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:  # 999.95 would be shown as 1000.0
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Format seconds: 0.4s, 12s, 3m05s, 2h07m."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    if seconds < 59.5:
        return f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 epoch, 3 epochs; give a plural that is not the noun with an s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def _parse(text: str, units: Mapping[str, int]) -> tuple[float | None, int]:
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in units or found[1].count(".") > 1 or found[1] == ".":
        return None, 1
    number = float(found[1])
    return (number, units[found[2]]) if number <= _LARGEST else (None, 1)


def percent(share: float, digits: int = 1) -> str:
    """Format a share from 0 to 1 as a percentage: 71.7 %."""
    return f"{100 * share:.{digits}f} %"


# Short names for hyperparameters of the resnet50 space; others keep their own.
SHORT_NAMES = {
    "unfreeze_blocks": "blocks",
    "backbone_lr_factor": "factor",
    "dropout": "drop",
    "l2": "L2",
    "learning_rate": "lr",
}

HEAD_NAMES = ("head_layers", "head_width", "head_batchnorm")

_MESSAGE_LENGTH = 300


def printable(text: str) -> str:
    """Replace control characters, line breaks among them."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def brief(message: str | None) -> str:
    """Shorten an error's message to one line; TensorFlow's may have a thousand."""
    line = " ".join((message or "unknown").split())
    return printable(line if len(line) <= _MESSAGE_LENGTH else f"{line[:_MESSAGE_LENGTH]} ...")


def number(value: Any) -> str:
    """Format a hyperparameter in at most six characters; "-" for None."""
    if value is None:
        return "-"
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    if value == 0 or 0.01 <= abs(value) < 1:
        return f"{value:.2g}"
    if 1 <= abs(value) < 99_999:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def configuration(values: Mapping[str, Any]) -> str:
    """Format hyperparameters on one line: head 256-128 BN, blocks 3, lr 1e-3."""
    parts = [f"head {head_text(values)}"] if "head_layers" in values else []
    parts += [
        f"{SHORT_NAMES.get(name, name)} {number(value)}"
        for name, value in values.items()
        if name not in HEAD_NAMES and value is not None
    ]
    return printable(", ".join(parts))


def head_text(values: Mapping[str, Any]) -> str:
    """Format a head by the widths of its hidden layers, "256-128 BN"; "plain" for none."""
    layers, width = values.get("head_layers", 0), values.get("head_width", 0)
    if not layers:
        return "plain"
    widths = "-".join(str(width >> layer) for layer in range(layers))
    return f"{widths} BN" if values.get("head_batchnorm") else widths
