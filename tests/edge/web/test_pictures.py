"""A stranger's pictures: looked at before they are decoded, decoded no larger than needed."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.demo import bundled_model
from edge.errors import PictureError
from edge.model import Classifier, Resize, to_pixels
from edge.picture import decode_picture
from edge.simulator.dataset import draw
from edge.web.pictures import KEPT, MAX_PIXELS, MAX_SCANS, classify_files, decode, is_reduced, read_header
from tests.edge.web.conftest import painted

# A 16 x 16 JPEG in four inks (CMYK, as Adobe's programs write it), of the colour red 200, green 40, blue 60.
FOUR_INKS = (
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwANCQoLCggNCwoLDg4NDxMgFRMSEhMnHB4XIC4pMTAuKS0sMzpKPjM2RjcsLUBXQUZMTlJTUjI+WmFa"
    "UGBKUVJP/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAAGB//EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMA"
    "TQBZAEsAAD8ArESlWnAAAAP/2Q=="
)
KINDS = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp", ".tiff": "tiff"}


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (17, 9), (640, 480)])
def test_the_header_says_the_size_that_decoding_gives(suffix: str, size: tuple[int, int]) -> None:
    header = read_header(painted("red", *size, suffix=suffix))
    assert header == (KINDS[suffix], *size)


@pytest.mark.parametrize("lossless", [True, False])
def test_both_kinds_of_webp_are_measured(lossless: bool) -> None:
    pixels = np.zeros((30, 50, 3), np.uint8)
    data = bytes(cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 80])[1])
    assert read_header(data) == ("webp", 50, 30)
    assert data[12:16] == (b"VP8L" if lossless else b"VP8 ")


def test_a_progressive_jpeg_is_taken_and_one_built_to_take_long_is_not() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    data = bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    assert decode(data, "p.jpg").shape == (64, 64, 3)
    last = data.rindex(b"\xff\xda")
    slow = data[:last] + data[last:-2] * (MAX_SCANS + 1) + data[-2:]
    with pytest.raises(PictureError, match="scans"):
        decode(slow, "slow.jpg")


def bomb_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (40_001, 1), (1, 40_001), (8_000, 8_000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match=f"{size[0]} x {size[1]} pixels"):
        decode(bomb_png(*size), "bomb.png")


@pytest.mark.parametrize(
    ("size", "limit"), [((40_001, 1), "side may have at most 30000"), ((8_000, 8_000), "40 million")]
)
def test_a_picture_that_is_refused_for_its_size_is_told_the_limit_that_it_hit(
    size: tuple[int, int], limit: str
) -> None:
    with pytest.raises(PictureError, match=limit):
        decode(bomb_png(*size), "bomb.png")


def test_the_limit_lets_a_large_camera_through() -> None:
    assert 7952 * 5000 < MAX_PIXELS < 50_000_000


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_header_reader(data: bytes) -> None:
    read_header(data)


def test_a_png_whose_chunk_promises_more_than_there_is_takes_no_memory_and_no_time() -> None:
    data = bytearray(painted("green", 20, 10, ".png"))
    data[33:37] = b"\xff\xff\xff\xff"  # the length of the chunk after the header: 4 GB
    with pytest.raises(PictureError):
        decode(bytes(data), "bomb.png")


@settings(deadline=None)
@given(st.sampled_from(list(KINDS)), st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_no_damage_breaks_the_decoder(suffix: str, at: int, damage: bytes) -> None:
    data = bytearray(painted("green", 20, 10, suffix))
    at %= len(data)
    data[at : at + len(damage)] = damage
    try:
        decode(bytes(data), "damaged")
    except PictureError as error:
        assert str(error).startswith("damaged: ")


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same_to_the_model(factor: int) -> None:
    rng = np.random.default_rng(factor)
    coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
    scene = cv2.resize(coarse, (64 * KEPT * factor + 8, 48 * KEPT * factor + 6), interpolation=cv2.INTER_CUBIC)
    data = bytes(cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    small = decode(data, "large.jpg", (48, 64))
    assert small.shape[0] == -(-scene.shape[0] // factor)
    ours = to_pixels(small, 48, 64, Resize()).astype(int)
    full = to_pixels(decode_picture(data), 48, 64, Resize()).astype(int)
    assert np.abs(ours - full).mean() < 2


def test_a_jpeg_that_is_only_just_large_enough_is_decoded_whole() -> None:
    side = 2 * KEPT * 64 - 1
    data = painted("red", side, side - 60)
    assert decode(data, "a.jpg", (64, 64)).shape == (side - 60, side, 3)


def enlarged(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Drawn parts, which the bundled model knows, and real fruit, of which it is unsure, as a large camera has them."""
    draw(folder, 2, 9)
    pictures = [cv2.imread(str(path)) for path in sorted(folder.glob("*/*.png"))]
    fruits = sorted((Path(__file__).resolve().parents[4] / "shared/data/fruits/test").glob("*/3*_100.jpg"))[:12]
    pictures += [cv2.imread(str(path)) for path in fruits]
    rng = np.random.default_rng(1)
    for n, picture in enumerate(pictures):
        factor = 96 * KEPT * (2, 4)[n % 2] / min(picture.shape[:2])
        large = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        if n % 4 < 2:  # a sensor's grain
            large = np.clip(large + rng.normal(0, 5, (*large.shape[:2], 1)), 0, 255).astype(np.uint8)
        chroma = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)[n // 2 % 2]
        how = [cv2.IMWRITE_JPEG_QUALITY, 75 + n, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, chroma]
        yield f"{n}.jpg", bytes(cv2.imencode(".jpg", large, how)[1])


def test_the_answer_for_a_large_jpeg_is_that_for_all_of_its_pixels(tmp_path: Path) -> None:
    classifier = Classifier(bundled_model(), "cpu")
    files = list(enlarged(tmp_path / "parts"))
    assert all(is_reduced(data, (classifier.card.height, classifier.card.width)) for _, data in files)
    whole = classifier.classify([decode(data, name) for name, data in files])
    found = classify_files(classifier, files)
    moved = [
        max(abs(a - b) for a, b in zip(one.probabilities, other.probabilities, strict=True))
        for one, other in zip(found, whole, strict=True)
    ]
    assert max(moved) < 0.01
    assert any(moved), "no picture was answered from a reduced scale"
    unsure = [how for how, one in zip(moved, found, strict=True) if one.confidence < 0.995 and one.known]
    assert unsure
    assert not any(unsure), "an answer that is not sure was given from a reduced scale"


def with_orientation(jpeg: bytes, value: int) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, value, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize("enough", [None, (32, 32)])
def test_the_cameras_rotation_is_undone_also_at_a_reduced_scale(enough: tuple[int, int] | None) -> None:
    pixels = np.zeros((200, 400, 3), np.uint8)
    pixels[:, :200] = (0, 0, 255)
    data = with_orientation(bytes(cv2.imencode(".jpg", pixels)[1]), 6)  # 6: turned a quarter to the right
    upright = decode(data, "turned.jpg", enough)
    height, width = upright.shape[:2]
    assert height == 2 * width
    assert upright[height // 4, width // 2, 2] > 200
    assert upright[3 * height // 4, width // 2, 2] < 50


TURNED_BY = {  # what undoes each of EXIF's eight orientations (CIPA DC-008, table 6)
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90,
}  # fmt: skip


@pytest.mark.parametrize("value", TURNED_BY)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_of_every_kind_of_file_is_undone(kind: str, value: int) -> None:
    image = pytest.importorskip("PIL.Image")
    corners = np.array([[[200, 30, 40], [40, 190, 60]], [[60, 70, 210], [220, 220, 50]]], np.uint8)
    pixels = corners.repeat(24, 0).repeat(40, 1)
    exif = image.Exif()
    exif[0x0112] = value
    file = io.BytesIO()
    how = {"tiffinfo": exif} if kind == "TIFF" else {"exif": exif, "quality": 95}
    image.fromarray(pixels).save(file, kind, **how)
    seen = decode(file.getvalue(), "turned")[..., ::-1].astype(int)
    upright = TURNED_BY[value](pixels)
    assert seen.shape == upright.shape
    assert np.abs(seen - upright).mean() < 4


MODES = {
    "JPEG": "CMYK L YCbCr", "PNG": "L P LA RGBA", "WEBP": "RGBA", "TIFF": "CMYK L P LA RGBA YCbCr", "BMP": "L P RGBA",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes.split()])
def test_what_another_program_writes_is_seen_in_its_colours(kind: str, mode: str) -> None:
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (40, 30), (200, 40, 60)).convert(mode)
    file = io.BytesIO()
    picture.save(file, kind)
    seen = decode(file.getvalue(), "x")[15, 20, ::-1].astype(int)
    assert np.abs(seen - picture.convert("RGB").getpixel((20, 15))).max() < 8


def test_numbers_that_no_screen_shows_are_refused_with_a_sentence() -> None:
    image = pytest.importorskip("PIL.Image")
    for pixels in (np.full((8, 8), 0.5, np.float32), np.full((8, 8), 2**30, np.int32)):
        file = io.BytesIO()
        image.fromarray(pixels).save(file, "TIFF")
        with pytest.raises(PictureError, match=r"x.tiff: is not a picture that can be decoded \(JPEG, PNG"):
            decode(file.getvalue(), "x.tiff")


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_alpha_and_sixteen_bits_become_three_channels_of_eight(suffix: str) -> None:
    for pixels in (
        np.full((8, 8), 200, np.uint8),
        np.full((8, 8), 200 * 257, np.uint16),
        np.full((8, 8, 4), 200, np.uint8),
        np.full((8, 8, 3), 200 * 257, np.uint16),
    ):
        decoded = decode(bytes(cv2.imencode(suffix, pixels)[1]), "x")
        assert decoded.dtype == np.uint8
        assert decoded.shape == (8, 8, 3)
        assert np.abs(decoded.astype(int) - 200).max() <= 1


def test_a_jpeg_in_printing_inks_is_seen_in_its_colours() -> None:
    decoded = decode(base64.b64decode(FOUR_INKS), "cmyk.jpg")
    assert np.abs(decoded.astype(int) - (60, 40, 200)).max() < 8


def test_of_a_file_with_several_pictures_the_first_is_taken() -> None:
    pages = [np.full((16, 16, 3), colour, np.uint8) for colour in ((0, 0, 200), (0, 200, 0))]
    _, data = cv2.imencodemulti(".tiff", pages)
    assert decode(bytes(data), "pages.tiff")[8, 8].tolist() == [0, 0, 200]
