"""Bytes to a picture for training: the line's decoder, behind checks that a line's camera does not need.

A file on a disk can be cut short, hold several pictures, or be so large that decoding it takes the
machine's memory; the camera's cannot.
"""

import io
import threading
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from edge.errors import PictureError
from edge.picture import decode_picture

MAX_PIXELS = 150_000_000  # 450 MB decoded; below where Pillow refuses of itself
LARGE_PIXELS = 25_000_000  # such pictures are decoded one at a time
_MOST = f"at most {MAX_PIXELS // 1_000_000} million pixels are read"
_one_large = threading.Lock()


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its picture before it is decoded: size in pixels, Pillow's mode, how many it holds."""

    kind: str
    width: int
    height: int
    mode: str
    pictures: int


def read_header(data: bytes) -> Header | None:
    """The header of a picture file, None where Pillow knows none; PictureError for one far beyond MAX_PIXELS."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with _opened(data) as image:
                frames = int(getattr(image, "n_frames", 1))
                return Header(image.format or "", image.width, image.height, image.mode, frames)
    except Image.DecompressionBombError:
        raise PictureError(f"is far too large; {_MOST}") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError):
        return None


def read_sound(data: bytes, name: str = "the picture") -> np.ndarray:
    """Decodes a whole picture to uint8 [H, W, 3] BGR, as edge.picture.decode_picture does.

    Raises PictureError, naming the picture, also for one that is cut short (the decoder would make
    up the rest, in grey) and for one of more than MAX_PIXELS.
    """
    try:
        header = read_header(data)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from None
    if header and header.width * header.height > MAX_PIXELS:
        raise PictureError(f"{name}: is {header.width} x {header.height} pixels; {_MOST}")
    if is_cut_short(data):
        raise PictureError(f"{name}: is cut short; the end of the picture is missing")
    if header and header.width * header.height > LARGE_PIXELS:
        with _one_large:
            return decode_picture(data, name)
    return decode_picture(data, name)


def is_cut_short(data: bytes) -> bool:
    """Whether a JPEG or PNG ends before its picture does.

    A whole file ends with its end marker. One that does not is decoded by Pillow to know, since
    cameras write their own things behind it.
    """
    if data.startswith(b"\xff\xd8"):
        if data.rstrip(b"\0\r\n ").endswith(b"\xff\xd9"):
            return False
    elif data.startswith(b"\x89PNG"):
        if b"IEND" in data[-16:]:
            return False
    else:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _opened(data) as image:
                image.load()
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
        return True
    return False


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))
