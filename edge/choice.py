"""Which engine, how many threads and how many pictures a call: measured once on the real file, then remembered.

Measured beside a thread that does what the line's eye does, because an engine that takes every core is
the fastest only while nothing else runs. The measurement is kept in the user's cache folder under the
file's hash, the libraries' versions and the processor, so that a line starts without it the next time.
"""

import hashlib
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.engines import Engine, cores, installed, open_engine
from edge.errors import ModelError
from edge.files import write_whole

_log = logging.getLogger("sortline.model")

MOST_S = 6.0  # a measurement takes no longer than about this, and every engine at least LEAST_RUNS
LEAST_RUNS, ENOUGH_RUNS = 16, 512
# Where the system has put the threads of a turn they stay for all of it; sometimes two share a core, and
# each run takes as long as with one. Many short turns show how often, few long ones that it was so or not.
RUNS_A_TURN = 4
AS_GOOD = 1.05  # of engines within this factor of the best p99, the one with the fewest threads is taken
BATCHES = (2, 4, 8)
GAIN = 0.95  # a batch must make a picture cheaper by this factor to be worth its wait
KEPT = 64  # measurements that the cache folder holds
LIBRARIES = ("onnxruntime", "onnxruntime-gpu", "openvino")
CPUINFO = Path("/proc/cpuinfo")


class Measured(BaseModel):
    """One engine's figures: milliseconds a picture, one picture a call."""

    model_config = ConfigDict(frozen=True)

    provider: str
    threads: int
    p50_ms: float
    p99_ms: float
    runs: int


