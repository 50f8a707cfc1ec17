"""What a run was begun with: settings, images, weights. Nothing else may be mixed into it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tuner.data.dataset import Dataset
from tuner.environment import all_versions, processor, versions
from tuner.errors import DataError, RunError
from tuner.runs.journal import Journal
from tuner.runs.lock import check_free
from tuner.runs.notes import Notes
from tuner.runs.run import Run
from tuner.settings import SearchSettings
from tuner.storage.digests import sha256

_START_OVER = "or start over with --overwrite."


def notes_of_begun(journal: Journal) -> Notes:
    """The notes of a search that has begun to train; RunError if it has not."""
    notes = journal.notes()
    if notes.settings is None:
        raise RunError("the search has not yet begun to train: nothing is known of it.")
    return notes


def check_same_search(name: str, journal: Journal, now: Notes) -> None:
    """Raise RunError unless `settings` and `space` are those that the search was begun with."""
    before = journal.notes()
    if before.settings is None:
        return
    settings = SearchSettings(**(now.settings or {}))
    differences = _differences(SearchSettings(**before.settings), settings)
    if before.space != json.loads(json.dumps(now.space)):  # the journal returns lists for tuples
        differences.append("the search space has changed")
    _refuse(name, differences)


def _differences(before: SearchSettings, now: SearchSettings) -> list[str]:
    iterations = min(now.iterations, before.iterations)  # more may be added
    return before.differences(replace(now, iterations=iterations))


def _refuse(name: str, differences: Sequence[str]) -> None:
    if differences:
        raise RunError(
            f"the run {name} was begun with other settings: {'; '.join(differences)}. Go on with "
            f"the same, choose another --run, {_START_OVER}"
        )


def note_search(journal: Journal, now: Notes) -> str | None:
    """Note what a search begins with; RunError if its fingerprint is not the one noted before.

    Returns a sentence for the user if the results may differ in their last digits.
    """
    before = journal.notes()
    if before.fingerprint is None:
        journal.set_notes(replace(now, versions=all_versions() | {"processor": processor()}))
        return None
    changed = [
        name
        for name, digest in (now.fingerprint or {}).items()
        if before.fingerprint.get(name) != digest
    ]
    if changed:
        raise RunError(
            f"the {' and '.join(changed)} are not those that the run was begun with. Put them "
            f"back, {_START_OVER}"
        )
    journal.set_notes(now)
    decides = versions() | {"processor": processor()}  # the last digits; Python and NumPy do not
    if decides.items() <= (before.versions or {}).items():
        return None
    return (
        "The run was begun with another Keras, TensorFlow or processor: its results may differ "
        "in their last digits from those of a search never interrupted."
    )


def check_resumable(run: Run, settings: SearchSettings) -> None:
    """Raise RunError if a process is searching in a run, or its settings are not these."""
    check_free(run.folder)
    _refuse(run.name, _differences(run.settings, settings))


def check_same_images(run: Run, dataset: Dataset) -> None:
    """Raise DataError unless the images are those that a run was begun with."""
    before = {file.path: replace(file, group="") for file in run.dataset(dataset.root).files}
    now = {file.path: replace(file, group="") for file in dataset.files}
    changes = {
        "added": now.keys() - before.keys(),
        "gone": before.keys() - now.keys(),
        "altered": {path for path in now.keys() & before.keys() if now[path] != before[path]},
    }
    found = [
        f"{len(paths)} {what}, such as {min(paths)}" for what, paths in changes.items() if paths
    ]
    if found:
        raise DataError(
            f"the images have changed since the run {run.name} was begun: {'; '.join(found)}. Put "
            f"them back, {_START_OVER}"
        )


def check_same_weights(run: Run, settings: SearchSettings) -> None:
    """Raise RunError unless a weights file is the one that a run was begun with."""
    noted, found = run.journal.notes().weights_digest, weights_digest(settings)
    if noted is not None and found is not None and noted != found:
        raise RunError(
            f"{settings.weights} does not hold the weights that the run {run.name} was begun with. "
            f"Put the file back, {_START_OVER}"
        )


def weights_digest(settings: SearchSettings) -> str | None:
    """SHA-256 of the weights file; None if there is none (the search space reports a bad path)."""
    path = Path(settings.weights)
    return sha256(path) if path.is_file() else None


def updated_settings(noted: SearchSettings, now: SearchSettings) -> SearchSettings:
    """A run's settings with what may change on resume: paths, iterations, time budget."""
    # A weights file that is missing was not compared; it is refused where it is needed.
    weights = now.weights if Path(now.weights).is_file() else noted.weights
    return replace(now, weights=weights)
