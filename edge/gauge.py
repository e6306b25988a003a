"""PictureGauge: the belt's position at each frame, measured from the pictures alone."""

from dataclasses import replace

from edge.belt import PictureBelt
from edge.config import BeltSettings, ItemsSettings
from edge.places import NOISE_PX
from edge.records import Frame
from edge.texture import BeltTexture


class PictureGauge:
    """Tells a PictureBelt how far it has moved, and each frame where the belt stood when it was captured.

    The belt's texture is asked first: it shows a step to a fraction of a pixel and needs no items. On a
    belt without one the items that are followed show the step. The pixels become millimetres by the
    configured scale; the configured speed is only a first guess.
    """

    def __init__(self, belt: PictureBelt, items: ItemsSettings, settings: BeltSettings) -> None:
        self._belt, self._scale = belt, settings.pixels_per_mm
        self._texture = BeltTexture(items, settings)
        self._last_at: float | None = None
        self._expected_mm_s: float | None = None

    def by_texture(self, frame: Frame) -> Frame:
        """The frame with the position that the texture shows, or unchanged where it shows none."""
        dt = frame.captured_at - self._last_at if self._last_at is not None else 0.0
        self._last_at = frame.captured_at
        expected = self._belt.speed_mm_s(frame.captured_at) * dt * self._scale
        step = self._texture.step(frame, expected if dt > 0 else None)
        if step is None:
            return frame
        moved_mm, error_mm = step.moved_px / self._scale, step.error_px / self._scale
        return replace(frame, position_mm=self._belt.moved(frame.captured_at, moved_mm, error_mm))

    def by_items(self, frame: Frame, moved_px: float | None) -> Frame:
        """The frame with the position that its items show, unless the texture has shown it already."""
        if self._belt.told(frame.captured_at):
            return frame
        moved_mm = None if moved_px is None else moved_px / self._scale
        error_mm = 2 * NOISE_PX / self._scale
        return replace(frame, position_mm=self._belt.moved(frame.captured_at, moved_mm, error_mm))
