"""Log of every evaluation on the test images, by this run and by others on the same images.

An evaluation that is followed by more searching makes the next one less honest, in any run. So
besides the run's journal, a list in the runs folder logs every access; it outlives runs that are
deleted or replaced. Access to nearly the same images counts too, so each entry names its images by
the beginnings of their hashes.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuner.data.dataset import Dataset
from tuner.errors import RunError
from tuner.runs.records import trial_name
from tuner.runs.run import Run

_FILE = ".looks.jsonl"
# Digits of a hash that are kept: 20,000 images beside as many others have one in common by chance
# once in a million times.
_DIGITS = 12


@dataclass(frozen=True)
class AccessRecord:
    """One time that test images were opened.

    Attributes:
        run: name of the run.
        trial: the trial that it was done for, as a user sees it.
        when: in UTC, ISO 8601, to the second.
        trials: configurations that the run had tried by then.
        test: fingerprint of the test images.
        images: the beginnings of their hashes, sorted.
    """

    run: str
    trial: str
    when: str
    trials: int
    test: str
    images: tuple[str, ...]

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "AccessRecord":
        """What `asdict` made of one.

        Raises:
            TypeError, KeyError: it is none.
        """
        return cls(**{**facts, "images": tuple(facts["images"])})

    def shared(self, dataset: Dataset) -> int:
        """How many of a dataset's test images it covered."""
        known = set(self.images)
        return sum(digits in known for digits in _hashes(dataset))


def access_now(run: Run, trial: int, dataset: Dataset) -> AccessRecord:
    """An access at this moment; nothing is written."""
    return AccessRecord(
        run.name,
        trial_name(trial),
        datetime.now(UTC).isoformat(timespec="seconds"),
        sum(bool(record.rungs) for record in run.journal.trials()),
        fingerprint_of_test(dataset),
        tuple(_hashes(dataset)),
    )


def all_accesses(run: Run, dataset: Dataset) -> list[AccessRecord]:
    """Every known access to test images of a dataset, or to some of them, oldest first.

    Those of the run's journal, and those of other runs in the same folder.
    """
    own = [AccessRecord.from_json(facts) for _, facts in run.journal.evaluation_log()]
    accesses = {*own, *_listed(run.folder.parent)}
    return sorted(
        (access for access in accesses if access.shared(dataset)), key=lambda access: access.when
    )


def access_rows(run: Run, dataset: Dataset) -> list[dict[str, Any]]:
    """`all_accesses` as JSON holds them.

    Returns:
        Instead of the hashes "shared", how many of the test images it covered, and "of",
        how many there are.
    """
    rows = []
    for access in all_accesses(run, dataset):
        row = asdict(access) | {"shared": access.shared(dataset), "of": len(dataset.of("test"))}
        del row["images"]
        rows.append(row)
    return rows


def access_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """How often test images were opened, in a sentence or three.

    Args:
        rows: of `access_rows`, at least one.
    """
    last = f"{rows[-1]['when'][:10]} for trial {rows[-1]['trial']}"
    if len(rows) == 1:
        return f"The test images were opened once, on {last}."
    runs = ", ".join(dict.fromkeys(row["run"] for row in rows))
    parts = sorted({row["shared"] for row in rows if row["shared"] < row["of"]})
    partly = ""
    if parts:
        counts = f"{parts[0]}" if len(parts) == 1 else f"{parts[0]} to {parts[-1]}"
        accesses = sum(row["shared"] < row["of"] for row in rows)
        partly = f" {accesses} of these times shared {counts} of the {rows[-1]['of']} images."
    return (
        f"The test images were opened {len(rows)} times (runs: {runs}), last on {last}.{partly} "
        "An evaluation before more searching makes the next one less honest; only new images help."
    )


def log_access(
    run: Run, trial: int, access: AccessRecord, results: Mapping[int, Mapping[str, Any]]
) -> None:
    """Log an access in the list of the runs folder and in the run's journal.

    Args:
        run: the run.
        trial: number of the trial that it was done for.
        access: from `access_now`.
        results: see `journal.Journal.log_evaluation`.

    Raises:
        RunError: it cannot be written.
    """
    list_access(run, access)
    run.journal.log_evaluation(trial, asdict(access), results)


def list_access(run: Run, access: AccessRecord) -> None:
    """Add an access to the list in the runs folder.

    Raises:
        RunError: it cannot be written.
    """
    path = run.folder.parent / _FILE
    line = json.dumps(asdict(access)) + "\n"
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


def _hashes(dataset: Dataset) -> list[str]:
    return sorted(file.sha256[:_DIGITS] for file in dataset.of("test"))


def _listed(runs_dir: Path) -> list[AccessRecord]:
    accesses = []
    with contextlib.suppress(FileNotFoundError):
        for line in (runs_dir / _FILE).read_text("utf-8", errors="replace").splitlines():
            # A line that a full disk cut short is passed over.
            with contextlib.suppress(ValueError, TypeError, KeyError):
                accesses.append(AccessRecord.from_json(json.loads(line)))
    return accesses
