"""A V4L2 camera as OpenCV shows it, in the reader's own process: `python -m tests.edge.camera.v4l2_camera`.

A test machine has no such device, so cv2.VideoCapture is the one thing that is made up here. This one
does MJPG, 1280x720 and 30 fps at most, has a gain, and lets nobody set its exposure.
"""

import time

import cv2
import numpy as np

from edge.capture import main
from edge.capture.opencv import OpencvCapture

MOST = {cv2.CAP_PROP_FRAME_WIDTH: 1280.0, cv2.CAP_PROP_FRAME_HEIGHT: 720.0, cv2.CAP_PROP_FPS: 30.0}


class Webcam:
    """What edge.capture.opencv asks of cv2.VideoCapture; a property that it lacks reads -1."""

    def __init__(self, source: str, api: int) -> None:
        assert api == cv2.CAP_V4L2
        self._has = {**MOST, cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV")), cv2.CAP_PROP_GAIN: 0.0}
        self._taken_at = 0.0
        self._rng = np.random.default_rng(1)

    def isOpened(self) -> bool:
        return True

    def getBackendName(self) -> str:
        return "V4L2"

    def set(self, name: int, value: float) -> bool:
        if name not in self._has:
            return False
        self._has[name] = min(value, MOST.get(name, value))
        return True

    def get(self, name: int) -> float:
        if name == cv2.CAP_PROP_POS_MSEC:
            return self._taken_at * 1e3
        return self._has.get(name, -1.0)

    def grab(self) -> bool:
        time.sleep(1 / self._has[cv2.CAP_PROP_FPS])
        self._taken_at = time.monotonic()
        return True

    def retrieve(self, into: np.ndarray | None) -> tuple[bool, np.ndarray]:
        shape = int(self._has[cv2.CAP_PROP_FRAME_HEIGHT]), int(self._has[cv2.CAP_PROP_FRAME_WIDTH]), 3
        return True, self._rng.integers(60, 120, shape, dtype=np.uint8)

    def release(self) -> None:
        """There is nothing to let go of."""


if __name__ == "__main__":
    cv2.VideoCapture = Webcam  # type: ignore[misc,assignment]
    main(OpencvCapture)
