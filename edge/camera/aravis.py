"""GigE Vision and USB3 Vision (GenICam) cameras through Aravis: aravis:ID, aravis:ADDRESS, or aravis: alone."""

import math

from edge.camera import CameraSettings
from edge.camera.apart import Apart
from edge.camera.timestamps import SteadyTimes
from edge.clock import Clock


class Aravis(Apart):
    """An industrial camera; its pictures keep the spacing of its own clock, as in `Stream`.

    The address is the quickest way to one (no search of the network). Needs Aravis' bindings; where
    they are absent, the CameraError says how to install them.
    """

    module = "edge.capture.genicam"

    def __init__(self, settings: CameraSettings, clock: Clock) -> None:
        self._times = SteadyTimes()
        wanted = settings.model_dump(include={"width", "height", "fps", "exposure_ms", "gain"})
        identity = str(settings.source).strip().removeprefix("aravis:").strip("/")
        super().__init__(settings, clock, {"source": identity, "wanted": wanted})

    def _captured_at(self, arrival: float, own: float) -> float:
        if not math.isnan(own):
            self.timestamps = "driver"
            arrival = self._times.arrived(own, arrival)
        return super()._captured_at(arrival, own)
