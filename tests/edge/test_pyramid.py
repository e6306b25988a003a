"""Every level of the pyramid is what halving the whole picture of three colours makes of it."""

import cv2
import numpy as np
import pytest

from edge.pyramid import Pyramid


@pytest.mark.parametrize(("width", "height", "halvings"), [(1280, 720, 2), (1920, 1080, 3), (64, 48, 1), (320, 200, 0)])
def test_each_level_and_each_window_of_it_is_the_halved_picture(width: int, height: int, halvings: int) -> None:
    rng = np.random.default_rng(width)
    pyramid = Pyramid(width, height, halvings)
    whole = rng.integers(0, 256, (height + 6, width + 10, 3), np.uint8)
    for left in (0, 7):  # a region of interest is a part of a larger picture, and the buffers are used again
        picture = whole[3 : 3 + height, left : left + width]
        last = pyramid.load(picture)
        halved = picture
        for level in range(halvings + 1):
            if level:
                halved = cv2.resize(halved, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            part = pyramid.part(level, 2, 20, 4, 26)
            assert np.array_equal(np.dstack(part), halved[2:20, 4:26])
        assert np.array_equal(np.dstack(last), halved)
