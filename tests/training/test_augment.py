import pytest
import torch

from training.augment import AugmentSettings, augmentation

STILL = AugmentSettings(rotate_deg=0, shift=0, shear_deg=0, zoom=0, flip=False, brightness=0)


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


def test_brightness_stays_within_white() -> None:
    bright = augmentation(STILL.model_copy(update={"brightness": 0.5}))(torch.full((64, 3, 4, 4), 220.0))
    assert bright.max() == 255
    assert bright.min() >= 110
    assert len(bright[:, 0, 0, 0].unique()) > 20
