"""What training pictures go through: one random pose and one random brightness each, a batch at a time.

The two steps are torchvision v2 transforms. torchvision's own draw one set of parameters a call,
and fill what a rotation uncovers with a constant; these draw them for each picture of a batch and
repeat the border pixels, as the line's letterbox does, so no black corner ever gives a class away.
"""

import math
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2


class AugmentSettings(BaseModel):
    """How far pictures are varied: each value is the largest change either way, drawn uniformly.

    shift and zoom are shares of the picture's side, brightness a share of full brightness.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate_deg: float = Field(default=20.0, ge=0, le=180)
    shift: float = Field(default=0.08, ge=0, le=0.5)
    shear_deg: float = Field(default=8.0, ge=0, le=45)
    zoom: float = Field(default=0.12, ge=0, le=0.5)
    flip: bool = True
    brightness: float = Field(default=0.2, ge=0, le=0.9)


class RandomPose(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Rotates, shears, zooms, shifts and mirrors each square picture of a batch, in one resampling."""

    def __init__(self, settings: AugmentSettings) -> None:
        super().__init__()
        self.settings = settings

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The matrices, float32 [N, 2, 3], that take a place in the new picture to its place in the old one."""
        s, n = self.settings, len(flat_inputs[0])
        turn = math.radians(s.rotate_deg) * _either_way(n)
        shear = torch.tan(math.radians(s.shear_deg) * _either_way(n))
        zoom = 1 + s.zoom * _either_way(n)
        mirror = torch.where(torch.rand(n) < 0.5, -1.0, 1.0) if s.flip else torch.ones(n)
        cos, sin = torch.cos(turn) / zoom, torch.sin(turn) / zoom
        # Rotation times shear, its first column mirrored. A side is 2 long here: -1 to 1.
        x = torch.stack([cos * mirror, cos * shear - sin, 2 * s.shift * _either_way(n)], dim=1)
        y = torch.stack([sin * mirror, sin * shear + cos, 2 * s.shift * _either_way(n)], dim=1)
        return {"places": torch.stack([x, y], dim=1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        grid = F.affine_grid(params["places"], list(inpt.shape), align_corners=False)
        return F.grid_sample(inpt, grid, mode="bilinear", padding_mode="border", align_corners=False)


class RandomBrightness(v2.Transform):  # type: ignore[misc]
    """Multiplies each picture of a batch, values 0 to 255, by a factor of its own."""

    def __init__(self, settings: AugmentSettings) -> None:
        super().__init__()
        self.settings = settings

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        factor = 1 + self.settings.brightness * _either_way(len(flat_inputs[0]))
        return {"factor": factor.reshape(-1, 1, 1, 1)}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        return (inpt * params["factor"]).clamp(0, 255)


def augmentation(settings: AugmentSettings) -> v2.Transform:
    """The whole of it: float32 [N, 3, S, S], 0 to 255, in and out. Draws from torch's global generator."""
    return v2.Compose([RandomPose(settings), RandomBrightness(settings)])


def _either_way(n: int) -> Tensor:
    """n numbers from -1 to 1."""
    return torch.rand(n) * 2 - 1
