"""Find the best ResNet50 transfer-learning classifier for a folder of photos.

Example:
    >>> import tuner
    >>> from search_spaces.resnet50 import ResNet50Space
    >>> search = tuner.HyperbandTuner(ResNet50Space(num_classes=5), max_epochs=10)
    >>> search.search(x, y, validation_data=(x_val, y_val))
    >>> model = search.get_best_models()[0]
"""

import importlib
from typing import Any

_HOMES = {
    "Cache": "tuner.storage.cache",
    "Export": "tuner.export.predict",
    "HyperbandTuner": "tuner.search.tuner",
    "InputError": "tuner.errors",
    "SearchFolders": "tuner.settings",
    "SearchObserver": "tuner.observer",
    "SearchSettings": "tuner.settings",
    "TuneError": "tuner.errors",
    "check_model": "tuner.model_check.check",
    "digits_dataset": "tuner.data.load",
    "evaluate_winner": "tuner.evaluate.evaluation",
    "export_model": "tuner.export.files",
    "export_winner": "tuner.export.winner",
    "load_dataset": "tuner.data.load",
    "open_run": "tuner.runs.run",
    "prepare_images": "tuner.data.pixel_store",
    "run_search": "tuner.search.pipeline",
    "trainable_layers": "tuner.model_check.trainable_layers",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a name when it is first used: most of them need TensorFlow, which takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tuner' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The exported names."""
    return __all__
