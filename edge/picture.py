"""Bytes and files to pictures: the one decoder of training, the line and the web side."""

import struct
import sys
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from edge.errors import PictureError
from edge.files import read_file

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

MOST_BYTES = 500_000_000  # no picture of a camera is larger: uncompressed, 80 megapixels at 16 bit
PIPED = "standard input"
TIFF = (b"II*\0", b"MM\0*")
_PHOTOMETRIC = 262  # TIFF 6.0's PhotometricInterpretation, and those that OpenCV takes for RGB
_LAB = frozenset({8, 9, 10})


def decode_picture(data: bytes, name: str = "the picture") -> np.ndarray:
    """Decodes JPEG, PNG, WebP, BMP or TIFF bytes to uint8 [H, W, 3] BGR.

    EXIF orientation is applied, grey becomes three equal channels, 16 bit becomes 8, alpha is
    dropped. Raises PictureError, naming the picture, for anything else.
    """
    if not data:
        raise PictureError(f"{name}: is empty (0 bytes)")
    with suppress(struct.error):  # one that is cut short is not decoded below
        if data.startswith(TIFF) and read_tiff(data, (_PHOTOMETRIC,)).get(_PHOTOMETRIC) in _LAB:
            raise PictureError(f"{name}: is a TIFF in CIE Lab colours; save it in RGB")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None or picture.size == 0:
        raise PictureError(f"{name}: is not a picture that can be decoded (JPEG, PNG, WebP, BMP, TIFF)")
    return picture


def read_tiff(data: bytes, tags: Collection[int]) -> dict[int, int]:
    """The whole numbers that a TIFF's first directory gives for these tags; struct.error where it is cut short."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, at)
    values: dict[int, int] = {}
    for entry in range(at + 2, at + 2 + 12 * min(entries, 512), 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in tags:
            (values[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return values


def picture_files(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Of what is called a picture by its name: the files, and what is none, folders aside; both sorted.

    A named pipe would hold up whoever opens it for as long as nobody writes to it.
    """
    named = sorted(path for path in paths if path.suffix.lower() in SUFFIXES and not path.is_dir())
    return [path for path in named if path.is_file()], [path for path in named if not path.is_file()]


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file; raises PictureError naming the file when it is none or cannot be read."""
    try:
        return read_file(Path(path), MOST_BYTES)
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from None


def read_piped() -> bytes:
    """The bytes of a picture on standard input, until it ends; raises PictureError when there is no end to it."""
    if sys.stdin is None:
        raise PictureError(f"{PIPED}: is closed")
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
    except OSError as error:
        raise PictureError(f"{PIPED}: cannot be read ({error.strerror})") from None
    if len(data) > MOST_BYTES:
        raise PictureError(f"{PIPED}: cannot be read (it is larger than {MOST_BYTES / 1e6:g} MB)")
    return data


def read_picture(path: str | Path) -> np.ndarray:
    """Reads a picture file to uint8 [H, W, 3] BGR; raises PictureError naming the file."""
    return decode_picture(read_bytes(path), str(path))
