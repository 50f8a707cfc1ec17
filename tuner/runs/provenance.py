"""What a run was begun with, so that nothing else is ever mixed into it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tuner.data.dataset import Dataset
from tuner.environment import all_versions, processor, versions
from tuner.errors import DataError, RunError
from tuner.runs.journal import Journal
from tuner.runs.lock import check_free
from tuner.runs.run import Run
from tuner.settings import SearchSettings

_ASKED, _MADE_FROM, _COMPUTES = "asked", "made_from", "computes"
_ITERATIONS = "hyperband_iterations"
# What a search was asked that began before it could be asked.
_UNASKED = {"class_weights": "none"}


def what_was_asked(journal: Journal) -> dict[str, Any]:
    """What a search was asked when it began, by name.

    Raises:
        RunError: it has not begun.
    """
    noted = journal.note(_ASKED)
    if noted is None:
        raise RunError("the search has not yet begun to train: nothing is known of it.")
    return _UNASKED | noted


def check_asked(journal: Journal, asked: Mapping[str, Any]) -> None:
    """Compares what a search is asked with what it was asked when it began.

    Args:
        journal: of the run; an empty one was asked nothing.
        asked: by name; more `hyperband_iterations` than before are no difference.

    Raises:
        RunError: there is a difference; the message names each.
    """
    noted, asked = journal.note(_ASKED), _as_json(asked)
    if noted is None:
        return
    noted = _UNASKED | noted
    if asked[_ITERATIONS] > noted[_ITERATIONS]:
        asked[_ITERATIONS] = noted[_ITERATIONS]
    differences = [
        f"{name} was {noted.get(name)}, not {value}"
        if isinstance(value, (str, int, float))
        else f"the {name} has changed"
        for name, value in asked.items()
        if value != noted.get(name)
    ]
    if differences:
        raise RunError(
            f"the run was begun with other settings: {', '.join(differences)}. Go on with the "
            "same, or begin again and overwrite it."
        )


def note_or_check(
    journal: Journal, asked: Mapping[str, Any], made_from: Mapping[str, str]
) -> str | None:
    """Notes what a search was asked and is made from, or compares it with what was noted.

    Args:
        journal: of the run.
        asked: as for `check_asked`, which comes before.
        made_from: name of what the search is made from, such as "images", to its digest.

    Returns:
        What the user should know, or None.

    Raises:
        RunError: the search is made from something else.
    """
    noted = journal.note(_MADE_FROM)
    if noted is None:
        computes = all_versions() | {"processor": processor()}
        journal.set_notes({_ASKED: asked, _MADE_FROM: made_from, _COMPUTES: computes})
        return None
    changed = [name for name, digest in made_from.items() if noted.get(name) != digest]
    if changed:
        raise RunError(
            f"the {' and '.join(changed)} are not those that the run was begun with. Put them "
            "back, or begin again and overwrite it."
        )
    journal.set_notes({_ASKED: asked})
    if _differs(journal.note(_COMPUTES) or {}):
        return (
            "The run was begun with another Keras, TensorFlow or processor: its results may differ "
            "in their last digits from those of a search never interrupted."
        )
    return None


def _differs(noted: Mapping[str, str]) -> bool:
    """Whether what decides the last digits is not what was noted; Python and NumPy do not."""
    decides = versions() | {"processor": processor()}
    return any(noted.get(name) != value for name, value in decides.items())


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """As a journal gives it back: with lists for tuples, for one."""
    found: dict[str, Any] = json.loads(json.dumps(values))
    return found


_WEIGHTS_FILE = "weights_file"  # note of the journal: its SHA-256


def _check_same_settings(run: Run, settings: SearchSettings) -> None:
    """Raises RunError unless a run can be gone on with under these settings."""
    check_free(run.folder)
    asked = settings
    if settings.iterations > run.settings.iterations:
        asked = replace(settings, iterations=run.settings.iterations)  # more are added to it
    differences = run.settings.differences(asked)
    if differences:
        raise RunError(
            f"the run {run.name} was begun with other settings: {'; '.join(differences)}. Go on "
            "with the same, choose another --run, or begin again with --overwrite."
        )


def _check_same_images(run: Run, dataset: Dataset) -> None:
    """Raises DataError unless the images are those that the run was begun with."""
    before = {file.path: file for file in run.dataset(dataset.root).files}
    now = {file.path: file for file in dataset.files}
    changes = {
        "added": sorted(now.keys() - before.keys()),
        "gone": sorted(before.keys() - now.keys()),
        "altered": sorted(
            path
            for path in now.keys() & before.keys()
            if replace(now[path], group="") != replace(before[path], group="")
        ),
    }
    found = [f"{len(paths)} {what}, such as {paths[0]}" for what, paths in changes.items() if paths]
    if found:
        raise DataError(
            f"the images have changed since the run {run.name} was begun: {'; '.join(found)}. Put "
            "them back, or begin again with --overwrite."
        )


def _more(run: Run) -> str:
    return f"tune resume {run.name} --iterations {run.settings.iterations + 1}"


def check_same_weights(run: Run, settings: SearchSettings) -> None:
    """Raises RunError if a weights file is not the one that the run was begun with."""
    noted, found = run.journal.note(_WEIGHTS_FILE), _weights_digest(settings)
    if noted is not None and found is not None and noted != found:
        raise RunError(
            f"{settings.weights} does not hold the weights that the run {run.name} was begun with. "
            "Put the file back, or begin again with --overwrite."
        )


def _weights_digest(settings: SearchSettings) -> str | None:
    """Of the weights file; None where there is none, or where the space will say what is wrong."""
    path = Path(settings.weights)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _updated(noted: SearchSettings, asked: SearchSettings) -> SearchSettings:
    """A run's settings with what may have changed: where files lie, iterations, time budget."""
    # What is not there was not compared: it is refused where it is needed.
    weights = asked.weights if Path(asked.weights).is_file() else noted.weights
    return replace(asked, weights=weights)
