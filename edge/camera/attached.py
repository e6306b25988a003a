"""`sortline cameras`: what is attached to this machine, and the modes that it offers."""

import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.capture import Failure, genicam

Ioctl = Callable[[int, int, bytearray], int]

# The kernel's include/uapi/linux/videodev2.h. _IOR and _IOWR pack direction, size, 'V' and a number.
_READ, _READ_WRITE = 2, 3


def _request(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


_CAPABILITY = struct.Struct("16s 32s 32s 3I 12x")
_FORMAT = struct.Struct("3I 32s I 16x")
_FRAME_SIZE = struct.Struct("3I 24s 8x")
_FRAME_INTERVAL = struct.Struct("5I 24s 8x")
QUERYCAP = _request(_READ, 0, _CAPABILITY.size)
ENUM_FMT = _request(_READ_WRITE, 2, _FORMAT.size)
ENUM_FRAMESIZES = _request(_READ_WRITE, 74, _FRAME_SIZE.size)
ENUM_FRAMEINTERVALS = _request(_READ_WRITE, 75, _FRAME_INTERVAL.size)

CAN_CAPTURE, CAN_CAPTURE_PLANES, HAS_OWN_CAPABILITIES = 0x1, 0x1000, 0x80000000
CAPTURE, CAPTURE_PLANES = 1, 9
DISCRETE = 1
MOST_MODES = 256
"""No camera has as many; a driver that never says "no more" does not hang the listing."""


@dataclass(frozen=True, slots=True)
class CameraMode:
    """One mode of one camera: what to write under [camera] for it.

    source is what `source` takes. fourcc is four letters for V4L2 and a GenICam pixel format for
    Aravis, fps the highest rate in that mode; sizes and rates are 0 where the driver names none, and
    the largest where it offers a range.
    """

    source: str
    name: str
    fourcc: str
    width: int
    height: int
    fps: float


def list_cameras() -> list[CameraMode]:
    """All modes of all cameras that this user may open: V4L2 devices, then GigE Vision and USB3 Vision ones.

    The latter need Aravis; where it is not installed they are left out.
    """
    devices = sorted(Path("/dev").glob("video*"), key=lambda path: int(re.sub(r"\D", "", path.name) or 0))
    modes = [mode for path in devices for mode in device_modes(path)]
    try:
        found = genicam.modes()
    except Failure:
        return modes
    return modes + [CameraMode(f"aravis:{mode[0]}", *mode[1:]) for mode in found]


def device_modes(path: Path, ioctl: Ioctl = fcntl.ioctl) -> list[CameraMode]:
    """The modes of one V4L2 device; none for one that is no camera (an encoder, a metadata node) or is gone."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return []
    try:
        camera = _camera(handle, ioctl)
        return [] if camera is None else list(_modes(path, *camera, handle, ioctl))
    finally:
        os.close(handle)


def _camera(handle: int, ioctl: Ioctl) -> tuple[str, int] | None:
    """The name and kind of buffer of a device that captures pictures."""
    buffer = bytearray(_CAPABILITY.size)
    try:
        ioctl(handle, QUERYCAP, buffer)
    except OSError:
        return None
    _driver, card, _bus, _version, whole, own = _CAPABILITY.unpack(buffer)
    can = own if whole & HAS_OWN_CAPABILITIES else whole
    if not can & (CAN_CAPTURE | CAN_CAPTURE_PLANES):
        return None
    name = card.partition(b"\0")[0].decode("utf-8", "replace")
    return name, CAPTURE if can & CAN_CAPTURE else CAPTURE_PLANES


def _modes(path: Path, name: str, buffers: int, handle: int, ioctl: Ioctl) -> Iterator[CameraMode]:
    for entry in _enumerate(handle, ioctl, ENUM_FMT, _FORMAT, (buffers, 0, b"", 0)):
        code = entry[4]
        fourcc = code.to_bytes(4, "little").decode("ascii", "replace").rstrip()
        sizes = list(_enumerate(handle, ioctl, ENUM_FRAMESIZES, _FRAME_SIZE, (code, 0, b"")))
        if not sizes:
            yield CameraMode(str(path), name, fourcc, 0, 0, 0.0)
        for size in sizes:
            width, height = _largest(size[2], size[3])
            yield CameraMode(str(path), name, fourcc, width, height, _fps(handle, ioctl, code, width, height))


def _largest(kind: int, words: bytes) -> tuple[int, int]:
    """v4l2_frmsize_discrete {width, height}, or _stepwise {min, max, step of width, then of height}."""
    numbers = struct.unpack("6I", words)
    return (numbers[0], numbers[1]) if kind == DISCRETE else (numbers[1], numbers[4])


def _fps(handle: int, ioctl: Ioctl, code: int, width: int, height: int) -> float:
    """The highest rate: each interval is a fraction of a second, a range begins with its shortest one."""
    asked = (code, width, height, 0, b"")
    rates = []
    for interval in _enumerate(handle, ioctl, ENUM_FRAMEINTERVALS, _FRAME_INTERVAL, asked):
        numerator, denominator = struct.unpack_from("2I", interval[5])
        rates.append(denominator / numerator if numerator else 0.0)
    return max(rates, default=0.0)


def _enumerate(
    handle: int,
    ioctl: Ioctl,
    request: int,
    layout: struct.Struct,
    asked: tuple[object, ...],
) -> Iterator[tuple]:
    """Asks for entry 0, 1, 2 ... until the driver says that there are no more."""
    for index in range(MOST_MODES):
        buffer = bytearray(layout.pack(index, *asked))
        try:
            ioctl(handle, request, buffer)
        except OSError:
            return
        yield layout.unpack(buffer)
