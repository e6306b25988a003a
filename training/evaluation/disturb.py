"""How a camera drifts: blurred, out of focus, noisy, dark, bright, turned, compressed, in measured steps.

Each disturbance works on the picture as the camera gave it, before it is made the model's input, so
its strength is in the camera's own terms: pixels of that picture, grey levels of 255, per cent,
degrees, JPEG quality. The families follow Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", 2019; the strengths are ours.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Disturb = Callable[[np.ndarray, float, int], np.ndarray]


@dataclass(frozen=True)
class Disturbance:
    """One way to spoil a picture, at five strengths from mild to strong.

    apply takes a BGR picture, uint8 [h, w, 3], a strength and the picture's number, from which what is
    random follows; it returns a picture of the same shape. cause is what on the line it looks like.
    """

    name: str
    unit: str
    strengths: tuple[float, float, float, float, float]
    apply: Disturb
    cause: str


def motion_blur(picture: np.ndarray, pixels: float, number: int) -> np.ndarray:
    """The mean over a path of so many pixels along the x axis: how far things travel while the shutter is open."""
    del number
    whole = math.ceil(pixels) | 1  # an odd kernel has a middle; its ends count in part
    kernel = np.ones((1, whole), np.float32)
    kernel[0, [0, -1]] = 1 - (whole - pixels) / 2
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE))


def defocus(picture: np.ndarray, radius: float, number: int) -> np.ndarray:
    """The mean over a disc: the circle of confusion of a lens that is out of focus. radius is in pixels."""
    del number
    reach = math.ceil(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # A pixel counts by how far it lies inside the disc, so that a radius need not be whole.
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(cv2.filter2D(picture, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE))


def noise(picture: np.ndarray, sigma: float, number: int) -> np.ndarray:
    """Gaussian noise of every pixel and channel for itself; sigma in grey levels of 255."""
    drawn = np.random.default_rng([number, 1]).standard_normal(picture.shape, np.float32)
    return np.asarray(np.clip(np.rint(picture + np.float32(sigma) * drawn), 0, 255).astype(np.uint8))


def darker(picture: np.ndarray, percent: float, number: int) -> np.ndarray:
    """Less light by so many per cent, on the picture's values as they are."""
    del number
    return cv2.convertScaleAbs(picture, alpha=1 - percent / 100)


def brighter(picture: np.ndarray, percent: float, number: int) -> np.ndarray:
    """More light by so many per cent; what passes 255 stays white."""
    del number
    return cv2.convertScaleAbs(picture, alpha=1 + percent / 100)


def rotation(picture: np.ndarray, degrees: float, number: int) -> np.ndarray:
    """Turned about its middle, every other picture the other way; border pixels are repeated outwards."""
    height, width = picture.shape[:2]
    angle = degrees if number % 2 else -degrees
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    return cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def jpeg(picture: np.ndarray, quality: float, number: int) -> np.ndarray:
    """Through JPEG and back, at a quality of 1 to 100."""
    del number
    _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, int(quality)))
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))


DISTURBANCES = (
    Disturbance("motion blur", "px", (2, 4, 8, 12, 20), motion_blur, "a longer exposure or a faster belt"),
    Disturbance("defocus", "px radius", (1, 2, 3, 5, 8), defocus, "a lens that moved, an item of another height"),
    Disturbance("noise", "of 255", (4, 8, 16, 32, 48), noise, "more gain for want of light"),
    Disturbance("less light", "%", (10, 20, 35, 50, 70), darker, "a lamp that ages, dust on the glass"),
    Disturbance("more light", "%", (10, 20, 40, 70, 100), brighter, "daylight that was not there before"),
    Disturbance("rotation", "°", (5, 10, 20, 45, 90), rotation, "a camera that was knocked, items that lie otherwise"),
    Disturbance("JPEG compression", "quality", (80, 50, 30, 15, 7), jpeg, "a stream that saves bandwidth"),
)
