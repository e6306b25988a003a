"""What a step of training gets to see and is told to answer."""

from pathlib import Path

import pytest
import torch
from rich.progress import Progress

from edge.model import Resize
from training.augment import AugmentSettings, augmentation
from training.batches import Batches, as_input
from training.crew import ALONE
from training.data import Part, load
from training.settings import FitSettings

STILL = AugmentSettings(rotate_deg=0, shift=0, shear_deg=0, zoom=0, flip=False, brightness=0)


@pytest.fixture
def part(shapes: Path, progress: Progress) -> Part:
    return load(shapes, 32, 32, Resize(), 0, progress).train


def epoch(part: Part, settings: FitSettings) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(2)
    return list(Batches(part, settings, ALONE).epoch(augmentation(STILL, 32)))


def test_an_epoch_shows_every_picture_at_most_once_with_its_own_class(part: Part) -> None:
    settings = FitSettings(batch=16)
    batches = Batches(part, settings, ALONE)
    order = batches.order()
    assert len(order) == batches.steps * 16 == len(part) // 16 * 16
    assert len(set(order.tolist())) == len(order)
    torch.manual_seed(2)
    chosen = batches.order()[:16].numpy()
    pixels, wanted = epoch(part, settings)[0]
    torch.testing.assert_close(pixels, as_input(part.pixels(chosen)), atol=1e-2, rtol=0)
    assert wanted.argmax(1).tolist() == part.labels[chosen].tolist()


def test_label_smoothing_takes_its_share_from_the_right_class_and_gives_it_to_all_alike(part: Part) -> None:
    _, wanted = epoch(part, FitSettings(batch=16, label_smoothing=0.3))[0]
    assert wanted.amax(1).tolist() == pytest.approx([0.7 + 0.1] * 16)
    assert wanted.amin(1).tolist() == pytest.approx([0.1] * 16)


def test_mixup_blends_pictures_and_what_they_should_be_answered_by_the_same_shares(part: Part) -> None:
    plain = epoch(part, FitSettings(batch=16))
    mixed = epoch(part, FitSettings(batch=16, mixup=0.4))
    pixels, wanted = plain[0]
    blended, answers = mixed[0]
    partner = torch.arange(16) ^ 1
    across = (pixels - pixels[partner]).flatten(1)
    # How much of its own each picture kept, read off the pixels alone.
    share = ((blended - pixels[partner]).flatten(1) * across).sum(1) / across.square().sum(1)
    assert share.min() >= 0.5 - 1e-3
    assert share.min() < 0.95
    assert len(set(share.tolist())) == 16
    torch.testing.assert_close(blended, torch.lerp(pixels[partner], pixels, share.view(-1, 1, 1, 1)), atol=0.1, rtol=0)
    torch.testing.assert_close(answers, torch.lerp(wanted[partner], wanted, share.unsqueeze(1)), atol=1e-3, rtol=0)
