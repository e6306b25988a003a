"""The machine: what it is, how busy, and what a process and its children take of it (read from Linux's /proc)."""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from edge import __version__
from edge.engines import cores, installed

LIBRARIES = (
    "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "opencv-python-headless",
    "opencv-python", "flask", "waitress", "pydantic",
)  # fmt: skip
# What the processor must have for int8 and bf16 kernels to be fast.
VECTOR_UNITS = (
    "avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve", "sve2",
)  # fmt: skip
PROC = Path("/proc")


def describe() -> dict[str, Any]:
    """The machine and its software, so that two runs can be held against each other."""
    name, units = _processor()
    return {
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "sortline": __version__,
        "cpu": name,
        "vector_units": units,
        "cores": cores(),
        "memory_mb": _memory_mb(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: number for name in LIBRARIES if (number := _version(name))},
        "providers": list(installed()),
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What others had of a machine, as shares (0 to 1) of all its cores' time.

    others went to other programs. host is what the host of a virtual machine gave to somebody else while it
    was wanted here (steal time): a thread that was set aside so comes late whatever its priority.
    """

    others: float
    host: float


class Meanwhile:
    """What this program does not get of the machine from now on: figures are only as good as this is small."""

    def __init__(self) -> None:
        self._before = _use()

    def taken(self) -> Taken | None:
        """By whom, up to now; this program's ended processes are its own. None where the system does not say."""
        before, after = self._before, _use()
        if before is None or after is None or after.all <= before.all:
            return None
        whole = after.all - before.all
        shares = ((after.others - before.others) / whole, (after.host - before.host) / whole)
        return Taken(*(min(max(share, 0.0), 1.0) for share in shares))


def thread_cpu_s(thread: int, process: int | str = "self") -> float | None:
    """The processor time in seconds that one thread of a process (by its native id) has used."""
    text = _read(PROC / str(process) / "task" / str(thread) / "schedstat")
    if text is not None:
        return int(text.split()[0]) / 1e9
    return _stat_cpu_s(PROC / str(process) / "task" / str(thread) / "stat")


def process_cpu_s(process: int) -> float | None:
    """The processor time in seconds that a process has used, without its children."""
    return _stat_cpu_s(PROC / str(process) / "stat")


def children(process: int) -> list[int]:
    """The processes that a process has started, and theirs, that still run."""
    parents = {}
    for folder in PROC.glob("[0-9]*"):
        if fields := _stat_fields(folder / "stat"):
            parents[int(folder.name)] = int(fields[1])
    found = [process]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def proportional_mb(process: int) -> float | None:
    """A process's memory in MB (10^6 bytes): its own pages, and its share of those that it shares with others."""
    return _rollup_mb(process, "Pss:")


def anonymous_mb(process: int) -> float | None:
    """The memory in MB (10^6 bytes) that a process has filled itself, which nobody else's coming and going changes."""
    return _rollup_mb(process, "Anonymous:")


def _rollup_mb(process: int, key: str) -> float | None:
    for line in (_read(PROC / str(process) / "smaps_rollup") or "").splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024 / 1e6
    return None


def _processor() -> tuple[str, list[str]]:
    name, flags = platform.processor() or platform.machine(), set()
    for line in (_read(PROC / "cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in {"flags", "Features"}:
            flags = set(value.split())
    return name, [unit for unit in VECTOR_UNITS if unit in flags]


def _memory_mb() -> int | None:
    for line in (_read(PROC / "meminfo") or "").splitlines():
        if line.startswith("MemTotal:"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    return None


@dataclass(frozen=True, slots=True)
class _Use:
    """Seconds of processor time, all cores together: had by other programs, kept by the host, and in all."""

    others: float
    host: float
    all: float


def _use() -> _Use | None:
    text = _read(PROC / "stat")
    if text is None:
        return None
    # user nice system idle iowait irq softirq steal, see proc_stat(5); guests are part of user and nice.
    seconds = [int(value) / os.sysconf("SC_CLK_TCK") for value in text.splitlines()[0].split()[1:9]]
    mine = os.times()
    own = mine.user + mine.system + mine.children_user + mine.children_system
    idle, host = seconds[3] + seconds[4], seconds[7]
    return _Use(sum(seconds) - idle - host - own, host, sum(seconds))


def _stat_cpu_s(path: Path) -> float | None:
    fields = _stat_fields(path)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else None


def _stat_fields(path: Path) -> list[str]:
    """The fields of proc_pid_stat(5) from the third on; a program's name, the second, may hold anything."""
    text = _read(path)
    return text.rpartition(")")[2].split() if text else []


def _read(path: Path) -> str | None:
    """A file of /proc; None where the system has none, or the process has just ended."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
