"""RTSP (over TCP, unless the camera offers only UDP) and HTTP streams, through FFMPEG in OpenCV."""

import math

from edge.camera import CameraSettings
from edge.camera.apart import Apart
from edge.camera.timestamps import SteadyTimes
from edge.clock import Clock


class Stream(Apart):
    """A network camera. RTSP pictures keep the spacing of the camera's own clock.

    RTP timestamps say how far pictures are apart, not when the first one was taken, and the network
    and decoder add a delay that cannot be measured from here: `delay_ms` takes it off. An HTTP stream
    of JPEGs has no timestamps; what FFMPEG shows for it is a guess of 25 fps and is not used.
    """

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._times = SteadyTimes()
        super().__init__(settings, clock, {"kind": "stream", "source": str(settings.source)})

    def _captured_at(self, arrival: float, own: float) -> float:
        if not math.isnan(own):
            self.timestamps = "driver"
            arrival = self._times.arrived(own, arrival)
        return super()._captured_at(arrival, own)
