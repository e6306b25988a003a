"""`sortline cameras` against a V4L2 driver that answers as the kernel's documentation says; a test
machine has no camera, so its answers are the one thing that is made up here."""

import errno
import struct
from pathlib import Path

import pytest

from edge.camera.attached import (
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    QUERYCAP,
    CameraMode,
    device_modes,
    list_cameras,
)

# What gcc says of VIDIOC_QUERYCAP and so on in linux/videodev2.h.
NUMBERS = {QUERYCAP: 0x80685600, ENUM_FMT: 0xC0405602, ENUM_FRAMESIZES: 0xC02C564A, ENUM_FRAMEINTERVALS: 0xC034564B}
MJPG, YUYV = (int.from_bytes(name, "little") for name in (b"MJPG", b"YUYV"))


class Driver:
    """A webcam: MJPG in two sizes, YUYV in a range of sizes. Answers EINVAL past the end of each list."""

    def __init__(self, capabilities: int = 0x84A00001, own: int = 0x04200001) -> None:
        self.capabilities, self.own = capabilities, own

    def __call__(self, handle: int, request: int, buffer: bytearray) -> int:
        words = struct.unpack_from(f"{len(buffer) // 4}I", buffer)
        if request == QUERYCAP:
            struct.pack_into("16s32s32sIII", buffer, 0, b"uvc", b"HD Cam", b"usb-1", 6, self.capabilities, self.own)
        elif request == ENUM_FMT and words[1] == 1 and words[0] < 2:
            struct.pack_into("I", buffer, 44, (MJPG, YUYV)[words[0]])
        elif request == ENUM_FRAMESIZES and words[1] == MJPG and words[0] < 2:
            struct.pack_into("III", buffer, 8, 1, *((1920, 1080), (640, 480))[words[0]])
        elif request == ENUM_FRAMESIZES and words[1] == YUYV and words[0] < 1:
            struct.pack_into("7I", buffer, 8, 3, 32, 1280, 2, 32, 720, 2)
        elif request == ENUM_FRAMEINTERVALS and words[2] == 640 and words[0] < 2:
            struct.pack_into("III", buffer, 16, 1, 1, (30, 60)[words[0]])
        elif request == ENUM_FRAMEINTERVALS and words[2] == 1280 and words[0] < 1:
            struct.pack_into("7I", buffer, 16, 3, 1, 10, 1, 1, 1, 1)
        else:
            raise OSError(errno.EINVAL, "Invalid argument")
        return 0


def test_the_requests_are_the_kernels() -> None:
    for ours, kernels in NUMBERS.items():
        assert ours == kernels


def test_each_mode_of_a_camera_is_listed(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    assert device_modes(node, Driver()) == [
        CameraMode(str(node), "HD Cam", "MJPG", 1920, 1080, 0.0),
        CameraMode(str(node), "HD Cam", "MJPG", 640, 480, 60.0),
        CameraMode(str(node), "HD Cam", "YUYV", 1280, 720, 10.0),
    ]


def test_a_node_that_gives_no_pictures_is_left_out(tmp_path: Path) -> None:
    node = tmp_path / "video1"
    node.touch()
    assert device_modes(node, Driver(own=0x04A00000)) == []  # a webcam's second node: metadata
    assert device_modes(node) == []  # a file that knows none of these requests
    assert device_modes(tmp_path / "video2") == []


def test_a_machine_without_cameras_has_an_empty_list() -> None:
    if any(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    assert [mode for mode in list_cameras() if not mode.source.startswith("aravis:")] == []
