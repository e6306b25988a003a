"""Scenario `camera`: what the grabber costs over a bare cv2.VideoCapture loop, on a clip and on the simulated belt."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, sleep

import cv2

from edge.bench.findings import Bar, Column, Figure, Findings, Runs, Table, milliseconds, ratio
from edge.bench.peer import Peer
from edge.bench.scenario import Bench
from edge.camera import CameraSettings, open_source
from edge.camera.grabber import FrameGrabber
from edge.clock import MonotonicClock, VirtualClock
from edge.records import Incident

FPS = 60
PICTURES = 300
TURNS = 4
BAR = 1.15
WAYS = {
    "bare": "bare cv2.VideoCapture loop, at 60 fps",
    "unpaced": "bare cv2.VideoCapture loop, as fast as it can",
    "grabber": "the line's grabber on the clip, at its 60 fps",
    "simulated": "the line's grabber on the simulated belt, at 60 fps",
}


class Cameras:
    """Each way to get pictures, in one process with OpenCV at one thread."""

    def __init__(self, clip: Path) -> None:
        cv2.setNumThreads(1)
        self._clip = clip
        self._ways: dict[str, Callable[[], tuple[int, Runs]]] = {
            "bare": lambda: self._bare(1 / FPS),
            "unpaced": lambda: self._bare(0.0),
            "grabber": lambda: self._grab(str(clip)),
            "simulated": lambda: self._grab(f"sim:?fps={FPS}&seconds={PICTURES / FPS}"),
        }

    def measure(self, way: str) -> tuple[int, Runs]:
        """One pass: how many pictures came after the first, and the processor time of the whole process for them."""
        return self._ways[way]()

    def _bare(self, period_s: float) -> tuple[int, Runs]:
        capture = cv2.VideoCapture(str(self._clip))
        capture.read()
        pictures, cpu, start = 0, process_time(), perf_counter()
        while capture.read()[0]:
            pictures += 1
            sleep(max(start + pictures * period_s - perf_counter(), 0.0))
        runs = Runs([perf_counter() - start], process_time() - cpu)
        capture.release()
        return pictures, runs

    def _grab(self, source: str) -> tuple[int, Runs]:
        grabber = FrameGrabber(CameraSettings(source=source), MonotonicClock(), lambda at: at, _ignore)
        grabber.start()
        try:
            grabber.take(30.0)
            first, cpu, start = grabber.stats().frames, process_time(), perf_counter()
            while not grabber.ended:
                grabber.take(0.5)
            return grabber.stats().frames - first, Runs([perf_counter() - start], process_time() - cpu)
        finally:
            grabber.stop()


def measure(bench: Bench) -> Findings:
    """The ways in turns, so that what else the machine does is felt by all alike."""
    turns = bench.times(TURNS)
    pictures = dict.fromkeys(WAYS, 0)
    measured = {way: Runs() for way in WAYS}
    with TemporaryDirectory() as folder:
        bench.say("drawing a clip")
        clip = _draw(Path(folder) / "belt.mp4")
        with Peer("camera", Cameras, clip=clip) as cameras:
            for turn in range(turns):
                for way in WAYS:
                    bench.say(f"turn {turn + 1} of {turns}: {way}")
                    came, runs = cameras.call("measure", way=way, timeout_s=120)
                    pictures[way] += came
                    measured[way].add(runs)
    each_s = {way: runs.cpu_s / pictures[way] if pictures[way] else None for way, runs in measured.items()}
    rows: list[dict[str, Figure]] = [
        {
            "way": way,
            "what": WAYS[way],
            "cpu_ms": milliseconds(each_s[way]),
            "to_bare": ratio(each_s[way], each_s["bare"]),
            "pictures": pictures[way],
        }
        for way in WAYS
    ]
    table = Table(
        "camera",
        "Getting pictures, 1280x720",
        f"Processor time of a whole process a picture, {turns} passes over {PICTURES} pictures each way, in turns.",
        (
            Column("what", "way"),
            Column("cpu_ms", "processor", "CPU ms a picture", 3),
            Column("to_bare", "to the bare loop", "x"),
            Column("pictures", "pictures"),
        ),
        rows,
    )
    bars = tuple(
        Bar(f"{way}_to_bare", f"{WAYS[way]}, to the bare loop", ratio(each_s[way], each_s["bare"]), BAR, "x")
        for way in ("grabber", "simulated")
    )
    return Findings((table,), bars)


def _draw(path: Path) -> Path:
    """The simulated belt as a clip: 1280x720 at 60 fps, MPEG-4."""
    source = open_source(CameraSettings(source=f"sim:?fps={FPS}&seconds={PICTURES / FPS}"), VirtualClock())
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (1280, 720))
    try:
        while (shot := source.read()) is not None:
            writer.write(shot.pixels)
    finally:
        writer.release()
        source.close()
    return path


def _ignore(_: Incident) -> None:
    """What a clip's grabber has to tell does not matter here."""
