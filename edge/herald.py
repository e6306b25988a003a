"""The herald: tells everyone who wants to know of decisions, pushes, endings and incidents.

Nobody who listens can hold up the line: the user's function and each output that hears decisions have
a worker of their own, the journal and the page bounded queues. What could not be told is counted and
is an incident itself.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Protocol

from edge.belt import Belt
from edge.checks import Checks
from edge.clock import Clock, VirtualClock
from edge.config import LineConfig
from edge.drift import Change, Drift
from edge.errors import OutputError, pass_interrupt
from edge.journal import Journal
from edge.ledger import Life
from edge.logs import IncidentLog
from edge.model import Classifier
from edge.outputs import Output
from edge.permit import Permit
from edge.plain import plain
from edge.records import Actuation, Decision, Incident, Outcome, Scope
from edge.sink import Trouble
from edge.web.side import WebSide
from edge.worker import Worker

_log = logging.getLogger("sortline.herald")

DECISIONS_WAITING = 1000
INCIDENTS_KEPT = 100
HEARING_S = 2.0  # who is told of a decision is given so long to come back
_WATCHED = {
    "confidence": "confidence",
    "brightness": "brightness",
    "unknown": "share of unknown items",
    "classes": "mix of classes",
}


class Tell(Protocol):
    """How a part of the line tells of an unusual event: the herald's `tell`."""

    def __call__(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None: ...


class Herald:
    """Owns the listeners' workers and the journal. Opens the journal's files: ConfigError when they cannot be.

    incidents counts by name what has happened, recent holds the newest incidents, ends too. Its methods never block
    and may be called from any thread, with or without the ledger's lock.
    """

    def __init__(
        self,
        config: LineConfig,
        classifier: Classifier,
        outputs: Mapping[str, Output],
        belt: Belt,
        clock: Clock,
        on_decision: Callable[[Decision], object] | None,
        decisions_path: Path | None,
        permit: Permit | None = None,
    ) -> None:
        self._belt, self._clock = belt, clock
        self._threaded = not isinstance(clock, VirtualClock)
        self.incidents: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._told = IncidentLog(_log)
        self.recent: deque[Incident] = deque(maxlen=INCIDENTS_KEPT)
        self.web: WebSide | None = None
        self.permit = permit or Permit()
        self.drift = Drift(classifier.card.classes, self._drifted)
        self.checks = Checks(config)
        self._lane_outputs = {lane.name: lane.output for lane in config.lanes}
        card = classifier.card
        self.journal = Journal(
            config.journal.path,
            decisions_path,
            (f"{card.name} {card.version}", classifier.sha256),
            self._journal_trouble,
            threaded=self._threaded,
        )
        self._callback = self._listener("on_decision", on_decision, "callback_failed") if on_decision else None
        self._pictures, self._refused = str(config.journal.pictures), False
        self._stuck: dict[str, float] = {}
        self._failing: dict[str, str] = {}
        self._hearing = {
            name: self._listener(f"outputs.{name}: {output.called}", output.decided, "output_failed", f"outputs.{name}")
            for name, output in outputs.items()
            if output.settings.on == "decision"
        }
        self._told_all = {name for name, output in outputs.items() if output.settings.every_item}
        for output in outputs.values():
            output.begin(self.journal.about)

    def decided(self, life: Life, decision: Decision) -> None:
        """An item has its decision."""
        if decision.reason in {"late", "overload"}:
            cause = f"item {decision.item_id} reached its point of no return without a result"
            self.tell(f"decision_{decision.reason}", "item", cause, "sent to the default lane", decision.item_id)
        self.journal.decided(decision)
        named = {self._lane_outputs[decision.lane]} | self._told_all if self.permit.given else set()
        hearing = [listener for name, listener in self._hearing.items() if name in named]
        for listener in [*([self._callback] if self._callback else ()), *hearing]:
            if not listener.put(decision):
                cause = f"{listener.name} has {DECISIONS_WAITING} decisions waiting"
                self.tell("decision_unheard", "output", cause, "not told of this one", decision.item_id)
        self.drift.saw(decision, life.crop)
        if self.web:
            self.web.decided(decision, life.crop, life.spent_s)

    def fired(self, actuation: Actuation, fired_at: float) -> None:
        """An output has made a push; its command left at fired_at."""
        self.journal.fired(actuation, fired_at)

    def ended(self, life: Life, outcome: Outcome) -> None:
        """An item has come to its end."""
        self.journal.ended(life.item.id, outcome, self._clock.now())
        if self.web:
            self.web.ended(life.item.id, outcome, life.spent_s)

    def labelled(self, item_id: int, lane: str, label: str | None, picture: str | None) -> None:
        """A person has said of which class an item is: None is none that the model knows."""
        self.checks.add(item_id, lane, label)
        self.journal.labelled(item_id, label, picture)

    def pictures_refused(self, reason: str | None) -> None:
        """Why the folder of pictures worth labelling takes none, or None: it takes them."""
        folder, refused = self._pictures, self._refused
        self._refused = reason is not None
        if reason is not None:
            cause = f"{folder}: {reason}"
            self.tell(
                "pictures_refused", "journal", cause, "sorting goes on; words of people count without their picture"
            )
        elif refused:
            self.tell("pictures_refused", "journal", f"{folder}: takes pictures", "they are kept", recovered=True)

    def incident(self, incident: Incident) -> None:
        """Counts, logs, journals and shows one unusual event; its end is none of its own."""
        # Its words are for people, and may hold the name of a file, a device or a class.
        incident = replace(incident, cause=plain(incident.cause), action=plain(incident.action))
        if not incident.recovered:
            with self._counting:
                self.incidents[incident.name] += 1
        self.recent.append(incident)
        self._told.add(incident, monotonic())
        self.journal.incident(incident)
        if self.web:
            self.web.incident(incident)

    def tell(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None:
        """Raises an incident of the present moment."""
        now = self._clock.now()
        self.incident(Incident(name, scope, now, self._belt.position_mm(now), cause, action, item_id, recovered))

    def look_after_listeners(self) -> None:
        """Tells of a listener that does not come back from a decision, and of its return; called again and again."""
        now = monotonic()
        self._told.tell_left_out(now)
        for listener in self._listeners():
            since = listener.since
            name = "callback_stuck" if listener is self._callback else "output_stuck"
            if listener.name in self._stuck:
                if since != self._stuck[listener.name]:
                    took_s = now - self._stuck.pop(listener.name)
                    cause = f"{listener.name} has come back after {took_s:.1f} s"
                    self.tell(name, "output", cause, "it is told of what waits", recovered=True)
            elif since is not None and now - since > HEARING_S:
                self._stuck[listener.name] = since
                action = f"sorting goes on; up to {DECISIONS_WAITING} decisions wait for it"
                self.tell(name, "output", f"{listener.name} has not come back for {now - since:.1f} s", action)

    def trouble(self) -> str | None:
        """Which listeners do not come back, and which outputs could not be told last; None when all is well."""
        now = monotonic()
        found = [f"{name} has not come back for {now - since:.1f} s" for name, since in sorted(self._stuck.items())]
        return "; ".join([*found, *self._failing.copy().values()]) or None

    def stop_listeners(self) -> None:
        """Lets the listeners finish what waits, for half a second each: the outputs among them are closed then."""
        for listener in self._listeners():
            if left := listener.stop(0.5):
                self.tell("decision_unheard", "output", f"{listener.name} had {len(left)} waiting", "the line stopped")

    def stop(self) -> None:
        """Closes the journal, after what the listeners and the outputs had to tell at the end."""
        self.journal.stop()
        self._told.tell_left_out(monotonic(), all_of_it=True)

    def _listeners(self) -> list[Worker[Decision]]:
        return [*([self._callback] if self._callback else ()), *self._hearing.values()]

    def _listener(
        self, name: str, hear: Callable[[Decision], object], incident: str, output: str | None = None
    ) -> Worker[Decision]:
        """Whoever is told of decisions; an output by its key, for it is not well while that fails."""

        def failed(error: BaseException, item_id: int | None = None) -> None:
            cause = f"{name}: {type(error).__name__}: {error}"
            if output:
                cause = self._failing[output] = f"{output}: {error}" if isinstance(error, OutputError) else cause
            self.tell(incident, "output", cause, "sorting goes on", item_id)

        def tell(decision: Decision) -> None:
            try:
                hear(decision)
            except BaseException as error:  # an output may be the user's own and raise anything
                pass_interrupt(error)
                failed(error, decision.item_id)
            else:
                self._failing.pop(output or "", None)

        return Worker(name, tell, DECISIONS_WAITING, failed, threaded=self._threaded)

    def _drifted(self, name: str, change: Change, recovered: bool) -> None:
        cause = (
            f"the {_WATCHED[name]} of the newest items differs from that of the first ones "
            f"(stability index {change.psi:.2f}, by chance up to {change.chance:.2f})"
        )
        if recovered:
            cause = f"the {_WATCHED[name]} is again what it was at the start"
        self.tell("drift", "model", cause, "sorting goes on", recovered=recovered)

    def _journal_trouble(self, name: Trouble, recovered: bool, cause: str) -> None:
        action = {"journal_failed": "sorting goes on, writing is tried again", "journal_rows_lost": "they are counted"}
        self.tell(name, "journal", cause, "writing goes on" if recovered else action[name], recovered=recovered)