class Choice(BaseModel):
    """The engine to use. batch is how many pictures a call are at most worth it; left_out says what was not tried."""

    model_config = ConfigDict(frozen=True)

    provider: str
    threads: int = Field(ge=1)
    batch: int = Field(default=1, ge=1)
    measured: tuple[Measured, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The choice and its reason in one line."""
        chosen = f"{self.provider} with {_threads(self.threads)}"
        if not self.measured:
            return f"{chosen}, as the configuration says"
        ranked = sorted(self.measured, key=lambda one: one.p99_ms)
        said = ", ".join(f"{one.provider} x {one.threads} {one.p50_ms:.2f}/{one.p99_ms:.2f} ms" for one in ranked)
        return f"{chosen}, up to {self.batch} a call; measured p50/p99 beside a busy eye: {said}"


def choose(
    data: bytes, size: tuple[int, int], provider: str, threads: int, folder: Path | None = None, anew: bool = False
) -> Choice:
    """The engine for the bytes of a verified model file whose input is size, (height, width).

    provider is a name or "auto", threads a number or 0: what is left open is measured. folder is where
    measurements are kept, by default the user's cache folder; one that cannot be written costs a
    measurement at every start, and anew makes one whatever is kept. Raises ModelError when no engine can
    run the file.
    """
    if provider != "auto" and threads:
        return Choice(provider=provider, threads=threads)
    folder = folder or cache_folder()
    path = folder and folder / f"{_key(data, provider, threads)}.json"
    if path and not anew and (known := _remembered(path)) is not None:
        return known
    _log.info("measuring which engine is the fastest for this model, once; it takes up to %.0f s", MOST_S)
    choice = measure(data, size, candidates(provider, threads))
    for one in choice.left_out:
        _log.info("not to be had: %s", one)
    if path:
        _remember(path, choice)
    else:
        _cannot_keep("the user's cache folder", "the user has no home and XDG_CACHE_HOME names no folder")
    return choice


def measure(data: bytes, size: tuple[int, int], among: Sequence[tuple[str, int]]) -> Choice:
    """Times every engine of `among`, (provider, threads), in turns, so that the machine's noise meets all alike."""
    pixels = np.random.default_rng(0).integers(0, 256, (max(BATCHES), *size, 3), np.uint8)
    engines: list[Engine] = []
    left_out: list[str] = []
    for provider, threads in among:
        try:
            engine = open_engine(data, provider, threads)
            engine.run(pixels[:1])
        except Exception as error:  # an engine may fail in any way of its own; the others are measured
            left_out.append(f"{provider} with {_threads(threads)}: {error}")
        else:
            engines.append(engine)
    if not engines:
        raise ModelError(left_out[0] if left_out else "no engine is installed")
    with busy_eye():
        seconds = _in_turns(engines, pixels[:1])
        figures = [_figures(engine, times) for engine, times in zip(engines, seconds, strict=True)]
        best = min(one.p99_ms for one in figures)
        good = [n for n, one in enumerate(figures) if one.p99_ms <= AS_GOOD * best]
        chosen = min(good, key=lambda n: (figures[n].threads, figures[n].p99_ms))
        batch = _batch(engines[chosen], pixels, figures[chosen].p50_ms / 1e3)
    return Choice(
        provider=figures[chosen].provider,
        threads=figures[chosen].threads,
        batch=batch,
        measured=tuple(figures),
        left_out=tuple(left_out),
    )


def cache_folder() -> Path | None:
    """Where measurements are kept (XDG Base Directory Specification); None for a user who has no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if named.is_absolute():  # one that is not is to be passed over, says the specification
        return named / "sortline"
    with suppress(RuntimeError):  # a service's or a container's user may be a bare number
        return Path("~/.cache").expanduser() / "sortline"
    return None


def candidates(provider: str = "auto", threads: int = 0) -> list[tuple[str, int]]:
    """What there is to choose from: engines by name, each with 1, 2, 4 … threads, up to the number of cores."""
    counts = [threads] if threads else sorted({1, *(2**n for n in range(1, 7) if 2**n <= cores()), min(cores(), 64)})
    return [(name, count) for name in (installed() if provider == "auto" else (provider,)) for count in counts]


def _in_turns(engines: Sequence[Engine], pixels: np.ndarray) -> list[list[float]]:
    seconds: list[list[float]] = [[] for _ in engines]
    ends = perf_counter() + MOST_S
    while len(seconds[0]) < LEAST_RUNS or (len(seconds[0]) < ENOUGH_RUNS and perf_counter() < ends):
        for engine, times in zip(engines, seconds, strict=True):
            engine.run(pixels)  # the caches still hold another engine's weights
            times.extend(_timed(engine, pixels, RUNS_A_TURN))
    return seconds


def _timed(engine: Engine, pixels: np.ndarray, runs: int) -> list[float]:
    times = []
    for _ in range(runs):
        start = perf_counter()
        engine.run(pixels)
        times.append(perf_counter() - start)
    return times


def _figures(engine: Engine, seconds: list[float]) -> Measured:
    p50, p99 = np.quantile(seconds, (0.5, 0.99)) * 1e3
    return Measured(
        provider=engine.provider,
        threads=engine.threads,
        p50_ms=round(float(p50), 3),
        p99_ms=round(float(p99), 3),
        runs=len(seconds),
    )


def _batch(engine: Engine, pixels: np.ndarray, one_s: float) -> int:
    """The largest number of pictures a call at which a picture is cheaper than at the number before."""
    best, cheapest = 1, one_s
    for size in BATCHES:
        try:
            engine.run(pixels[:size])
            each_s = float(np.median(_timed(engine, pixels[:size], RUNS_A_TURN))) / size
        except Exception as error:
            _log.warning("%s cannot run %d pictures in one call: %s", engine.provider, size, error)
            break
        if each_s > GAIN * cheapest:
            break
        best, cheapest = size, each_s
    return best


@contextmanager
def busy_eye() -> Iterator[None]:
    """While it lasts a thread is about as busy as the eye of a line with 60 pictures a second."""
    stop = threading.Event()
    picture = np.zeros((720, 1280, 3), np.uint8)

    def look() -> None:
        while not stop.wait(0.012):
            cv2.blur(picture, (5, 5))

    thread = threading.Thread(target=look, name="sortline-measuring", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _key(data: bytes, provider: str, threads: int) -> str:
    parts = [hashlib.sha256(data).hexdigest(), provider, threads, cores(), _processor(), *map(_version, LIBRARIES)]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """The processor's name and what it can do, as Linux tells them; elsewhere nothing."""
    with suppress(OSError):
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = {line.partition(":")[0].strip(): line for line in reversed(lines)}
        return "\n".join(kept.get(key, "") for key in ("model name", "flags", "Features", "CPU part"))
    return ""


def _remembered(path: Path) -> Choice | None:
    try:
        choice = Choice.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return choice if choice.measured and choice.provider in installed() else None


def _remember(path: Path, choice: Choice) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, choice.model_dump_json(indent=1))
        kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime, reverse=True)
        for old in kept[KEPT:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _cannot_keep(path.parent, error.strerror)


def _cannot_keep(where: object, reason: object) -> None:
    _log.warning("%s: cannot keep the measurement of engines (%s); it is made again at the next start", where, reason)


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
