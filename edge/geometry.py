"""Where along the belt the hand's acts happen."""

from collections.abc import Mapping
from dataclasses import dataclass

from edge.config import LineConfig
from edge.outputs import Output


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where along the belt things happen, in millimetres from the camera's centre line, and how exactly.

    end_mm is where an item that nobody pushed counts as passed; nearest_mm the first diverter.
    """

    half_view_mm: float
    nearest_mm: float
    end_mm: float
    reach_mm: float
    tolerance_mm: float
    lead_s: float

    @classmethod
    def of(cls, config: LineConfig, outputs: Mapping[str, Output], half_view_mm: float) -> "Geometry":
        diverters = [lane for lane in config.lanes if lane.output and lane.distance_mm]
        places = [lane.distance_mm or 0.0 for lane in diverters]
        reach = config.decide.reach_mm
        end = max([half_view_mm, *places]) + reach
        leads = [outputs[lane.output].settings.lead_ms / 1e3 for lane in diverters if lane.output]
        return cls(
            half_view_mm=half_view_mm,
            nearest_mm=min(places, default=end),
            end_mm=end,
            reach_mm=reach,
            tolerance_mm=config.decide.tolerance_mm or reach / 4,
            lead_s=max(leads, default=0.0),
        )
