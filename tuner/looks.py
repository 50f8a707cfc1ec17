"""How often the test images of a run have been looked at, by this run and by others on the same.

Each look that is followed by more searching makes the next less honest, whatever run it belongs to.
So besides its own journal a list in the runs folder tells of every look; it outlives runs that are
deleted or replaced.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tuner.dataset import Dataset
from tuner.errors import RunError
from tuner.ranking import trial_name
from tuner.run import Run

_FILE = ".looks.jsonl"


@dataclass(frozen=True)
class Look:
    """One time that test images were opened.

    Attributes:
        run: name of the run.
        trial: the trial that it was done for, as a user sees it.
        when: in UTC, ISO 8601, to the second.
        trials: configurations that the run had tried by then.
        test: fingerprint of the test images.
    """

    run: str
    trial: str
    when: str
    trials: int
    test: str


def look_now(run: Run, trial: int, dataset: Dataset) -> Look:
    """A look at this moment; nothing is written."""
    return Look(
        run.name,
        trial_name(trial),
        datetime.now(UTC).isoformat(timespec="seconds"),
        sum(bool(record.rungs) for record in run.journal.trials()),
        fingerprint_of_test(dataset),
    )


def all_looks(run: Run, dataset: Dataset) -> list[Look]:
    """Every look that is known at the test images of a run, the oldest first.

    Those of its own journal, and those of other runs in the same folder whose test images were the
    same.
    """
    test = fingerprint_of_test(dataset)
    own = [Look(**facts) for _, facts in run.journal.looks()]
    listed = [look for look in _listed(run.folder.parent) if look.test == test]
    return sorted({*own, *listed}, key=lambda look: look.when)


def list_look(run: Run, look: Look) -> None:
    """Adds a look to the list in the runs folder.

    Raises:
        RunError: it cannot be written.
    """
    path = run.folder.parent / _FILE
    line = json.dumps(asdict(look)) + "\n"
    try:
        # One write of one line at the end of the file: processes do not mix theirs.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}.") from error


def fingerprint_of_test(dataset: Dataset) -> str:
    """A SHA-256 of the contents of the test images, whatever they are called and wherever."""
    digests = sorted(file.sha256 for file in dataset.of("test"))
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _listed(runs_dir: Path) -> list[Look]:
    looks = []
    with contextlib.suppress(FileNotFoundError):
        for line in (runs_dir / _FILE).read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError, TypeError):  # a line that a full disk cut short
                looks.append(Look(**json.loads(line)))
    return looks
