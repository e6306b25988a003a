import sys
import threading

import pytest

from edge.config import BeltSettings
from edge.flow import BeltFlow


def test_the_speed_may_be_asked_for_while_pictures_go_on_coming():
    flow = BeltFlow(BeltSettings(pixels_per_mm=1.0, speed_mm_s=480))
    stop = threading.Event()

    def see() -> None:
        while not stop.is_set():
            flow.learn(8.0, 1 / 60, 8.0)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    eye = threading.Thread(target=see)
    eye.start()
    try:
        speeds = [speed[0] for _ in range(2000) if (speed := flow.speed_mm_s)]
    finally:
        stop.set()
        eye.join()
        sys.setswitchinterval(interval)
    assert speeds
    assert speeds == pytest.approx([480.0] * len(speeds))
