"""`sortline check`: opens a source, watches it for a moment, and says what it really gives."""

import threading
from dataclasses import dataclass

import numpy as np

from edge.camera import CameraSettings, CameraStalled, Shot, Source, is_recorded, open_source, redacted, told
from edge.camera.health import Size
from edge.camera.reading import Reading
from edge.clock import MonotonicClock
from edge.errors import CameraError

STOP_S = 1.5
GRACE_S = 0.5  # past its own timeouts, as the line gives it
RECORDED_S = 30.0
"""So long a clip, a folder or a simulated belt may take: nothing but a disk can hang there, and the line never gives
one up. A simulated belt's 2.5 s, half a second of them work, have become more than nine beside busy programs."""


@dataclass(frozen=True, slots=True)
class CameraReport:
    """What a camera gave. fps and jitter_ms (standard deviation of the intervals) are measured.

    timestamps says whose time a picture carries: the driver's, that of its arrival, or the file's.
    refused are the settings that the camera did not take, each with what it has instead.
    """

    backend: str
    width: int
    height: int
    fps: float
    jitter_ms: float
    timestamps: str
    open_to_first_frame_s: float
    refused: tuple[str, ...]


def probe(settings: CameraSettings, seconds: float = 2.0) -> CameraReport:
    """Watches a source for so many seconds of its pictures (of a recorded one as fast as it can be read).

    Raises CameraError when it cannot be opened, or gives no picture within open_timeout_s, or stops
    giving any for read_timeout_s: within the sum of these, `seconds` and two more, whatever the driver does; a
    recorded one within half a minute. One whose pictures still come by then is slow, not broken: it is reported
    by those that came.
    """
    clock = MonotonicClock()
    began = clock.now()
    changed = threading.Condition()
    size = Size()
    shapes: list[tuple[int, ...]] = []
    times: list[float] = []
    arrivals: list[float] = []

    def deliver(_reading: Reading, _source: Source, shot: Shot) -> bool:
        size.fit(shot.pixels)
        shapes.append(shot.pixels.shape)
        times.append(shot.at)
        arrivals.append(clock.now())
        return times[-1] - times[0] < seconds

    reading = Reading(lambda: open_source(settings, clock), deliver, clock, changed)
    recorded = is_recorded(settings)
    patience_s = settings.open_timeout_s + settings.read_timeout_s + seconds + GRACE_S
    deadline = began + max(patience_s, RECORDED_S if recorded else 0.0)
    with changed:
        while not reading.over and clock.now() < deadline:
            clock.wait(changed, deadline)
    source, error = reading.source, reading.error
    if not reading.over:
        still_s = RECORDED_S / 3 if recorded else settings.read_timeout_s + GRACE_S
        slow = bool(times) and times[-1] > times[0] and clock.now() - arrivals[-1] < still_s
        reading.abandon()
        reading.join(STOP_S)
        if not slow:
            raise CameraStalled(f"{redacted(settings.source)}: hangs, beyond its timeouts")
    # A clip that is shorter than `seconds` ends early and well; one that is cut still shows what it has.
    if error is not None and not (times and recorded):
        raise CameraError(told(error, settings.source))
    if not times or source is None:
        raise CameraError(f"{redacted(settings.source)}: gave no picture")
    intervals = np.diff(np.array(times)) if len(times) > 1 else np.zeros(1)
    mean = float(intervals.mean())
    return CameraReport(
        backend=getattr(source, "backend", "") or type(source).__name__,
        width=shapes[0][1],
        height=shapes[0][0],
        fps=1 / mean if mean > 0 else 0.0,
        jitter_ms=float(intervals.std() * 1e3),
        timestamps=getattr(source, "timestamps", "arrival" if source.live else "file"),
        open_to_first_frame_s=arrivals[0] - began,
        refused=tuple(getattr(source, "refused", ())),
    )
