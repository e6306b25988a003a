"""The pictures that are measured with: drawn by the simulator, so they are the same everywhere."""

import cv2
import numpy as np

from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

JPEG_WIDTH, JPEG_HEIGHT, JPEG_QUALITY = 640, 480, 90
AT_S = 3.0  # by then the belt is full of items


def belt_picture(width: int, height: int) -> np.ndarray:
    """Parts on a belt, with a sensor's noise: uint8 [height, width, 3] BGR."""
    return Scene(World(SimulatorSettings(width=width, height=height))).draw(AT_S)


def jpeg() -> bytes:
    """What a client uploads: a 640x480 JPEG of quality 90."""
    picture = belt_picture(JPEG_WIDTH, JPEG_HEIGHT)
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
