"""The simulated belt as a camera: `source = "sim:?speed_mm_s=1000&rate=10"`."""

import threading
from math import floor

import numpy as np

from edge.camera import CameraSettings, Shot
from edge.clock import Clock, VirtualClock
from edge.errors import CameraError
from edge.simulator.cutouts import tell_left_out
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World

# Ended items are forgotten after so long; what is still being decided or pushed is younger.
SETTLE_S = 10.0
SEED_OF_LOST_PICTURES = 3


class Simulated:
    """A camera over a simulated belt, whose truth is `world`.

    The belt starts, at position 0, at the clock's time when the source is opened, which is also the
    time of picture 0; picture n is taken n / fps later. On the machine's clock the source is live:
    a picture is drawn ahead and handed over at its moment, and a reader that comes late gets the
    newest one. On a VirtualClock it is a recorded source: it never waits, gives every picture, and
    `at` counts seconds since the first; a line that opens it and adds its own start time (the same
    moment: a virtual clock stands still meanwhile) gets the world's times.

    Raises ConfigError when the address or the belt it describes is wrong.
    """

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        overrides = {key: getattr(settings, key) for key in ("width", "height", "fps", "exposure_ms")}
        simulated = SimulatorSettings.from_source(str(settings.source), **overrides)
        self.live = not isinstance(clock, VirtualClock)
        self._clock = clock
        self.world = World(simulated, clock.now())
        self._scene = Scene(self.world)
        if simulated.items:
            tell_left_out(simulated.items)
        self.world.start = clock.now()  # a real clock went on while everything was painted
        self._fps = simulated.fps
        self._taken = -1  # no picture yet
        self._closed = threading.Event()

    def read(self) -> Shot | None:
        """The next picture at its moment; None at the end of `seconds`, or once closed."""
        if self._closed.is_set():
            return None
        number = self._next_picture()
        at = self.world.start + number / self._fps
        if 0 < self.world.settings.seconds <= number / self._fps:
            return None
        pixels = self._scene.draw(at)
        if self.live and self._closed.wait(max(at - self._clock.now(), 0.0)):
            return None
        dropped = number - self._taken - 1 if self._taken >= 0 else 0
        self._taken = number
        self.world.watch(at)
        self.world.settle(at - SETTLE_S)
        return Shot(pixels, at if self.live else number / self._fps, dropped)

    def close(self) -> None:
        """Ends a read that waits; there is nothing else to release."""
        self._closed.set()

    def describe(self) -> str:
        s = self.world.settings
        what = f"items from {s.items}" if s.items else "drawn parts"
        return f"simulated belt, {s.width}x{s.height} at {s.fps:g} fps, {s.speed_mm_s:g} mm/s, {what}, seed {s.seed}"

    def _next_picture(self) -> int:
        """The number of the picture to take next: not one that was lost, nor one that is overdue."""
        number = self._taken + 1
        if self.live:
            number = max(number, floor((self._clock.now() - self.world.start) * self._fps))
        for candidate in range(number, number + 1_000_000):
            if not self._is_lost(candidate):
                return candidate
        raise CameraError("the simulated camera loses every picture; lower drop or freeze_s")

    def _is_lost(self, number: int) -> bool:
        s = self.world.settings
        if s.freeze_at is not None and s.freeze_at <= number / self._fps < s.freeze_at + s.freeze_s:
            return True
        if not s.drop or number < s.drop_burst:  # the first picture always comes: times count from it
            return False
        rng = np.random.default_rng([s.seed, SEED_OF_LOST_PICTURES, number // s.drop_burst])
        return bool(rng.random() < s.drop)
