"""A file that takes a decoder seconds."""

from tests.support.sample_images import RGB, encode


def slow_jpeg(padding: int = 10_000_000) -> bytes:
    """A JPEG with so many bytes before its first segment, which Pillow reads one by one."""
    data = encode(RGB, "JPEG")
    return data[:2] + b"\xff" * padding + data[2:]
