"""Bytes and files to pictures: the one decoder of training, the line and the web side."""

from pathlib import Path

import cv2
import numpy as np

from edge.errors import PictureError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def decode_picture(data: bytes, name: str = "the picture") -> np.ndarray:
    """Decodes JPEG, PNG, WebP, BMP or TIFF bytes to uint8 [H, W, 3] BGR.

    EXIF orientation is applied, grey becomes three equal channels, 16 bit becomes 8, alpha is
    dropped. Raises PictureError, naming the picture, for anything else.
    """
    if not data:
        raise PictureError(f"{name}: is empty (0 bytes)")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None or picture.size == 0:
        raise PictureError(f"{name}: is not a picture that can be decoded (JPEG, PNG, WebP, BMP, TIFF)")
    return picture


def read_bytes(path: str | Path) -> bytes:
    """The bytes of a picture file; raises PictureError naming the file when it cannot be read."""
    path = Path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise PictureError(f"{path}: no such file") from None
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror})") from None


def read_picture(path: str | Path) -> np.ndarray:
    """Reads a picture file to uint8 [H, W, 3] BGR; raises PictureError naming the file."""
    return decode_picture(read_bytes(path), str(path))
