import os

import cv2
import numpy as np
import pytest

from edge.bounded import within
from edge.camera import CameraSettings, open_source
from edge.clock import VirtualClock
from edge.errors import ConfigError
from edge.simulator.cutouts import Cutouts, cut_out
from edge.simulator.dataset import draw
from edge.simulator.relief import Specimen
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World


def on_white(colour: tuple[int, int, int], spot: tuple[int, int, int] | None = None) -> np.ndarray:
    """A soft-edged disc of 60 pixels on a white ground, as a camera and JPEG leave it."""
    fine = np.full((800, 800, 3), 255, np.uint8)
    cv2.circle(fine, (400, 400), 240, colour, -1)
    if spot:
        cv2.circle(fine, (400, 400), 80, spot, -1)
    small = cv2.GaussianBlur(cv2.resize(fine, (100, 100), interpolation=cv2.INTER_AREA), (0, 0), 0.7)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)


def halo(specimen: Specimen) -> float:
    """By how many grey levels the outline is lighter than the object just inside it, laid on black."""
    opacity = specimen.paint[..., 3].astype(np.float32) / 255
    grey = specimen.paint[..., :3].astype(np.float32).mean(axis=2) / np.maximum(opacity, 1e-3)
    deep = cv2.distanceTransform((opacity > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    rim, inside = (opacity > 0.15) & (deep <= 1.5), (deep > 3) & (deep <= 6)
    return float(grey[rim].mean() - grey[inside].mean())


@pytest.mark.parametrize("colour", [(30, 30, 160), (20, 20, 20), (60, 200, 240), (200, 220, 225)])
def test_a_cut_out_has_no_white_halo(colour):
    specimen = cut_out(on_white(colour))
    assert halo(specimen) < 8
    assert specimen.length_px == pytest.approx(60, abs=2)


def test_the_ground_is_gone_and_light_parts_inside_stay():
    specimen = cut_out(on_white((40, 40, 180), spot=(255, 255, 255)))
    opacity = specimen.paint[..., 3]
    middle = tuple(n // 2 for n in opacity.shape)
    assert opacity[middle] == 255
    assert specimen.paint[middle].min() > 240
    assert opacity[0, 0] == opacity[-1, -1] == 0


def test_the_outline_is_soft():
    opacity = cut_out(on_white((40, 40, 180))).paint[..., 3]
    partly = ((opacity > 20) & (opacity < 235)).sum()
    assert partly > 60


def test_a_picture_without_an_object_is_refused():
    with pytest.raises(ConfigError, match=r"blank\.png: shows no object"):
        cut_out(np.full((50, 50, 3), 255, np.uint8), "blank.png")


def test_real_fruit_is_cut_out_whole_and_without_halo(shared_data):
    cutouts = Cutouts(shared_data / "fruits" / "test")
    for folder in sorted((shared_data / "fruits" / "test").iterdir()):
        halos, shares = [], []
        for number in range(8):
            specimen = cutouts.get(folder.name, number)
            halos.append(halo(specimen))
            shares.append(float((specimen.paint[..., 3] > 127).mean()))
        # A dark fruit is lit at its rim, a light one shaded, by its own picture's lamp: never near white.
        assert np.mean(halos) < 12, folder.name
        assert min(shares) > 0.4, folder.name


def test_a_belt_of_fruit_is_drawn_with_its_true_boxes(shared_data):
    settings = SimulatorSettings(items=shared_data / "fruits" / "test", noise=0.0, light=0.0)
    scene = Scene(World(settings))
    assert scene.world.labels[:2] == ("apple_red_1", "avocado")
    frame, boxes = scene.draw(6.0), scene.boxes(6.0)
    assert len(boxes) > 5
    assert len({item.label for item, _ in boxes}) > 2
    belt = np.median(frame[40:-40].reshape(-1, 3), axis=0)
    for item, box in boxes:
        if item.label != "foreign":
            assert 0.8 * 40 * 1.6 * 0.5 < max(box.width, box.height) <= item.length_mm * 1.6 + 2
            inside = frame[box.y : box.y + box.height, box.x : box.x + box.width].astype(np.float32)
            assert (np.abs(inside - belt).max(axis=2) > 25).mean() > 0.4


def test_a_named_pipe_among_the_real_pictures_is_left_out_and_named(tmp_path, caplog):
    for label in ("apple", "pear"):
        (tmp_path / "items" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "items" / label / "1.png"), on_white((30, 30, 160)))
    pipe = tmp_path / "items" / "apple" / "0.png"
    os.mkfifo(pipe)
    (tmp_path / "items" / "pipes").mkdir()
    os.mkfifo(tmp_path / "items" / "pipes" / "0.png")
    settings = CameraSettings(source=f"sim:?items={tmp_path / 'items'}&rate=5&seed=1")
    said = [f"{pipe}: is no file; left out", f"{tmp_path / 'items' / 'pipes' / '0.png'}: is no file; left out"]
    try:
        camera = within(20, lambda: open_source(settings, VirtualClock()), "the belt")
        assert [within(20, camera.read, "a picture") is None for _ in range(3)] == [False] * 3
        camera.close()
        assert caplog.messages == said
        caplog.clear()
        written = within(60, lambda: draw(tmp_path / "out", 2, 1, items=tmp_path / "items"), "the dataset")
        assert written == {"apple": 2, "pear": 2}
        assert caplog.messages == said
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # lets a reader go
