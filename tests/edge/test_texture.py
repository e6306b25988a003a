"""The belt's texture tells how far it has moved, with a stated error, and is silent where there is none to see."""

import numpy as np
import pytest

from edge.config import BeltSettings, ItemsSettings
from edge.records import Frame
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World
from edge.texture import BeltTexture, Step

FPS = 30


def seen(pictures: int = 24, **keys: object) -> tuple[list[Step | None], float, float]:
    """The steps that a simulated belt shows, and how far it really moved over them, in pixels, there and in all."""
    settings = SimulatorSettings.from_mapping({"rate": 0.02, "height": 360, "seconds": 60, **keys})
    world = World(settings)
    scene = Scene(world)
    belt = BeltSettings(pixels_per_mm=1.6, speed_mm_s=500, direction=settings.direction)
    texture = BeltTexture(ItemsSettings(), belt)
    steps = [texture.step(Frame(n, n / FPS, 0.0, scene.draw(n / FPS)), None) for n in range(pictures)]
    last = world.belt_mm((pictures - 1) / FPS) * settings.pixels_per_mm
    return steps[1:], last, sum(step.moved_px for step in steps[1:] if step)


@pytest.mark.parametrize(
    "keys",
    [
        {"speed_mm_s": 500},
        {"speed_mm_s": 2000},
        {"speed_mm_s": 30},
        {"speed_mm_s": 500, "direction": "left"},
        {"speed_mm_s": 500, "direction": "up", "width": 360, "height": 1280},
        {"speed_mm_s": 500, "motion": "reverse", "period_s": 0.8},
        {"speed_mm_s": 500, "light_drift": 0.2, "flicker": 0.1},
        {"speed_mm_s": 500, "rate": 8},
    ],
    ids=lambda keys: " ".join(map(str, keys.values())),
)
def test_an_empty_belt_shows_how_far_it_has_moved(keys: dict[str, object]) -> None:
    steps, true_px, moved_px = seen(**keys)
    assert all(steps)
    # The simulated belt moves by whole pixels, so it may itself be half of one beside its place.
    error_px = sum(step.error_px**2 for step in steps if step) ** 0.5 + 0.005 * abs(true_px)
    assert abs(moved_px - true_px) <= error_px + 1.0


def test_a_standing_belt_adds_no_error_however_long_it_stands() -> None:
    settings = SimulatorSettings.from_mapping({"rate": 0.02, "height": 360})
    world = World(settings)
    scene = Scene(world)
    texture = BeltTexture(ItemsSettings(), BeltSettings(pixels_per_mm=1.6, speed_mm_s=500))
    rng = np.random.default_rng(0)
    still = scene.draw(1.0).astype(np.int16)
    noisy = [np.clip(still + rng.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    steps = [texture.step(Frame(n, n / FPS, 0.0, pixels), 0.0) for n, pixels in enumerate(noisy)][1:]
    assert all(step is not None and step.error_px == 0.0 for step in steps)
    assert abs(sum(step.moved_px for step in steps if step)) < 0.3


def test_a_belt_without_texture_shows_nothing() -> None:
    texture = BeltTexture(ItemsSettings(), BeltSettings(pixels_per_mm=1.6, speed_mm_s=500))
    rng = np.random.default_rng(0)
    plain = [np.clip(rng.normal(90, 3, (360, 640, 3)), 0, 255).astype(np.uint8) for _ in range(8)]
    assert [texture.step(Frame(n, n / FPS, 0.0, pixels), 5.0) for n, pixels in enumerate(plain)] == [None] * 8


def test_where_the_belt_repeats_itself_the_expected_step_tells_which_it_was() -> None:
    x = np.arange(640)
    texture = BeltTexture(ItemsSettings(), BeltSettings(pixels_per_mm=1.6, speed_mm_s=500))
    for n in range(6):
        wave = 90 + 30 * np.sin(2 * np.pi * (x - 15 * n) / 40)
        pixels = np.repeat(np.repeat(wave[None, :, None], 360, 0), 3, 2).astype(np.uint8)
        step = texture.step(Frame(n, n / FPS, 0.0, pixels), 15.0)
        assert n == 0 or step is not None
        if step is not None:
            assert step.moved_px == pytest.approx(15, abs=1.0)


def test_a_hand_over_the_belt_does_not_hold_it_up() -> None:
    steps, true_px, moved_px = seen(48, speed_mm_s=500, hand=20, height=720, seed=3)
    assert sum(step is not None for step in steps) >= 40
    seen_px = true_px * sum(step is not None for step in steps) / len(steps)
    assert moved_px == pytest.approx(seen_px, rel=0.02)
