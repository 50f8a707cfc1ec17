"""SHA-256 digests of files, bytes and cache keys."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.storage.atomic import open_file

if TYPE_CHECKING:  # these need TensorFlow
    import numpy as np


def key_of(*made_from: Any) -> str:
    """Cache key of something made from these JSON values: their SHA-256 in hexadecimal."""
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


def bytes_digest(*arrays: "np.ndarray") -> str:
    """SHA-256 of the concatenated bytes of arrays, in hexadecimal."""
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
