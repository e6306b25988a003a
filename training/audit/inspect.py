"""One pass over all pictures: what each file is and how it looks, as numbers. Nothing decoded is kept."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from rich.progress import Progress

from edge.engines import cores
from edge.errors import PictureError
from edge.model import Resize, to_pixels
from training.layout import File
from training.reading import Header, read_header, read_sound
from training.similarity import Looks

CHUNK = 64
MEASURED_SIDE = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """One picture file. wrong says why it cannot be read; then all figures are 0.

    dark and bright are the 5th and 95th percentile of its grey values, mean is their mean, spread the
    largest standard deviation of the three colours, 0 to 255. sharpness is the variance of its
    Laplacian (J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000)
    over that of its grey values, on a longer side of at most 256 pixels: it does not follow the contrast of the scene.
    """

    file: File
    wrong: str | None
    header: Header | None = None
    sha256: str = ""
    width: int = 0
    height: int = 0
    dark: float = 0.0
    bright: float = 0.0
    mean: float = 0.0
    spread: float = 0.0
    sharpness: float = 0.0


def inspect(
    files: Sequence[File],
    progress: Progress,
    size: int | None = None,
    each: Callable[[np.ndarray, np.ndarray], None] | None = None,
) -> tuple[list[Seen], Looks]:
    """Reads every file once; what was seen of each, and what the pictures look like, row by row.

    With size, each is called for every few readable pictures with their rows, int64 [n], and the
    pictures at that size, uint8 [n, size, size, 3] RGB.
    """
    looks = Looks.room(len(files))

    def one(row: int) -> tuple[Seen, np.ndarray | None]:
        try:
            data = files[row].path.read_bytes()
            picture = read_sound(data, files[row].name)
        except OSError as error:
            return Seen(files[row], f"cannot be read ({error.strerror})"), None
        except PictureError as error:
            return Seen(files[row], str(error).removeprefix(f"{files[row].name}: ")), None
        looks.put(row, picture)
        seen = _measure(files[row], data, picture)
        return seen, to_pixels(picture, size, size, Resize()) if size else None

    seen: list[Seen] = []
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        task = progress.add_task("looking at pictures", total=len(files))
        for rows in _chunks(len(files)):
            outcomes = list(pool.map(one, rows))
            seen += [what for what, _ in outcomes]
            good = [(row, pixels) for row, (_, pixels) in zip(rows, outcomes, strict=True) if pixels is not None]
            if each and good:
                each(np.array([row for row, _ in good]), np.stack([pixels for _, pixels in good]))
            progress.advance(task, len(rows))
        progress.remove_task(task)
    return seen, looks


def _chunks(n: int) -> Iterator[range]:
    return (range(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK))


def _measure(file: File, data: bytes, picture: np.ndarray) -> Seen:
    height, width = picture.shape[:2]
    scale = MEASURED_SIDE / max(height, width)
    if scale < 1:
        small = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    spread = float(picture.reshape(-1, 3).std(axis=0).max())
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    dark, bright = np.percentile(grey, (5, 95))
    return Seen(
        file,
        None,
        read_header(data),
        hashlib.sha256(data).hexdigest(),
        width,
        height,
        float(dark),
        float(bright),
        float(grey.mean()),
        spread,
        float(edges.var()) / max(float(grey.var()), 1e-6),
    )
