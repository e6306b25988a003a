"""RTSP (over TCP, unless the camera offers only UDP) and HTTP streams, through FFMPEG in OpenCV."""

import ipaddress
import math
import socket
from typing import Any
from urllib.parse import urlsplit

from edge.camera import CameraSettings
from edge.camera.apart import Apart
from edge.camera.timestamps import SteadyTimes
from edge.clock import Clock

KNOCK_S = 0.2
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


class Stream(Apart):
    """A network camera. RTSP pictures keep the spacing of the camera's own clock.

    RTP timestamps say how far pictures are apart, not when the first one was taken, and encoder, network
    and decoder add a delay that cannot be measured from here: `delay_ms` takes it off. (Of H.264, FFMPEG
    hands a picture on when the next one begins: one interval of it is always there.) An HTTP stream
    of JPEGs has no timestamps; what FFMPEG shows for it is a guess of 25 fps and is not used.

    Size, rate, exposure and gain are set on the camera's own page: those asked for here that the
    stream does not have are in `refused`.
    """

    @staticmethod
    def answers(settings: CameraSettings) -> bool | None:
        """Whether somebody listens at the camera's address. None for a name: looking one up may take long."""
        url = urlsplit(str(settings.source))
        try:
            address = (str(ipaddress.ip_address(url.hostname or "")), url.port or PORTS[url.scheme.lower()])
        except ValueError:
            return None
        try:
            socket.create_connection(address, KNOCK_S).close()
        except OSError:
            return False
        return True

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._times = SteadyTimes()
        super().__init__(settings, clock, {"kind": "stream", "source": str(settings.source)})

    def _captured_at(self, arrival: float, own: float) -> float:
        if not math.isnan(own):
            self.timestamps = "driver"
            arrival = self._times.arrived(own, arrival)
        return super()._captured_at(arrival, own)

    def _opened(self, about: dict[str, Any]) -> None:
        height, width = about["shape"][:2]
        has = {"width": width, "height": height, "fps": round(about["fps"], 2)}
        asked = self._settings.model_dump(
            include={*has, "fourcc", "exposure_ms", "gain"}, exclude_none=True, exclude_unset=True
        )
        about["refused"] = [
            f"{name} {value} (" + (f"it has {has[name]}" if name in has else "a stream cannot be asked") + ")"
            for name, value in asked.items()
            if has.get(name) != value
        ]
        super()._opened(about)
