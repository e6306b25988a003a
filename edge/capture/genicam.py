"""GigE Vision and USB3 Vision cameras, held by Aravis: `python -m edge.capture.genicam`.

A process of its own is needed here: once a GigE camera falls silent, Aravis 0.8 blocks for 4 s in
stopping the acquisition and for 7.5 s more in letting go of the stream.
"""

import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from edge.capture import Failure, main

INSTALL = (
    "needs Aravis: apt-get install gir1.2-aravis-0.8 python3-gi, and a Python environment made with "
    "--system-site-packages (or pip install PyGObject)"
)
BUFFERS = 8

# To BGR, by pixel format, in the order of preference: no conversion, then colour, then grey. OpenCV names
# a Bayer pattern by its second row and column, unless it is written as four letters.
FORMATS: dict[str, int | None] = {
    "BGR8": None,
    "RGB8": cv2.COLOR_RGB2BGR,
    "BayerRG8": cv2.COLOR_BayerRGGB2BGR,
    "BayerGR8": cv2.COLOR_BayerGRBG2BGR,
    "BayerGB8": cv2.COLOR_BayerGBRG2BGR,
    "BayerBG8": cv2.COLOR_BayerBGGR2BGR,
    "Mono8": cv2.COLOR_GRAY2BGR,
}


class GenicamCapture:
    """A camera that Aravis found; `source` is its id, its address, or nothing for the first one."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._aravis, self._glib = aravis()
        self._read_timeout_s = float(request["read_timeout_s"])
        self.backend = "Aravis"
        self.refused: list[str] = []
        self.lost = 0
        self._buffer: Any = None
        self._stream: Any = None
        try:
            self._camera = self._aravis.Camera.new(request["source"] or None)
            self._conversion = self._set_up(request["wanted"])
            self.fps = float(self._camera.get_frame_rate()) if self._camera.is_frame_rate_available() else 0.0
            self._stream = self._camera.create_stream(None, None)
            for _ in range(BUFFERS):
                self._stream.push_buffer(self._aravis.Buffer.new_allocate(self._camera.get_payload()))
            self._camera.start_acquisition()
        except self._glib.Error as error:
            raise Failure(_sentence(error.message)) from None

    def grab(self) -> tuple[float, float]:
        self._give_back()
        until = time.monotonic() + self._read_timeout_s
        while (left_s := until - time.monotonic()) > 0:
            buffer = self._stream.timeout_pop_buffer(round(left_s * 1e6))
            if buffer is None:
                continue
            self._buffer = buffer
            if buffer.get_status() == self._aravis.BufferStatus.SUCCESS:
                own = buffer.get_timestamp() / 1e9
                return time.monotonic(), own if own > 0 else math.nan
            self.lost += 1  # packets are missing
            self._give_back()
        raise Failure("gave no picture in time", stalled=True)

    def retrieve(self, into: np.ndarray | None) -> np.ndarray:
        buffer = self._buffer
        height, width = buffer.get_image_height(), buffer.get_image_width()
        raw = np.frombuffer(buffer.get_data(), np.uint8)
        channels = raw.size // (height * width)
        raw = raw[: height * width * channels].reshape((height, width, 3) if channels == 3 else (height, width))
        fits = into is not None and into.shape == (height, width, 3)
        if self._conversion is None:
            if fits and into is not None:
                into[:] = raw
                return into
            return raw
        return cv2.cvtColor(raw, self._conversion, dst=into if fits else None)

    def release(self) -> None:
        try:
            self._camera.stop_acquisition()
        except self._glib.Error:
            return  # it does not listen any more

    def _give_back(self) -> None:
        if self._buffer is not None:
            self._stream.push_buffer(self._buffer)
            self._buffer = None

    def _set_up(self, wanted: dict[str, Any]) -> int | None:
        """Sets what is asked for, notes what the camera refused, and chooses a pixel format."""
        camera, off = self._camera, self._aravis.Auto.OFF
        offered = camera.dup_available_pixel_formats_as_strings()
        chosen = next((name for name in FORMATS if name in offered), None)
        if chosen is None:
            raise Failure(f"offers none of the pixel formats {', '.join(FORMATS)} (it has: {', '.join(offered)})")
        camera.set_pixel_format_from_string(chosen)
        self._ask(
            "width", wanted, lambda value: camera.set_region(0, 0, value, _size(camera)[1]), lambda: _size(camera)[0]
        )
        self._ask(
            "height", wanted, lambda value: camera.set_region(0, 0, _size(camera)[0], value), lambda: _size(camera)[1]
        )
        self._ask("fps", wanted, camera.set_frame_rate, camera.get_frame_rate)
        if wanted.get("exposure_ms") is not None and camera.is_exposure_auto_available():
            camera.set_exposure_time_auto(off)
        self._ask(
            "exposure_ms",
            wanted,
            lambda value: camera.set_exposure_time(value * 1e3),
            lambda: camera.get_exposure_time() / 1e3,
        )
        if wanted.get("gain") is not None and camera.is_gain_auto_available():
            camera.set_gain_auto(off)
        self._ask("gain", wanted, camera.set_gain, camera.get_gain)
        return FORMATS[chosen]

    def _ask(self, name: str, wanted: dict[str, Any], give: Callable[[Any], object], has: Callable[[], float]) -> None:
        """Asks for one setting, reads back what the camera made of it, and notes a refusal."""
        value = wanted.get(name)
        if value is None:
            return
        try:
            give(value)
            if abs(has() - value) > 0.01 * max(abs(value), 1.0):
                self.refused.append(f"{name} {value:g} (it has {has():g})")
        except self._glib.Error as error:
            self.refused.append(f"{name} {value:g} ({error.message})")


def aravis() -> tuple[Any, Any]:
    """The modules Aravis and GLib; Failure with the way to install them."""
    try:
        importlib.import_module("gi").require_version("Aravis", "0.8")
        return importlib.import_module("gi.repository.Aravis"), importlib.import_module("gi.repository.GLib")
    except (ImportError, ValueError):
        raise Failure(INSTALL) from None


def modes() -> list[tuple[str, str, str, int, int, float]]:
    """Id, name, pixel format, width, height and highest rate of what is attached; looks for about a second."""
    library, glib = aravis()
    library.update_device_list()
    found = []
    for index in range(library.get_n_devices()):
        identity = library.get_device_id(index)
        name = f"{library.get_device_vendor(index)} {library.get_device_model(index)}"
        try:
            camera = library.Camera.new(identity)
            width, height = camera.get_sensor_size()
            fps = camera.get_frame_rate_bounds()[1] if camera.is_frame_rate_available() else 0.0
            offered = camera.dup_available_pixel_formats_as_strings()
        except glib.Error:  # another program has it
            width, height, fps, offered = 0, 0, 0.0, [""]
        found += [(identity, name, format_, width, height, fps) for format_ in offered]
    return found


def _size(camera: Any) -> tuple[int, int]:
    region = camera.get_region()
    return region.width, region.height


def _sentence(message: str) -> str:
    if "ontroller privilege" in message:
        return "another program holds it; after a crash it is free again within seconds"
    return message


if __name__ == "__main__":
    main(GenicamCapture)
