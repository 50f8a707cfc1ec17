"""TensorBoard's event files: appended to or replaced atomically, readable at any time.

A file is a sequence of records, each an `Event` proto. Appending is unbuffered: a kill leaves at
most one incomplete record at the end, where every reader stops.
"""

import contextlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.summary.writer.record_writer import RecordWriter

# TensorBoard reads files with this in their names, in the order of the names.
_PREFIX = "events.out.tfevents."


def scalars(values: Mapping[str, float], step: int, wall_time: float) -> Event:
    """Points of curves.

    Args:
        values: tags and values; stored as float32.
        step: position on the x-axis.
        wall_time: seconds since 1970.
    """
    points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
    return Event(step=step, wall_time=wall_time, summary=Summary(value=points))


def image(
    tag: str, encoded: bytes, size: tuple[int, int], description: str, wall_time: float
) -> Event:
    """A picture.

    Args:
        tag: its name; slashes make groups.
        encoded: PNG or JPEG.
        size: width and height in pixels.
        description: Markdown.
        wall_time: seconds since 1970.
    """
    width, height = size
    picture = Summary.Image(width=width, height=height, encoded_image_string=encoded)
    metadata = SummaryMetadata(display_name=tag, summary_description=description)
    value = Summary.Value(tag=tag, image=picture, metadata=metadata)
    return Event(wall_time=wall_time, summary=Summary(value=[value]))


def add(folder: Path, events: Sequence[Event]) -> None:
    """Append to the newest event file of a folder, which `replace` has made.

    Raises:
        OSError: it cannot be written, or does not exist.
    """
    newest = _files(folder)[-1:]
    if not newest:
        raise FileNotFoundError(2, "No event file", str(folder))
    with newest[0].open("ab", buffering=0) as file:
        _write_all(file, _records(events))


def replace(folder: Path, events: Sequence[Event]) -> None:
    """Replace the event files of a folder atomically by a new one.

    An open TensorBoard discards what it has read, and reads the new file.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    old = _files(folder)
    number = int(old[-1].name.removeprefix(_PREFIX)) + 1 if old else 0
    wall_time = events[0].wall_time if events else 0.0
    opening = [
        Event(wall_time=wall_time, file_version="brain.Event:2"),
        Event(wall_time=wall_time, session_log=SessionLog(status=SessionLog.START)),
    ]
    new = folder / f"{_PREFIX}{number:06d}"
    temporary = folder / f".{number:06d}.{os.getpid()}"
    try:
        with temporary.open("wb", buffering=0) as file:
            _write_all(file, _records([*opening, *events]))
        temporary.rename(new)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    for path in [*old, *folder.glob(".*")]:  # and temporary files of a killed process
        path.unlink()


def _files(folder: Path) -> list[Path]:
    """Files made by `replace`, the newest last."""
    return sorted(
        path for path in folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdecimal()
    )


def _write_all(file: io.FileIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _records(events: Sequence[Event]) -> bytes:
    buffer = io.BytesIO()
    writer = RecordWriter(buffer)
    for event in events:
        writer.write(event.SerializeToString())
    return buffer.getvalue()
