import cv2
import numpy as np
import pytest

from training.evaluation.disturb import DISTURBANCES, Disturbance, defocus, jpeg, motion_blur, noise, rotation

CHART = np.full((101, 101, 3), 120, np.uint8)
CHART[50, 50] = 255


@pytest.fixture
def scene() -> np.ndarray:
    """A picture with edges, colours and texture, uint8 [80, 100, 3]."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.integers(60, 190, (80, 100, 3), np.uint8), (0, 0), 2)
    cv2.rectangle(picture, (30, 20), (70, 50), (30, 160, 220), -1)
    return picture


@pytest.mark.parametrize("kind", DISTURBANCES, ids=lambda kind: kind.name)
def test_a_stronger_disturbance_leaves_less_of_the_picture(kind: Disturbance, scene: np.ndarray) -> None:
    before = scene.copy()
    spoiled = [kind.apply(scene, strength, 3) for strength in kind.strengths]
    assert all(one.shape == scene.shape and one.dtype == np.uint8 for one in spoiled)
    off = [float(np.abs(one.astype(int) - scene).mean()) for one in spoiled]
    assert off[0] > 0
    assert off == sorted(off)
    assert np.array_equal(scene, before)
    assert np.array_equal(kind.apply(scene, kind.strengths[2], 3), spoiled[2])


@pytest.mark.parametrize("pixels", [2, 4, 8, 12, 20])
def test_motion_smears_a_point_over_just_so_many_pixels_of_its_row(pixels: int) -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    smeared = motion_blur(point, pixels, 0)[..., 0]
    assert smeared.sum() == pytest.approx(1, abs=1e-5)
    assert not np.delete(smeared, 20, axis=0).any()
    assert 1 / smeared.max() == pytest.approx(pixels)


@pytest.mark.parametrize("radius", [1, 2, 3, 5, 8])
def test_defocus_spreads_a_point_over_a_disc_of_its_radius(radius: int) -> None:
    point = np.zeros((41, 41, 3), np.float32)
    point[20, 20] = 1
    spread = defocus(point, radius, 0)[..., 0]
    y, x = np.nonzero(spread > 1e-6)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.hypot(y - 20, x - 20).max() < radius + 0.5
    assert 1 / spread.max() == pytest.approx(np.pi * (radius + 0.05) ** 2, rel=0.15)


def test_noise_has_the_sigma_it_says_and_is_another_for_another_picture() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    spoiled = noise(flat, 16, 1)
    assert (spoiled.astype(int) - 128).std() == pytest.approx(16, rel=0.02)
    assert not np.array_equal(spoiled, noise(flat, 16, 2))


def test_a_rotation_turns_by_its_degrees_every_other_picture_the_other_way() -> None:
    mark = np.zeros((101, 101, 3), np.uint8)
    cv2.circle(mark, (80, 50), 4, (255, 255, 255), -1)
    turned = [rotation(mark, 45, number) for number in (0, 1)]
    places = [tuple(np.argwhere(one[..., 0] > 127).mean(axis=0) - 50) for one in turned]
    assert sorted(place[0] for place in places) == [pytest.approx(-21.2, abs=0.5), pytest.approx(21.2, abs=0.5)]
    assert all(place[1] == pytest.approx(21.2, abs=0.5) for place in places)


def test_jpeg_goes_through_a_real_codec() -> None:
    assert not np.array_equal(jpeg(CHART, 7, 0), CHART)
