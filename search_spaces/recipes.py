"""Recipes: known-good configurations, trained first and baselines for the rest of the search.

Each is a pure function that returns the active hyperparameters of `ResNet50Space`. Add your own
here and to RECIPES; it is then trained to the full number of epochs, outside the brackets.
"""

from collections.abc import Callable
from typing import Any


def plain_head() -> dict[str, Any]:
    """Softmax on pooled features: feature extraction as `keras.applications` documents it."""
    return {
        "unfreeze_blocks": 0,
        "head_layers": 0,
        "dropout": 0.0,
        "l2": 1e-6,
        "learning_rate": 1e-3,
    }


def blog_head() -> dict[str, Any]:
    """Dense 2048 - BN - Dense 1024 - BN with ReLU and L2 1e-4.

    The head of many blog posts and questions about a ResNet50 stuck at 75 % accuracy.
    """
    return {
        "unfreeze_blocks": 0,
        "head_layers": 2,
        "head_width": 2048,
        "head_batchnorm": True,
        "dropout": 0.0,
        "l2": 1e-4,
        "learning_rate": 1e-3,
    }


RECIPES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain head": plain_head,
    "blog head": blog_head,
}
