"""Cameras of a user's own: they give what a test scripts, and record what happens to them."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from edge.camera import CameraSettings, Shot
from edge.clock import Clock
from edge.errors import CameraError

Step = Shot | Exception | Callable[[], Any] | None


def noise(seed: int, height: int = 36, width: int = 64, level: int = 90) -> np.ndarray:
    """A picture as a sensor gives it: never twice the same."""
    return np.random.default_rng(seed).integers(level, level + 20, (height, width, 3), np.uint8)


class Scripted:
    """Gives one step after the other: a Shot, an exception to raise, None for the end, or a call to make first."""

    def __init__(self, steps: Iterable[Step], live: bool = True) -> None:
        self.live = live
        self.closed = 0
        self._steps: Iterator[Step] = iter(steps)

    def read(self) -> Shot | None:
        for step in self._steps:
            if callable(step):
                step()
                if self.closed:
                    raise CameraError("was closed")
                continue
            if isinstance(step, Exception):
                raise step
            return step
        if self.live:
            raise CameraError("the script is at its end")
        return None

    def close(self) -> None:
        self.closed += 1

    def describe(self) -> str:
        return "scripted"


class Opener:
    """Opens the scripted sources one after the other, then the last one's steps for ever again; counts."""

    def __init__(self, *sources: Callable[[], Any]) -> None:
        self._sources = sources
        self.opened: list[Any] = []

    def __call__(self, settings: CameraSettings, clock: Clock) -> Any:
        index = min(len(self.opened), len(self._sources) - 1)
        self.opened.append(None)
        self.opened[-1] = self._sources[index]()
        return self.opened[-1]


def camera(
    fps: float = 100.0, pictures: int | None = None, make: Callable[[int], np.ndarray] = noise
) -> Iterator[Step]:
    """The steps of a live camera: noise at a rate, for ever or for so many pictures."""
    number = 0
    while pictures is None or number < pictures:
        yield lambda: time.sleep(1 / fps)
        yield Shot(make(number), time.monotonic())
        number += 1


class Still:
    """A camera class as a user writes it, for `type = "tests.edge.camera.sources:Still"`."""

    live = True

    class Settings(CameraSettings):
        """One key more than usual."""

        brightness: int = 100

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._level = getattr(settings, "brightness", 100)
        self._clock = clock
        self._count = 0

    def read(self) -> Shot | None:
        time.sleep(0.01)
        self._count += 1
        return Shot(noise(self._count, level=self._level), self._clock.now())

    def close(self) -> None:
        return

    def describe(self) -> str:
        return "a still"


class Three:
    """A recorded source of a user's own: three pictures, a tenth of a second apart."""

    live = False

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._left = [0.2, 0.1, 0.0]

    def read(self) -> Shot | None:
        return Shot(noise(len(self._left)), self._left.pop()) if self._left else None

    def close(self) -> None:
        self._left.clear()

    def describe(self) -> str:
        return "three"


class Hanging:
    """A camera whose driver hangs for ever: in `read`, after so many pictures."""

    live = True

    def __init__(self, release: threading.Event, pictures: int = 1) -> None:
        self._release = release
        self._left = pictures
        self.closed = 0

    def read(self) -> Shot | None:
        if self._left == 0:
            self._release.wait()
            raise CameraError("came back much too late")
        self._left -= 1
        return Shot(noise(self._left), time.monotonic())

    def close(self) -> None:
        self.closed += 1

    def describe(self) -> str:
        return "hanging"


class HangsForEver(Hanging):
    """The same as a type for the configuration: lets go after ten seconds, so that no test waits for ever."""

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        super().__init__(threading.Event(), 0)
        self.release = self._release

    def close(self) -> None:
        super().close()
        self.release.set()


class Slow(Still):
    """Gives pictures as long as it is asked, and its own clock crawls: what it gives never spans much time."""

    def read(self) -> Shot | None:
        time.sleep(0.02)
        self._count += 1
        return Shot(noise(self._count), self._count / 1e3)
