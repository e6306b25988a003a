"""Kills and freezes an RTSP camera again and again, and counts what each round costs.

python -m tests.edge.camera.soak [ROUNDS]        from the root of the project; about 5 minutes for 20
"""

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edge.camera import CameraSettings
from edge.camera.grabber import FrameGrabber
from edge.clock import MonotonicClock
from edge.records import Incident
from tests.edge.camera.servers import RtspServer


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    threads: int
    files: int
    sockets: int
    children: int
    resident_mb: float

    @classmethod
    def now(cls) -> "Held":
        links = []
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):  # the listing's own
                links.append(str(entry.readlink()))
        me = Path("/proc/self")
        return cls(
            threads=len(list((me / "task").iterdir())),
            files=len(links),
            sockets=sum(link.startswith("socket:") for link in links),
            children=len((me / "task" / str(os.getpid()) / "children").read_text().split()),
            resident_mb=int((me / "statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6,
        )


@dataclass(frozen=True)
class Round:
    """One round: how long after the camera was there again its first new picture came."""

    what: str
    back_s: float
    held: Held


def soak(
    rounds: int, server: RtspServer, away_s: float = 1.0, frozen_s: float = 3.5, **settings: float
) -> tuple[Held, list[Round], list[tuple[str, bool]]]:
    """What is held while pictures flow before the first round, what each round brought, and the incidents."""
    incidents: list[Incident] = []
    camera = CameraSettings.model_validate({"source": server.url, **settings})
    grabber = FrameGrabber(camera, MonotonicClock(), lambda at: at, incidents.append)
    server.start()
    grabber.start()
    try:
        for _ in range(60):  # two seconds: all buffers have their size
            assert grabber.take(10.0) is not None
        before, results = Held.now(), []
        for number in range(2 * rounds):
            what = "killed" if number < rounds else "frozen"
            if what == "killed":
                server.kill()
                time.sleep(away_s)
                server.start()
            else:
                server.freeze()
                time.sleep(frozen_s)
                server.thaw()
            back_at = time.monotonic()
            while (frame := grabber.take(10.0)) is not None and frame.captured_at < back_at:
                pass
            back_s = time.monotonic() - back_at
            assert frame is not None, grabber.stats()
            for _ in range(15):
                grabber.take(1.0)
            results.append(Round(what, back_s, Held.now()))
        return before, results, [(incident.name, incident.recovered) for incident in incidents]
    finally:
        grabber.stop()
        server.kill()


def main() -> None:
    began = Held.now()
    before, results, incidents = soak(int(sys.argv[1]) if len(sys.argv) > 1 else 20, RtspServer())
    print("before the first round", before)
    for result in results:
        print(f"{result.what} back after {result.back_s:.2f} s", result.held)
    for what in ("killed", "frozen"):
        times = sorted(result.back_s for result in results if result.what == what)
        print(f"{what}: median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s of {len(times)}")
    print("incidents, recovered or not:", Counter(incidents))
    print("at the start", began)
    print("after the stop", Held.now(), "Python threads", threading.active_count())


if __name__ == "__main__":
    main()
