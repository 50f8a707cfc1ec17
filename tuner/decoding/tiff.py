"""The first directory of a TIFF file or an EXIF block, and a TIFF file of its pixels alone.

TIFF 6.0: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf, BigTIFF:
https://www.awaresystems.be/imaging/tiff/bigtiff.html
"""

import struct
from typing import NamedTuple

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 273, 274, 277, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
SAMPLE_FORMAT, PROFILE = 339, 34675

# What decoding the pixels takes; 512 to 521 are of the old JPEG compression.
_PIXEL_TAGS = {
    *(WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, 266, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP),
    *(STRIP_BYTES, 284, 292, 293, 317, 320, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES),
    *(338, SAMPLE_FORMAT, 347, *range(512, 522), 529, 530, 531, 532),
}
_INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}
_VALUE_BYTES = {2: 1, 5: 8, 7: 1, 10: 8, 11: 4, 12: 8} | {
    kind: struct.calcsize(f"={code}") for kind, code in _INTEGERS.items()
}
# As many strips as an image of 250 million pixels in rows of 2500 has, with a strip for each row.
_MAX_VALUES = 100_000


class _Entry(NamedTuple):
    kind: int
    values: int
    place: int

    @property
    def length(self) -> int:
        return self.values * _VALUE_BYTES[self.kind]


class Directory:
    """The first directory of `data`.

    Raises:
        struct.error: it ends early.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data.startswith(b"II") else ">"
        self._big = self._unpack("H", 2)[0] == 43
        # The codes of a number of entries, and of an offset or a count.
        self._number, self._word = ("Q", "Q") if self._big else ("H", "I")
        (first,) = self._unpack(self._word, 8 if self._big else 4)
        (number,) = self._unpack(self._number, first)
        first += struct.calcsize(f"={self._number}")
        self._bytes = 20 if self._big else 12
        if first + number * self._bytes > len(data):
            raise struct.error("The directory ends early")
        starts = range(first, first + min(number, 65535) * self._bytes, self._bytes)
        self._entries: dict[int, _Entry] = {}
        for start in starts:
            tag, entry = self._entry(start)
            if entry is not None:
                self._entries.setdefault(tag, entry)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The integers of a tag; none if it is missing or holds anything else.

        Raises:
            struct.error: they lie past the end, or are too many.
        """
        entry = self._entries.get(tag)
        if entry is None or entry.kind not in _INTEGERS:
            return ()
        if entry.values > _MAX_VALUES:
            raise struct.error("There are too many values")
        return self._unpack(f"{entry.values}{_INTEGERS[entry.kind]}", entry.place)

    def number(self, tag: int, default: int) -> int:
        """The first of them."""
        return (*self.numbers(tag), default)[0]

    def orientation(self) -> int:
        """1 to 8; 1 if it is missing or none of these."""
        orientation = self.number(ORIENTATION, 1)
        return orientation if 1 <= orientation <= 8 else 1

    def content(self, tag: int) -> bytes | None:
        """The bytes of a tag's values, None if it is missing."""
        entry = self._entries.get(tag)
        return entry and self._data[entry.place : entry.place + entry.length]

    def pixels_only(self, photometric: int) -> bytes:
        """The file, with a directory that has only the tags that decoding its pixels needs.

        Whatever its other tags and pages hold, however long or broken, is then never looked at.
        BigTIFF becomes plain TIFF, since Pillow reads none that is big-endian.

        Raises:
            struct.error: a tag lies past the end, or is too long.
        """
        tags = sorted(_PIXEL_TAGS & self._entries.keys())
        start = len(self._data) + len(self._data) % 2
        fields, values = [], b""
        for tag in tags:
            kind, content = self._value(tag, photometric)
            count = len(content) // _VALUE_BYTES[kind]
            field = content.ljust(4, b"\0")
            if len(content) > 4:
                field = self._pack("I", start + 6 + 12 * len(tags) + len(values))
                values += content + b"\0" * (len(content) % 2)
            fields.append(self._pack("HHI", tag, kind, count) + field)
        head = self._data[:2] + self._pack("HI", 42, start)
        padding = b"\0" * (start - len(self._data))
        count_of_fields, no_next = self._pack("H", len(fields)), b"\0" * 4
        return b"".join([head, self._data[8:], padding, count_of_fields, *fields, no_next, values])

    def _value(self, tag: int, photometric: int) -> tuple[int, bytes]:
        """The kind and the bytes of a tag, as plain TIFF has them."""
        entry = self._entries[tag]
        if entry.values > _MAX_VALUES or entry.place + entry.length > len(self._data):
            raise struct.error("A tag ends early")
        if tag == PHOTOMETRIC:
            return 3, self._pack("H", photometric)
        if entry.kind in (16, 17, 18):
            return 4, self._pack(f"{entry.values}I", *self.numbers(tag))
        return entry.kind, self._data[entry.place : entry.place + entry.length]

    def _pack(self, code: str, *values: int) -> bytes:
        return struct.pack(self._order + code, *values)

    def _unpack(self, code: str, place: int) -> tuple[int, ...]:
        if place > len(self._data):
            raise struct.error("It lies past the end")
        return struct.unpack_from(self._order + code, self._data, place)

    def _entry(self, start: int) -> tuple[int, _Entry | None]:
        tag, kind = self._unpack("HH", start)
        (count,) = self._unpack(self._word, start + 4)
        if kind not in _VALUE_BYTES:
            return tag, None
        inside = start + self._bytes - struct.calcsize(f"={self._word}")
        entry = _Entry(kind, count, inside)
        if entry.length > struct.calcsize(f"={self._word}"):
            entry = entry._replace(place=self._unpack(self._word, inside)[0])
        return tag, entry


def exif_orientation(exif: bytes) -> int:
    """The orientation of an EXIF block, 1 to 8; 1 if it has none, or is broken.

    Broken blocks are common in sound photos: viewers pass over them too.
    """
    try:
        return Directory(exif.removeprefix(b"Exif\0\0")).orientation()
    except struct.error:
        return 1
