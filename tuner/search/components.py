"""What a search consists of: its settings, images, oracle and source of trainers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import keras_tuner

from search_spaces.backbone import PretrainedBackbone
from search_spaces.keras_settings import KerasSettings
from search_spaces.resnet50 import UNFREEZE_BLOCKS, ResNet50Space, can_be_cut
from tuner.counting import Progress
from tuner.data.arrays import labelled_images, labelled_pair
from tuner.errors import SettingsError
from tuner.hyperband.oracle import JournalOracle
from tuner.hyperband.pinning import declared_space, pin
from tuner.runs.journal import Journal
from tuner.settings import SearchSettings
from tuner.storage.cache import Cache
from tuner.training.class_weights import balanced_weights
from tuner.training.network_check import check_network
from tuner.training.networks import space_of
from tuner.training.rows import Rows
from tuner.training.sources import FromFeatures, FromImages, Images, Source

# Settings that decide how a search trains; the others choose and decode its images.
TRAINING_SETTINGS = (
    *("objective", "max_epochs", "factor", "iterations", "seed", "batch_size", "class_weights"),
    *("fixed", "time_budget_seconds"),
)
# Where Keras Tuner's own arguments are set here.
_ELSEWHERE = {
    "hyperband_iterations": "HyperbandTuner(iterations=...)",
    "epochs": "HyperbandTuner(max_epochs=...)",
    "batch_size": "HyperbandTuner(batch_size=...)",
    "class_weight": 'HyperbandTuner(class_weights="balanced")',
    "validation_split": "search(x, y, validation_data=(x_val, y_val)); split the images before",
    "callbacks": "HyperbandTuner(observer=...), a tuner.SearchObserver; Hyperband stops trials",
    "verbose": "HyperbandTuner(observer=...); without one nothing is printed",
    "executions_per_trial": "HyperbandTuner(seed=...): a trial is trained once, from that seed",
    "max_trials": "max_epochs, factor and iterations, which decide how many trials there are",
    "hyperparameters": 'HyperbandTuner(fixed={"unfreeze_blocks": 0}), which pins values',
    "tune_new_entries": 'HyperbandTuner(fixed={"unfreeze_blocks": 0}), which pins values',
    "allow_new_entries": "the search space, which declares every hyperparameter",
    **dict.fromkeys(("optimizer", "loss", "metrics"), "the search space, which compiles the model"),
}


def changed_settings(settings: SearchSettings, changes: dict[str, Any]) -> SearchSettings:
    """Settings with some of `TRAINING_SETTINGS` changed, in Keras Tuner's types too.

    Raises:
        TypeError: a change is none of them.
        SettingsError: a value is out of range.
    """
    refuse(
        "HyperbandTuner", {name: changes[name] for name in changes.keys() - set(TRAINING_SETTINGS)}
    )
    objective = changes.get("objective")
    if isinstance(objective, keras_tuner.Objective):
        changes = changes | {"objective": objective.name}
    if "fixed" in changes:
        changes = changes | {"fixed": {k: str(value) for k, value in changes["fixed"].items()}}
    changed = replace(settings, **changes)
    if isinstance(objective, keras_tuner.Objective) and objective.direction != changed.direction:
        raise SettingsError(f'{objective.name} has the direction "{changed.direction}".')
    return changed


def refuse(function: str, arguments: Mapping[str, Any]) -> None:
    """Raise TypeError for arguments that a function does not take, with where they are set."""
    for name in sorted(arguments):
        where = _ELSEWHERE.get(name) or f"one of {', '.join(TRAINING_SETTINGS)}"
        raise TypeError(f"{function} takes no setting {name}. Use {where}.")


def keras_settings_of(space: keras_tuner.HyperModel) -> AbstractContextManager[None]:
    """Hold float32 for a space whose networks are ours; those of another space are its own."""
    return KerasSettings().held() if can_be_cut(space) else nullcontext()


def checked_backbone(settings: SearchSettings) -> PretrainedBackbone | None:
    """Check the settings that need no images; the backbone if its weights are a file, else None.

    Raises:
        InputError: space, pinned hyperparameters or weights file cannot be used.
    """
    space = space_of(settings, 2)
    pin(declared_space(space), settings.fixed)
    if settings.weights in ("imagenet", "none") or not can_be_cut(space):
        return None  # a download waits until the images were checked
    return PretrainedBackbone(space.build_backbone())


def make_oracle(
    settings: SearchSettings,
    space: keras_tuner.HyperModel,
    declared: keras_tuner.HyperParameters,
    journal: Journal,
) -> JournalOracle:
    """The oracle of a search over a journal."""
    return JournalOracle(
        journal,
        declared,
        objective=settings.objective,
        max_epochs=settings.max_epochs,
        factor=settings.factor,
        iterations=settings.iterations,
        seed=settings.seed,
        pinned=pin(declared, settings.fixed),
        recipes=space.recipes() if isinstance(space, ResNet50Space) else None,
    )


def make_images(
    settings: SearchSettings, space: keras_tuner.HyperModel, x: Any, y: Any, validation_data: Any
) -> Images:
    """The arguments of `HyperbandTuner.search` as arrays.

    Raises:
        DataError: they are no images with labels, or do not fit the space.
    """
    ours = isinstance(space, ResNet50Space)
    known = (space.num_classes, space.image_size) if ours else (None, None)
    views, labels = labelled_images("x", x, y, *known)
    validation = Rows(*labelled_pair("validation_data", validation_data, *known))
    weights = balanced_weights(labels) if settings.class_weights == "balanced" else None
    return Images(views, labels, validation, weights)


def make_source(
    settings: SearchSettings,
    oracle: JournalOracle,
    space: keras_tuner.HyperModel,
    backbone: PretrainedBackbone | None,
    images: Images,
    cache: Cache,
    *,
    on_progress: Progress,
    on_note: Callable[[str], None],
) -> Source:
    """Features at each trial's cut, or whole images if the space cannot be cut."""
    options = {"batch_size": settings.batch_size, "seed": settings.seed}
    if not can_be_cut(space):
        on_note(
            f"{type(space).__name__} builds its own networks, so that their frozen part is "
            "unknown: every epoch computes the whole network."
        )
        first = oracle.get_space()
        first.values = dict(oracle.configuration(0))
        num_classes = int(images.labels.max()) + 1
        check_network(space, first, images.views[0].shape[1:], num_classes, at_least=True)
        return FromImages(space, oracle.get_space(), images, **options)
    backbone = backbone or PretrainedBackbone(space.build_backbone())
    epochs = oracle.expected_epochs("unfreeze_blocks", UNFREEZE_BLOCKS)
    return FromFeatures(space, backbone, images, cache, epochs, on_progress=on_progress, **options)
