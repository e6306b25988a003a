"""Every odd kind of picture is trained on as the line would see it, or left out in a sentence that names it."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from edge.model import Resize, to_pixels
from tests.training.pictures import SHAPES, draw, write_pictures
from training.cli import main
from training.data import read

SIDE = 96


def rgb(number: int) -> np.ndarray:
    return draw("disc", number, SIDE)[..., ::-1].copy()


def wide() -> np.ndarray:
    """Twice as wide as high, and different at its left and its right."""
    return np.hstack([rgb(1), np.full((SIDE, SIDE, 3), 40, np.uint8)])


def saved(picture: Image.Image, form: str, **words: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **words)
    return buffer.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera stood on its side: shown, the first column becomes the top row
    return saved(Image.fromarray(wide()), "JPEG", quality=95, exif=exif)


def frames() -> tuple[Image.Image, dict[str, object]]:
    rest = [Image.fromarray(rgb(number)) for number in (2, 3)]
    return Image.fromarray(rgb(1)), {"save_all": True, "append_images": rest}


def animated(form: str, **words: object) -> bytes:
    first, more = frames()
    return saved(first, form, **more, **words)


GREY = Image.fromarray(rgb(1)).convert("L")
# Each with what it must come out as, RGB, and how far the pixels may be from that on average, of 255.
RIGHT: dict[str, tuple[bytes, np.ndarray, float]] = {
    "grey.png": (saved(GREY, "PNG"), np.array(GREY.convert("RGB")), 0.6),
    "grey.jpg": (saved(GREY, "JPEG", quality=95), np.array(GREY.convert("RGB")), 3),
    "deep.png": (cv2.imencode(".png", rgb(1)[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), rgb(1), 0.6),
    "deep.tif": (cv2.imencode(".tif", rgb(1)[..., ::-1].astype(np.uint16) * 257)[1].tobytes(), rgb(1), 0.6),
    "palette.png": (saved(Image.fromarray(rgb(1)).quantize(256), "PNG"), rgb(1), 6),
    "transparent.png": (saved(Image.fromarray(rgb(1)).convert("RGBA"), "PNG"), rgb(1), 0.1),
    "cmyk.jpg": (saved(Image.fromarray(rgb(1)).convert("CMYK"), "JPEG", quality=95), rgb(1), 8),
    "turned.jpg": (turned(), np.rot90(wide(), -1), 3),
    "animated.webp": (animated("WEBP", lossless=True), rgb(1), 0.6),
    "animated.png": (animated("PNG"), rgb(1), 0.1),
    "pages.tif": (animated("TIFF"), rgb(1), 0.1),
}  # fmt: skip


def png_of_size(side: int) -> bytes:
    """A PNG that says it is so large, and has next to nothing in it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


WHOLE_PNG, WHOLE_JPEG = saved(Image.fromarray(rgb(1)), "PNG"), saved(Image.fromarray(rgb(1)), "JPEG")
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty.png": (b"", "is empty (0 bytes)"),
    "words.jpg": (b"<html>404</html>", "is not a picture that can be decoded"),
    "half.png": (WHOLE_PNG[: len(WHOLE_PNG) // 2], "is cut short; the end of the picture is missing"),
    "half.jpg": (WHOLE_JPEG[: len(WHOLE_JPEG) // 2], "is cut short; the end of the picture is missing"),
    "169-megapixels.png": (png_of_size(13_000), "is 13000 x 13000 pixels; at most 150 million pixels are read"),
    "bomb.png": (png_of_size(60_000), "is far too large; at most 150 million pixels are read"),
    "moving.gif": (animated("GIF"), "is not a picture by its name"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_an_odd_picture_is_what_it_shows(name: str, tmp_path: Path, progress: Progress) -> None:
    data, wanted, tolerance = RIGHT[name]
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / name).write_bytes(data)
    pictures = read(tmp_path, SIDE, SIDE, Resize(), progress)
    assert not pictures.skipped
    as_shown = to_pixels(np.ascontiguousarray(wanted[..., ::-1]), SIDE, SIDE, Resize())
    assert np.abs(pictures.store[0].astype(int) - as_shown).mean() <= tolerance


def test_a_photograph_with_the_camera_s_own_things_behind_it_is_whole(tmp_path: Path, progress: Progress) -> None:
    (tmp_path / "disc").mkdir()
    (tmp_path / "disc" / "phone.jpg").write_bytes(WHOLE_JPEG + b"SEFT trailer" * 50)
    assert not read(tmp_path, SIDE, SIDE, Resize(), progress).skipped


def test_a_picture_of_100_megapixels_is_read(tmp_path: Path, progress: Progress) -> None:
    (tmp_path / "disc").mkdir()
    large = np.full((10_000, 10_000), 90, np.uint8)
    large[:, 5000:] = 200
    cv2.imwrite(str(tmp_path / "disc" / "scan.png"), large, (cv2.IMWRITE_PNG_COMPRESSION, 1))
    pictures = read(tmp_path, 32, 32, Resize(), progress)
    assert not pictures.skipped
    assert pictures.store[0, 16, 4].tolist() == [90] * 3
    assert pictures.store[0, 16, 28].tolist() == [200] * 3


def test_a_training_goes_through_with_all_of_them_and_names_what_it_leaves_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = write_pictures(tmp_path / "pictures", dict.fromkeys(SHAPES, 12), side=SIDE)
    for name, content in {**RIGHT, **REFUSED}.items():
        (root / "disc" / name).write_bytes(content[0])
    words = ["--network", "simple_cnn", "--size", "32", "--epochs", "1", "--batch", "16", "--threads", "1"]
    assert main(["fit", str(root), "--out", str(tmp_path / "run"), *words]) == 0
    said = capfd.readouterr().err
    for name, (_, reason) in REFUSED.items():
        assert f"left out: disc/{name}: {reason}" in said
    assert said.count("left out:") == len(REFUSED)
    # And before that, the audit would have said it.
    assert main(["audit", str(root), "--skip-labels", "--json", str(tmp_path / "audit.json")]) == 1
    audited = (tmp_path / "audit.json").read_text()
    for name, (_, reason) in REFUSED.items():
        assert f"disc/{name}" in audited
        assert reason in audited


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({"disc": 12}, "has one class (disc); a classifier needs at least two"),
        ({"disc": 12, "square": 0}, "square: has no picture in it; add some, or remove the folder"),
        ({"disc": 12, "square": 3}, "class 'square' has 3 readable pictures to train on; at least 5 are needed"),
    ],
)
def test_a_dataset_that_is_too_small_is_refused_by_the_name_of_its_class(
    counts: dict[str, int], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pictures(tmp_path / "pictures", counts)
    assert main(["fit", str(root), "--out", str(tmp_path / "run"), "--network", "simple_cnn"]) == 2
    assert says in capsys.readouterr().err.splitlines()[-1]
