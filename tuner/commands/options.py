"""Options shared by several commands."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tuner.export.formats import FORMATS, QUANTIZATIONS
from tuner.metrics.objective import OBJECTIVES
from tuner.settings import (
    AUGMENTATIONS,
    CLASS_WEIGHTS,
    NEAR_DUPLICATES,
    PREFERENCES,
    SearchSettings,
)

DEFAULTS = SearchSettings()
Objective = StrEnum("Objective", list(OBJECTIVES))  # type: ignore[misc]
DEFAULT_OBJECTIVE = Objective(DEFAULTS.objective)
Augmentation = StrEnum("Augmentation", list(AUGMENTATIONS))  # type: ignore[misc]
NO_AUGMENTATION = Augmentation(DEFAULTS.augment)
ClassWeights = StrEnum("ClassWeights", list(CLASS_WEIGHTS))  # type: ignore[misc]
NO_CLASS_WEIGHTS = ClassWeights(DEFAULTS.class_weights)
NearDuplicates = StrEnum("NearDuplicates", list(NEAR_DUPLICATES))  # type: ignore[misc]
GROUP = NearDuplicates(DEFAULTS.near_duplicates)
TableFormat = StrEnum("TableFormat", ["table", "json", "csv"])
ExportFormat = StrEnum("ExportFormat", list(FORMATS))  # type: ignore[misc]
Quantization = StrEnum("Quantization", list(QUANTIZATIONS))  # type: ignore[misc]

Preference = StrEnum("Preference", list(PREFERENCES))  # type: ignore[misc]
PREFER_BEST = Preference(PREFERENCES[0])

RunArgument = Annotated[str | None, typer.Argument(help="Name of the run; default: the newest.")]
RunsDir = Annotated[Path, typer.Option(help="Folder of the runs.")]
CacheDir = Annotated[Path | None, typer.Option(help="Folder of decoded images and features.")]
ValFraction = Annotated[float, typer.Option(help="Share of the images for validation.")]
TestFraction = Annotated[float, typer.Option(help="Share of the images held out for the test.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split.")]
DropLeaks = Annotated[
    bool,
    typer.Option("--drop-leaks", help="Drop training images that are in validation or test too."),
]
KeepConflicts = Annotated[
    bool, typer.Option("--keep-conflicts", help="Train on images that have two labels.")
]
ClassLevel = Annotated[
    str | None,
    typer.Option(help="Folder levels that make a class: 1, 2, ... or leaf (the image's folder)."),
]
PathColumn = Annotated[
    str | None, typer.Option(help="Column of the paths: its name, or its number if none is named.")
]
LabelColumn = Annotated[str | None, typer.Option(help="Column of the labels, likewise.")]
SplitColumn = Annotated[str | None, typer.Option(help="Column of the splits, likewise.")]
GroupBy = Annotated[
    str | None,
    typer.Option(
        help="Regular expression whose match in a path names a group that shares a split; or "
        "variants: names without what augmenting tools add.",
    ),
]
NearDuplicatesChoice = Annotated[
    NearDuplicates,
    typer.Option("--near-duplicates", help="What to do with copies and images that look alike."),
]
Weights = Annotated[str, typer.Option(help="Pretrained weights: imagenet, none, or a file.")]
ImageSize = Annotated[int, typer.Option(help="Image height and width in pixels.")]
Crop = Annotated[
    bool,
    typer.Option("--crop/--no-crop", help="Crop the centre square instead of squashing the image."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
EventsAsJson = Annotated[
    bool, typer.Option("--json", help="Print a JSON object a line: each event, at last the run.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Keep = Annotated[int, typer.Option(min=1, help="Number of best trials that keep their weights.")]
CacheLimit = Annotated[str, typer.Option(help="Maximum size of the cache, such as 500MB.")]
Budget = Annotated[
    str | None,
    typer.Option("--time-budget", help="Total time for the search, such as 30m or 1h30m."),
]
