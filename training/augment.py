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

from training.crew import ALONE, Crew


class AugmentSettings(BaseModel):
    """How far pictures are varied: each value is the largest change either way, drawn uniformly.

    shift (by whole pixels) and zoom are shares of the picture's side, brightness and contrast factors
    of 1 plus or minus so much. quarter_turns adds a turn by 0, 90, 180 or 270 degrees, for items that
    have no upright. With a window below 1 training sees a square of that share of the side (in steps of 32
    pixels), at a random place: fewer pixels a step, and no two steps alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rotate_deg: float = Field(default=20.0, ge=0, le=180)
    shift: float = Field(default=0.08, ge=0, le=0.5)
    shear_deg: float = Field(default=8.0, ge=0, le=45)
    zoom: float = Field(default=0.12, ge=0, le=0.5)
    flip: bool = True
    quarter_turns: bool = False
    window: float = Field(default=1.0, gt=0.2, le=1)
    brightness: float = Field(default=0.2, ge=0, le=0.9)
    contrast: float = Field(default=0.0, ge=0, le=0.9)


class RandomPose(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Rotates, shears, zooms, shifts, mirrors and windows each square picture of a batch, in one resampling.

    side is what a whole picture's side becomes; a window has its share of it.
    """

    def __init__(self, settings: AugmentSettings, side: int, crew: Crew) -> None:
        super().__init__()
        self.settings = settings
        self.crew = crew
        self.side = side
        self.seen = side if settings.window == 1 else max(round(settings.window * side / 32) * 32, 32)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The matrices, float32 [N, 2, 3], that take a place in the new picture to its place in the old one."""
        s, n = self.settings, len(flat_inputs[0])
        window = self.seen / self.side
        turn = math.radians(s.rotate_deg) * either_way(n, self.crew)
        if s.quarter_turns:
            turn = turn + math.pi / 2 * torch.floor(4 * self.crew.rand(n))
        shear = torch.tan(math.radians(s.shear_deg) * either_way(n, self.crew))
        zoom = 1 + s.zoom * either_way(n, self.crew)
        mirror = torch.where(self.crew.rand(n) < 0.5, -1.0, 1.0) if s.flip else torch.ones(n)
        cos, sin = window * torch.cos(turn) / zoom, window * torch.sin(turn) / zoom
        # Rotation times shear, its first column mirrored. A side is 2 long here: -1 to 1.
        x = torch.stack([cos * mirror, cos * shear - sin, self.offsets(n)], dim=1)
        y = torch.stack([sin * mirror, sin * shear + cos, self.offsets(n)], dim=1)
        return {"places": torch.stack([x, y], dim=1)}

    def offsets(self, n: int) -> Tensor:
        """n shifts along one axis, by whole pixels: between two pixels each would be blurred with its neighbour."""
        reach = 2 * self.settings.shift + 1 - self.seen / self.side
        return torch.trunc(reach * either_way(n, self.crew) * self.side / 2) * 2 / self.side

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        if self.side < inpt.shape[-1]:
            inpt = F.interpolate(inpt, (self.side, self.side), mode="bilinear", antialias=True)
        grid = F.affine_grid(params["places"], [*inpt.shape[:2], self.seen, self.seen], align_corners=False)
        return F.grid_sample(inpt, grid, mode="bilinear", padding_mode="border", align_corners=False)


class RandomLight(v2.Transform):  # type: ignore[misc]
    """Multiplies each picture of a batch, values 0 to 255, and its distance from its mean, by factors of its own."""

    def __init__(self, settings: AugmentSettings, crew: Crew) -> None:
        super().__init__()
        self.settings = settings
        self.crew = crew

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        n = len(flat_inputs[0])
        factors = {"brightness": 1 + self.settings.brightness * either_way(n, self.crew)}
        if self.settings.contrast:
            factors["contrast"] = 1 + self.settings.contrast * either_way(n, self.crew)
        return {name: factor.reshape(-1, 1, 1, 1) for name, factor in factors.items()}

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        if "contrast" in params:
            inpt = torch.lerp(inpt.mean(dim=(1, 2, 3), keepdim=True), inpt, params["contrast"])
        return (inpt * params["brightness"]).clamp(0, 255)


def augmentation(settings: AugmentSettings, side: int, crew: Crew = ALONE) -> v2.Transform:
    """The whole of it: float32 [N, 3, S, S], 0 to 255, to the same at this side, less where there is a window.

    Draws from torch's global generator, for this process's rows of the crew's whole batch.
    """
    return v2.Compose([RandomPose(settings, side, crew), RandomLight(settings, crew)])


def either_way(n: int, crew: Crew) -> Tensor:
    """n numbers from -1 to 1."""
    return crew.rand(n) * 2 - 1
