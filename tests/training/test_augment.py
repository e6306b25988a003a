from collections.abc import Callable

import pytest
import torch

from training.augment import AugmentSettings
from training.augment import augmentation as at_side

STILL = AugmentSettings(rotate_deg=0, shift=0, shear_deg=0, zoom=0, flip=False, brightness=0)


def augmentation(settings: AugmentSettings) -> Callable[[torch.Tensor], torch.Tensor]:
    """For pictures of any size, which stay at it."""
    return lambda pictures: at_side(settings, pictures.shape[-1])(pictures)


def batch(n: int = 8, side: int = 32) -> torch.Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255


def test_nothing_changes_when_all_is_zero() -> None:
    pictures = batch()
    assert torch.allclose(augmentation(STILL)(pictures), pictures, atol=1e-3)


def test_border_pixels_are_repeated_so_a_plain_picture_stays_plain() -> None:
    settings = AugmentSettings(rotate_deg=45, shift=0.3, shear_deg=20, zoom=0.4, brightness=0)
    plain = torch.full((16, 3, 32, 32), 200.0)
    assert torch.allclose(augmentation(settings)(plain), plain, atol=1e-3)


def test_each_picture_of_a_batch_gets_a_change_of_its_own() -> None:
    same = batch(1).expand(8, -1, -1, -1)
    changed = augmentation(AugmentSettings())(same)
    assert all(not torch.allclose(changed[0], other) for other in changed[1:])


def test_the_global_seed_decides_the_changes() -> None:
    augment = augmentation(AugmentSettings())
    torch.manual_seed(5)
    first = augment(batch())
    torch.manual_seed(5)
    assert torch.equal(augment(batch()), first)


def test_pictures_are_mirrored_left_to_right_about_half_of_the_time() -> None:
    augment = augmentation(STILL.model_copy(update={"flip": True}))
    pictures = batch(200, 8)
    changed = augment(pictures)
    mirrored = [torch.allclose(a, b.flip(2), atol=1e-2) for a, b in zip(changed, pictures, strict=True)]
    kept = [torch.allclose(a, b, atol=1e-2) for a, b in zip(changed, pictures, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 60 < sum(mirrored) < 140


def test_a_rotation_keeps_the_middle_in_place() -> None:
    dot = torch.zeros(32, 1, 33, 33)
    dot[:, :, 15:18, 15:18] = 255.0
    turned = augmentation(STILL.model_copy(update={"rotate_deg": 20.0}))(dot)
    assert (turned[:, 0, 16, 16] > 250).all()
    assert turned.sum((1, 2, 3)).tolist() == pytest.approx([9 * 255] * 32, rel=0.02)


def test_a_shift_moves_no_further_than_it_says() -> None:
    dot = torch.zeros(64, 1, 41, 41)
    dot[:, :, 20, 20] = 255.0
    moved = augmentation(STILL.model_copy(update={"shift": 0.2}))(dot)
    rows = (moved.sum(3)[:, 0] * torch.arange(41.0)).sum(1) / moved.sum((1, 2, 3)) - 20
    assert rows.abs().max() <= 0.2 * 41 + 0.5
    assert rows.abs().max() > 4


@pytest.mark.parametrize("window", [1.0, 0.67])
def test_a_shift_blurs_nothing(window: float) -> None:
    chequered = (torch.arange(96)[:, None] + torch.arange(96)).remainder(2).mul(255.0).expand(16, 3, 96, 96)
    settings = STILL.model_copy(update={"shift": 0.1, "window": window, "quarter_turns": True, "flip": True})
    moved = at_side(settings, 96)(chequered)[..., 12:-12, 12:-12]
    assert torch.minimum(moved, 255 - moved).max() < 0.5


def test_brightness_stays_within_white() -> None:
    bright = augmentation(STILL.model_copy(update={"brightness": 0.5}))(torch.full((64, 3, 4, 4), 220.0))
    assert bright.max() == 255
    assert bright.min() >= 110
    assert len(bright[:, 0, 0, 0].unique()) > 20


def test_quarter_turns_are_exact_and_all_four_come() -> None:
    picture = batch(1)[0]
    turned = augmentation(STILL.model_copy(update={"quarter_turns": True}))(picture.expand(64, -1, -1, -1))
    wanted = [torch.rot90(picture, k, (1, 2)) for k in range(4)]
    which = [[torch.allclose(one, other, atol=0.05) for other in wanted].index(True) for one in turned]
    assert set(which) == {0, 1, 2, 3}


def test_a_window_shows_a_part_at_the_scale_of_the_whole_anywhere_in_it() -> None:
    ramp = torch.arange(96.0).expand(64, 3, 96, 96)
    seen = at_side(STILL.model_copy(update={"window": 0.67}), 96)(ramp)
    assert seen.shape == (64, 3, 64, 64)
    assert torch.allclose(seen.diff(dim=3), torch.ones(1), atol=1e-2)
    lefts = seen[:, 0, 0, 0]
    assert lefts.min() >= 0
    assert lefts.max() <= 32
    assert lefts.max() - lefts.min() > 20


def test_contrast_spreads_values_about_the_mean_that_stays() -> None:
    pictures = batch(64) / 2 + 60
    changed = augmentation(STILL.model_copy(update={"contrast": 0.5}))(pictures)
    assert torch.allclose(changed.mean((1, 2, 3)), pictures.mean((1, 2, 3)), atol=0.5)
    ratio = changed.std((1, 2, 3)) / pictures.std((1, 2, 3))
    assert 0.5 <= ratio.min() < 0.7
    assert 1.3 < ratio.max() <= 1.5


def test_pictures_come_at_the_side_that_is_asked_for() -> None:
    smaller = at_side(STILL, 32)(torch.full((2, 3, 64, 64), 90.0))
    assert smaller.shape == (2, 3, 32, 32)
    assert torch.allclose(smaller, torch.tensor(90.0), atol=1e-3)
