"""The log output: writes each push as one line to the program's log."""

import logging

from edge.outputs import Output
from edge.records import Actuation

_log = logging.getLogger("sortline.outputs.log")


class Log(Output):
    """Tells what would have been pushed: for dry runs, and as a trace beside a real diverter."""

    def fire(self, actuation: Actuation) -> None:
        decision = actuation.decision
        _log.info(
            "%s: push item %d (%s, %.3f) into lane %s at %.1f mm",
            self.name,
            actuation.item_id,
            decision.label,
            decision.confidence,
            actuation.lane,
            actuation.fire_mm,
        )
