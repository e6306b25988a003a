"""A stranger's bytes to a picture: looks at the header before anything is decoded, and decodes no more than needed."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from edge.errors import PictureError
from edge.model import Classifier
from edge.picture import TIFF, decode_picture, read_tiff
from edge.records import Prediction

MAX_PIXELS = 40_000_000
MAX_SIDE = 30_000
KEPT = 4
SURE = 0.995
MAX_SCANS = 100  # of a progressive JPEG; each costs a pass over the whole picture, an honest file has about ten
_NO_PICTURE = "is not a picture that can be decoded (JPEG, PNG, WebP, BMP, TIFF)"


class Header(NamedTuple):
    """What a picture file says of itself, in pixels before any EXIF rotation."""

    kind: str
    width: int
    height: int


def read_header(data: bytes) -> Header | None:
    """The kind and size that the first bytes promise; None when they are no header of a known kind."""
    for magic, read in _READERS:
        if data.startswith(magic):
            try:
                return read(data)
            except (struct.error, IndexError):
                return None
    return None


def classify_files(classifier: Classifier, files: Sequence[tuple[str, bytes]]) -> list[Prediction]:
    """Decodes and classifies whole picture files, each a name and its bytes, in one call; raises PictureError.

    A large JPEG is first looked at at a reduced scale. That moves a model's logits a little, and the nearer
    its probability p is to 1/2 the more that moves p, by p (1 - p): so the answer stands only where p is at
    least SURE and the picture is like those trained on. Else the whole picture is decoded and classified.
    """
    enough = (classifier.card.height, classifier.card.width)
    found = classifier.classify([decode(data, name, enough) for name, data in files])
    unsure = [
        n
        for n, (one, (_, data)) in enumerate(zip(found, files, strict=True))
        if (one.confidence < SURE or not one.known) and is_reduced(data, enough)
    ]
    again = classifier.classify([decode(files[n][1], files[n][0]) for n in unsure])
    for n, one in zip(unsure, again, strict=True):
        found[n] = one
    return found


def is_reduced(data: bytes, enough: tuple[int, int]) -> bool:
    """Whether `decode` would give less than the whole picture."""
    header = read_header(data)
    return header is not None and header.kind == "jpeg" and _reduction(header, enough) is not None


def decode(data: bytes, name: str, enough: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a stranger's JPEG, PNG, WebP, BMP or TIFF to uint8 [H, W, 3] BGR.

    enough is a height and width in pixels: a JPEG at least eight times as large is decoded at a half, a
    quarter or an eighth, whichever is still at least KEPT times that size: what is averaged away then is
    averaged away later anyhow, and it costs a fraction of the time. Raises PictureError for anything
    that is not a picture, is larger than MAX_PIXELS, or is built to take long.
    """
    if not data:
        raise PictureError(f"{name}: is empty (0 bytes)")
    header = read_header(data)
    if header is None or min(header.width, header.height) < 1:
        raise PictureError(f"{name}: {_NO_PICTURE}")
    size = f"{name}: is {header.width} x {header.height} pixels"
    if header.width * header.height > MAX_PIXELS:
        raise PictureError(f"{size}; at most {MAX_PIXELS // 1_000_000} million are taken")
    if max(header.width, header.height) > MAX_SIDE:
        raise PictureError(f"{size}; a side may have at most {MAX_SIDE}")
    if header.kind != "jpeg":
        return decode_picture(data, name)
    if data.count(b"\xff\xda") > MAX_SCANS:
        raise PictureError(f"{name}: has more than {MAX_SCANS} scans, which no camera or program writes")
    flag = _reduction(header, enough)
    if flag is None:
        return decode_picture(data, name)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if picture is None:
        raise PictureError(f"{name}: {_NO_PICTURE}")
    return picture


def _reduction(header: Header, enough: tuple[int, int] | None) -> int | None:
    """The flag that decodes a JPEG no larger than needed, or None for all of it."""
    if enough is None:
        return None
    # The model's frame is filled on the tighter side; a rotation by EXIF may swap the sides.
    scale = min(
        max(header.width / enough[1], header.height / enough[0]),
        max(header.width / enough[0], header.height / enough[1]),
    )
    for factor, flag in (
        (8, cv2.IMREAD_REDUCED_COLOR_8),
        (4, cv2.IMREAD_REDUCED_COLOR_4),
        (2, cv2.IMREAD_REDUCED_COLOR_2),
    ):
        if scale >= KEPT * factor:
            return flag
    return None


def _jpeg(data: bytes) -> Header | None:
    at = 2
    while True:
        if data[at] != 0xFF:
            return None
        while data[at] == 0xFF:  # markers may be preceded by any number of fill bytes
            at += 1
        marker = data[at]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 4)
            return Header("jpeg", width, height)
        if marker in (0xD9, 0xDA):  # the end, or the pixels, before any size
            return None
        at += 1 + int.from_bytes(data[at + 1 : at + 3], "big")


def _png(data: bytes) -> Header | None:
    if data[12:16] != b"IHDR":
        return None
    # OpenCV allocates what a chunk says it holds, up to 4 GB, before it looks whether that is there.
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        at += 12 + size
        if at > len(data):
            return None
    return Header("png", *struct.unpack_from(">II", data, 16))


def _webp(data: bytes) -> Header | None:
    if data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return Header("webp", 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return Header("webp", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    return None


def _bmp(data: bytes) -> Header | None:
    (size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if size == 12 else "<ii", data, 18)
    return Header("bmp", abs(width), abs(height))


def _tiff(data: bytes) -> Header | None:
    width, height = 256, 257
    size = read_tiff(data, (width, height))
    return Header("tiff", size[width], size[height]) if len(size) == 2 else None


_READERS = (
    (b"\xff\xd8\xff", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    *((begins, _tiff) for begins in TIFF),
)
