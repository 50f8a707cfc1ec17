"""Finds the best ResNet50 transfer-learning classifier for a folder of photos.

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
    "Cache": "tuner.cache",
    "Export": "tuner.prediction",
    "HyperbandTuner": "tuner.hyperband",
    "InputError": "tuner.errors",
    "SearchFolders": "tuner.search",
    "SearchObserver": "tuner.observer",
    "SearchSettings": "tuner.settings",
    "TuneError": "tuner.errors",
    "check_model": "tuner.checkup",
    "digits_dataset": "tuner.dataset",
    "evaluate_winner": "tuner.evaluation",
    "export_model": "tuner.deployment",
    "export_winner": "tuner.export",
    "load_dataset": "tuner.dataset",
    "open_run": "tuner.run",
    "prepare_images": "tuner.images",
    "search": "tuner.search",
    "trainable_layers": "tuner.anatomy",
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
