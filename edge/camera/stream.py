"""RTSP (over TCP, unless the camera offers only UDP) and HTTP streams, through FFMPEG in OpenCV."""

import ipaddress
import math
import socket
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from edge.camera import CameraSettings, redacted
from edge.camera.apart import Apart
from edge.camera.timestamps import SteadyTimes
from edge.clock import Clock
from edge.errors import CameraError

KNOCK_S = 0.2
OPENING_KNOCK_S = 2.0
"""Long enough for a lost SYN, which TCP sends again after 1 s (RFC 6298), and for a camera far away."""

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
        try:
            host, port = _address(settings)
            ipaddress.ip_address(host)
        except ValueError:
            return None
        try:
            socket.create_connection((host, port), KNOCK_S).close()
        except OSError:
            return False
        return True

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        _knock(settings)
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


def _address(settings: CameraSettings) -> tuple[str, int]:
    """Host and port of a camera's address; ValueError where it has no host or an impossible port."""
    url = urlsplit(str(settings.source))
    if not url.hostname:
        raise ValueError("no host")
    return url.hostname, url.port or PORTS[url.scheme.lower()]


def _knock(settings: CameraSettings) -> None:
    """CameraError where nobody listens: a camera that is away for a day costs no process every 5 s."""
    try:
        host, port = _address(settings)
    except ValueError:
        return  # FFMPEG says what is wrong with the address
    if urlsplit(str(settings.source)).scheme.lower() in getproxies() and not proxy_bypass(host):
        return  # FFMPEG asks the proxy, which may reach what this machine does not
    name = redacted(settings.source)
    try:
        socket.create_connection((host, port), min(OPENING_KNOCK_S, settings.open_timeout_s)).close()
    except socket.gaierror:
        raise CameraError(f"{name}: the name {host} is not known on this network") from None
    except OSError as error:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        why = "it keeps silent" if isinstance(error, TimeoutError) else error.strerror
        raise CameraError(f"{name}: nothing answers at {place} ({why})") from None
