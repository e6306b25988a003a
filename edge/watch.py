"""The watch: what the line shows of itself, four times a second, and whether its parts still live.

Everything that a page, a metric or the closing table says comes from `snapshot` and `summary`.
"""

import threading
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Any

from edge.encoders.belt import EncoderBelt
from edge.finder import SEVERAL
from edge.herald import Herald
from edge.items import Tracked
from edge.records import Box, Frame, Scope
from edge.stats import Distribution
from edge.web.side import WebSide

if TYPE_CHECKING:
    from edge.line import Line

PERIOD_S = 0.25
WATCHED = "watched"
LOOKED_AFTER: tuple[tuple[str, Scope, str], ...] = (
    ("line", "line", "a service's watchdog starts the line anew; where none does, start it anew"),
    ("model", "model", WATCHED),
    ("outputs", "output", WATCHED),
    ("eyes", "belt", WATCHED),
)
PASSED_S = 1.0  # what is too long is told of again when none was seen for so long
STEADY_S = 1.0  # a belt is compared with the pictures when it has run evenly for so long
SPEED_ERROR = 0.15  # a share: beyond it the configured belt speed does not fit what the pictures show


class Watch:
    """One thread that feeds the web side and the journal and looks after the line's other threads."""

    def __init__(self, line: "Line", herald: Herald, web: WebSide | None) -> None:
        self._line, self._herald, self._web = line, herald, web
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sortline-watch", daemon=True)
        self._known: dict[str, bool] = {}
        self._too_long_at = -inf
        self._compared_at = -inf
        self._seen: tuple[int, int] | None = None
        self._wrong_way = False

    def start(self) -> None:
        if self._web:
            self._web.start()
        if not self._line.permit.armed:
            cause, action = "line.start_armed is false", "everything goes to the default lane until somebody arms them"
            self._herald.tell("outputs_disarmed", "output", cause, action)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._web:
            self._web.line_ends()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def saw(self, frame: Frame, tracked: Tracked) -> None:
        """Sends a picture to the page when somebody looks; tells of what is too long, of a picture in which nothing
        can be found and of a belt that runs at another speed than it should."""
        height, width = frame.pixels.shape[:2]
        if (height, width) != self._seen:
            self._seen = height, width
            items, scale = self._line.config.items, self._line.config.belt.pixels_per_mm
            if wrong := items.outside(width, height):
                self._herald.tell("roi_outside", "camera", wrong, "only what lies in the picture is looked at")
            if wrong := items.no_room(scale, (width, height)):
                self._herald.tell("picture_too_small", "camera", wrong, "looked at, but nothing can be found in it")
        if tracked.wrong_way and not self._wrong_way:
            self._wrong_way = True
            direction = self._line.config.belt.direction
            self._herald.tell(
                "belt_wrong_way", "belt",
                f'all that travels in the pictures goes against belt.direction = "{direction}"',
                "none of it is taken for an item: mend belt.direction, or turn the camera",
            )  # fmt: skip
        if tracked.too_long_mm:
            if frame.captured_at - self._too_long_at > PASSED_S:
                most_mm = self._line.config.items.max_mm
                self._herald.tell(
                    "item_too_long", "item",
                    f"something at least {tracked.too_long_mm:.0f} mm long is on the belt; "
                    f"items.max_mm = {most_mm:g} allows for items that touch up to {SEVERAL * most_mm:g} mm",
                    "passed over: it is neither counted nor pushed",
                )  # fmt: skip
            self._too_long_at = frame.captured_at
        if frame.captured_at - self._compared_at >= PERIOD_S:
            self._compared_at = frame.captured_at
            self._compare_speeds(frame.captured_at)
        if self._web and self._web.wants_picture:
            self._web.picture(frame, [self._shown(item.id, item.box) for item in tracked.items])

    def snapshot(self) -> dict[str, Any]:
        """The line in numbers, as the page and the metrics show it."""
        line = self._line
        now = line.clock.now()
        camera = line.grabber.stats()
        return {
            "at": now,
            "uptime_s": now - line.started_at,
            "frames": line.frames,
            "skipped": camera.skipped,
            "fps": camera.fps,
            "position_mm": line.belt.position_mm(now),
            "speed_mm_s": line.belt.speed_mm_s(now),
            **self._books(),
            "latency_ms": line.mind.latency.milliseconds(),
            "latency": line.mind.latency.buckets(),
            "stages": {name: one.buckets() for name, one in self._stages().items()},
            "health": line.health(),
            "incidents": dict(self._herald.incidents),
            "rows_lost": self._herald.journal.lost,
            "paused": line.permit.paused,
            "armed": line.permit.armed,
            "held": line.hand.confirm.held,
            "simulated": self.truth(),
            "checked": self._herald.checks.snapshot(),
            "drift": self._herald.drift.look(),
        }

    def summary(self) -> dict[str, Any]:
        """The closing table: what happened to every item, and on a simulated belt how much of it was right."""
        line = self._line
        books = self._books()
        content = {
            "frames": line.frames,
            "skipped": line.grabber.stats().skipped,
            "seconds": round(line.clock.now() - line.started_at, 3),
            "items": books["born"],
            "on_belt": books["on_belt"],
            "outcomes": books["outcomes"],
            "reasons": books["reasons"],
            "latency_ms": line.mind.latency.milliseconds(),
            "lateness_ms": line.hand.lateness.milliseconds(),
            "stages_ms": {name: one.milliseconds() for name, one in self._stages().items()},
            "lanes": books["lanes"],
            "late_results": line.mind.late_results,
            "incidents": dict(self._herald.incidents),
            "rows_lost": self._herald.journal.lost,
            "model": line.facts()["model"],
        }
        if truth := self.truth():
            content["sort_accuracy"] = truth["sort_accuracy"]
            content["misplaced"] = truth["misplaced"]
            content["simulated"] = truth
        return content

    def truth(self) -> dict[str, Any] | None:
        """What really happened on a simulated belt; None on a real one."""
        world = self._line.world
        if world is None:
            return None
        truth = world.truth(self._line.clock.now())
        return {
            "items": truth.items,
            "sort_accuracy": truth.sort_accuracy if truth.items else None,
            "misplaced": truth.misplaced,
            "pushes": truth.pushes,
            "wrong_pushes": truth.wrong_pushes,
            "lanes": {
                lane.name: {"purity": truth.purity(lane.name), "yield": truth.yield_(lane.name)}
                for lane in self._line.config.lanes
            },
        }

    def _stages(self) -> dict[str, Distribution]:
        """The stages of the deadline ledger, in the order in which an item goes through them."""
        stages = self._line.stages | self._line.mind.stages
        names = ("waiting", "finding", "queueing", "classifying", "voting", "margin", "output")
        return {name: stages[name] for name in names}

    def _books(self) -> dict[str, Any]:
        line = self._line
        with line.ledger.lock:
            ledger = line.ledger
            lanes = {lane.name: Counter(ledger.lanes.get(lane.name, Counter())) for lane in line.config.lanes}
            return {
                "born": ledger.born,
                "on_belt": len(ledger),
                "outcomes": dict(ledger.outcomes),
                "reasons": dict(ledger.reasons),
                "lanes": {name: {"items": c.total(), "classes": dict(c)} for name, c in lanes.items()},
            }

    def _shown(self, item_id: int, box: Box) -> dict[str, Any]:
        content: dict[str, Any] = {"id": item_id, "box": [box.x, box.y, box.width, box.height]}
        with self._line.ledger.lock:
            life = self._line.ledger.get(item_id)
            if life and life.decision:
                decision = life.decision
                return content | {
                    "label": decision.label, "confidence": decision.confidence, "lane": decision.lane,
                }  # fmt: skip
            if life and life.vote.views:
                best, confidence, _, _ = life.vote.result()
                return content | {
                    "label": self._line.classifier.card.classes[best], "confidence": confidence, "lane": None,
                }  # fmt: skip
        return content | {"label": None, "confidence": 0.0, "lane": None}

    def _run(self) -> None:
        while not self._stopping.wait(PERIOD_S):
            self._line.vitals.comes_round("watch")
            try:
                if self._web:
                    self._web.state(self.snapshot())
                self._herald.journal.tick()
                self._herald.look_after_listeners()
                self._look_after()
            except Exception as error:  # the outermost loop: the watch itself must not die unseen
                self._herald.tell("watch_failed", "line", f"{type(error).__name__}: {error}", "went on")

    def _look_after(self) -> None:
        """Raises an incident when a part stops being well, and its recovery when it is well again."""
        line = self._line
        if isinstance(line.belt, EncoderBelt):
            line.belt.look_after()
        health = line.health()
        for part, scope, action in LOOKED_AFTER:
            if part not in health:
                continue
            ok = health[part]["ok"]
            if ok != self._known.get(part, True):
                self._herald.tell(
                    f"{part}_unwell", scope, health[part]["text"], WATCHED if ok else action, recovered=ok
                )
            self._known[part] = ok

    def _compare_speeds(self, now: float) -> None:
        """Tells, once, that the belt does not run as it should by its settings or its encoder."""
        line = self._line
        observed = line.eye.observed_speed_mm_s(now - STEADY_S / 2)
        if not observed or not line.belt.place(now).sure or not line.belt.place(now - STEADY_S).sure:
            return
        speed, error = observed
        configured = line.belt.speed_mm_s(now)
        # The pictures show a mean, which says nothing while the belt changes its speed.
        mean = (line.belt.position_mm(now) - line.belt.position_mm(now - STEADY_S)) / STEADY_S
        steady = abs(configured - mean) <= SPEED_ERROR / 3 * abs(configured)
        if steady and error < 0.05 * abs(speed) and abs(speed - configured) > SPEED_ERROR * abs(configured):
            self._compared_at = inf
            by, key = ("is configured at", "speed_mm_s")
            if line.config.belt.encoder:
                by, key = ("runs by its encoder at", "encoder.counts_per_mm")
            self._herald.tell(
                "belt_speed_mismatch", "belt",
                f"items travel at {speed:.0f} mm/s in the pictures, the belt {by} {configured:.0f}",
                f"pushes would miss their items: mend belt.{key} or belt.pixels_per_mm",
            )  # fmt: skip
