"""Each item's next act at its moment: decided at its point of no return, fired at its millimetre, passed at the end.

The Hand is one thread that sleeps until the earliest due act of any item on the belt. It acts by item
and by belt position: it never fires first-in-first-out, and never late. What comes due while the
machine was busy elsewhere is checked against the belt: too far past its place, it is a miss, an
incident, and the item goes on to the default lane. What was pushed has ended, or is confirmed where a
photo-eye watches the lane's exit (edge/confirm.py).
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import repeat

from edge.ailments import Ailments, said_once
from edge.belt import Belt
from edge.blind import BlindStretches
from edge.clock import Clock, VirtualClock
from edge.config import LaneSettings, LineConfig
from edge.confirm import SHIFT, Confirm
from edge.errors import pass_interrupt
from edge.eyes import Edge
from edge.geometry import Geometry
from edge.hangs import Hangs
from edge.herald import Herald
from edge.ledger import Ledger, Life
from edge.outputs import Output
from edge.permit import Permit
from edge.priority import ask_for_real_time
from edge.records import Actuation, Item, Outcome
from edge.stats import Distribution
from edge.turns import Turns
from edge.vitals import ROUND_S
from edge.worker import Worker

_log = logging.getLogger("sortline.actuate")

# An undecided item is decided this long before the last moment at which its command could leave, so
# that the decision itself and the hop to the output's thread do not make it late.
DECIDE_AHEAD_S = 0.008
# A push is handed to its output's thread so long ahead, which then sleeps until its moment: after the moment
# only one thread has to wake, instead of two after each other.
HAND_OVER_AHEAD_S = 0.006
# An act this little before its moment is on time.
EARLY_S = 0.0002
# How many pushes may wait at one output. More means that it has stopped answering.
PUSHES_WAITING = 64


class Hand:
    """Owns the acting thread and one worker an output.

    The ledger is only touched with its lock held. resolve(life) is the mind's way to decide an item
    now; on_fired is told of every push that an output really made, with the moment at which its
    command left. watching_since(lane) is since when the photo-eye behind a lane's diverter has watched.
    """

    def __init__(
        self,
        config: LineConfig,
        outputs: Mapping[str, Output],
        ledger: Ledger,
        belt: Belt,
        clock: Clock,
        herald: Herald,
        *,
        resolve: Callable[[Life], None],
        on_fired: Callable[[Actuation, float], None],
        watching_since: Callable[[str], float] = lambda lane: math.inf,
        permit: Permit | None = None,
        comes_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._outputs, self._ledger, self._herald = config, outputs, ledger, herald
        self._belt, self._clock = belt, clock
        self._resolve, self._on_fired, self._comes_round = resolve, on_fired, comes_round
        self._lock = ledger.lock
        self._lanes = {lane.name: lane for lane in config.lanes}
        self.geometry = Geometry.of(config, outputs, half_view_mm=0.0)
        self.confirm = Confirm(config, ledger, belt, clock, herald.tell, watching_since)
        self.permit = permit or Permit()
        self.lateness = Distribution()
        self.blind = BlindStretches()
        self._lateness_s: Iterator[float] = repeat(0.0)
        self._late_s = 0.0
        self._last_push: dict[str, float] = {}
        self._failing: dict[str, str] = {}
        self._hangs = Hangs(outputs, clock)
        # What failed because an output was away is over with that: its next item may be hours off.
        self._ailments = Ailments(outputs, herald.tell, lambda name: self._failing.pop(name, None))
        self._planned = math.inf
        self._stopping = False
        self._threaded = not isinstance(clock, VirtualClock)
        self._turns = Turns(outputs, clock)
        self._workers = {name: self._worker(name) for name in outputs}
        self._thread = threading.Thread(target=self._run, name="sortline-hand", daemon=True)

    def start(self) -> None:
        if self._threaded:
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Cancels what is not due yet, lets pushes under way finish, joins."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        for name, worker in self._workers.items():
            left = worker.stop(timeout_s / 2)
            with self._lock:
                hangs = (item_id := self._hangs.item(name)) is not None
                if item_id is not None and (life := self._ledger.get(item_id)):
                    self._stuck(life, name)
                cause = self._hangs.sentence(name) if hangs else "the line was stopped before the push was made"
            for actuation in left:
                self._unfired(actuation, "output_stuck" if hangs else "output_stopped", cause)
        with self._lock:
            for life in self._ledger:
                if life.todo == "confirm":
                    self.end(life, "fired")  # nobody looks any more whether it comes out

    def see_picture(self, height: int, width: int) -> None:
        """Tells how far the camera sees, in pixels: an item does not pass while it is still in the picture."""
        belt = self._config.belt
        along = width if belt.direction in {"right", "left"} else height
        with self._lock:
            self.geometry = Geometry.of(self._config, self._outputs, along / 2 / belt.pixels_per_mm)

    def trouble(self) -> str | None:
        """Which output failed at its last call, is stuck in it or ails, and why none is used; None when all is well."""
        lasting = (*self._hangs.sentences(), *self._ailments.sentences(), self.confirm.held)
        return said_once((*dict(self._failing).values(), *lasting, self._herald.trouble())) or None

    def margin_s(self, life: Life) -> float:
        """How long before its point of no return an undecided item is."""
        return life.due_at - self._clock.now()

    def plan(self, life: Life) -> None:
        """Sets when a life's next act is due; called, with the lock held, when anything of it changed."""
        now, mm = self._clock.now(), life.item.item_mm
        if life.todo == "decide":
            life.due_at = self._belt.when(mm + self.geometry.nearest_mm, now) - self.geometry.lead_s - DECIDE_AHEAD_S
        elif life.todo == "fire":
            lane = self._lane_of(life)
            ahead_s = HAND_OVER_AHEAD_S if self._threaded else 0.0
            life.due_at = self._belt.when(mm + (lane.distance_mm or 0.0), now) - self.lead_s(lane) - ahead_s
        elif life.todo == "pass":
            life.due_at = self._belt.when(mm + self.geometry.end_mm, now)
        elif life.todo == "confirm":
            life.due_at = self.confirm.due_at(life)
        elif self._threaded:
            life.due_at = self._awaited_until(life, now)
        else:
            life.due_at = math.inf
        if life.due_at < self._planned:
            self._lock.notify_all()

    def _awaited_until(self, life: Life, now: float) -> float:
        """When a push that was handed over is given up: its place has gone by, or its output does not come back."""
        lane = self._lane_of(life)
        if lane.output and self._hangs.item(lane.output) == life.item.id:
            return self._hangs.given_up_at(lane.output)
        gone_mm = life.item.item_mm + (lane.distance_mm or 0.0) + self.geometry.tolerance_mm
        return self._belt.when(gone_mm, now) - self.lead_s(lane)

    def replan(self) -> None:
        """The belt changed its ways: every due moment is predicted anew."""
        with self._lock:
            for life in self._ledger:
                self.plan(life)
            self._lock.notify_all()

    def follow(self, life: Life) -> None:
        """After a decision: the item is fired at its lane's diverter, or passes. The lock is held."""
        lane = self._lane_of(life)
        life.todo = "fire" if lane.output and lane.distance_mm else "pass"
        self.plan(life)

    def lead_s(self, lane: LaneSettings) -> float:
        return self._outputs[lane.output].settings.lead_ms / 1e3 if lane.output else 0.0

    def neighbour(self, item: Item, lane: str) -> Item | None:
        """An item not bound for the lane that its diverter would take along with this one."""
        before_mm, after_mm = self._sweep_mm(lane)
        for other in self._ledger:
            pushed_off = other.todo == "confirm"
            if other.item.id == item.id or pushed_off or (other.decision and other.decision.lane == lane):
                continue
            behind_mm = other.item.item_mm - item.item_mm
            half_mm = other.item.length_mm / 2
            if -before_mm - half_mm < behind_mm < after_mm + half_mm:
                return other.item
        return None

    def unseen(self, item: Item, lane: str) -> bool:
        """Whether a lane's diverter would take along what lies on belt that nobody has seen."""
        before_mm, after_mm = self._sweep_mm(lane)
        return self.blind.meet(item.item_mm - before_mm, item.item_mm + after_mm)

    def _follower_unseen(self, item: Item, lane: str) -> bool:
        """Whether what follows an item that closely could not be known yet when the pictures stopped."""
        return self.blind.upstream(item.item_mm + self._sweep_mm(lane)[1] + item.length_mm)

    def _sweep_mm(self, lane: str) -> tuple[float, float]:
        """How far the blade reaches ahead of an item's centre, and behind it with what comes while it is out."""
        settings = self._lanes[lane]
        pulse_s = self._outputs[settings.output].settings.pulse_ms / 1e3 if settings.output else 0.0
        before_mm = self.geometry.reach_mm / 2
        after_mm = before_mm + max(self._belt.speed_mm_s(self._clock.now()), 0.0) * pulse_s
        return before_mm, after_mm

    def act_late(self, seconds: Iterator[float]) -> None:
        """On a virtual clock: each further act comes so long after its moment, as it would on a real machine."""
        self._lateness_s, self._late_s = seconds, next(seconds)

    def run_until(self, moment: float) -> None:
        """Does everything that is due up to a moment of the virtual clock, each at its own moment."""
        assert isinstance(self._clock, VirtualClock)
        while True:
            with self._lock:
                life = min(self._ledger, key=lambda one: one.due_at, default=None)
                if life is None or life.due_at + self._late_s > moment:
                    break
                self._clock.advance(life.due_at + self._late_s)
                actuation = None if self._not_yet(life) else self._act(life)
                self._late_s = next(self._lateness_s)
            if actuation:
                self._hand_over(actuation)
        self._clock.advance(moment)

    def _run(self) -> None:
        if refused := ask_for_real_time():
            _log.warning(refused)
        self._turns.in_hand = not refused
        while True:
            self._comes_round()
            with self._lock:
                life = min(self._ledger, key=lambda one: one.due_at, default=None)
                due_at = life.due_at if life else math.inf
                if self._stopping:
                    return
                if life is None or due_at > self._clock.now():
                    self._planned = due_at
                    self._clock.wait(self._lock, min(due_at, self._clock.now() + ROUND_S))
                    self._planned = -math.inf
                    continue
                actuation = None if self._not_yet(life) else self._act(life)
            if actuation:
                self._hand_over(actuation)

    def _not_yet(self, life: Life) -> bool:
        """Whether the belt has slowed since the act was planned: then it is planned anew, with the lock held."""
        self.plan(life)
        return life.due_at > self._clock.now() + EARLY_S

    def _act(self, life: Life) -> Actuation | None:
        """One item's due act, with the lock held; returns the push that has to be made, if any."""
        if life.todo == "decide":
            self._resolve(life)
            return None
        if life.todo == "pass":
            self.end(life, "passed")
            return None
        if life.todo == "confirm":
            self.end(life, self.confirm.overdue(life))
            return None
        decision, item = life.decision, life.item
        assert decision is not None
        lane = self._lanes[decision.lane]
        if life.todo == "await":
            self._waited_in_vain(life, lane.output or "")
            return None
        life.todo, life.due_at, life.pushed_at = "await", math.inf, self._clock.now()
        actuation = Actuation(
            item_id=item.id,
            lane=lane.name,
            output=lane.output or "",
            fire_mm=item.item_mm + (lane.distance_mm or 0.0),
            captured_at=decision.captured_at,
            position_mm=decision.position_mm,
            decision=decision,
            pulse_s=self._outputs[lane.output or ""].settings.pulse_ms / 1e3,
        )
        if not self.permit.given or self.confirm.held:
            self.end(life, "passed")
        elif self._hangs.is_stuck(actuation.output):
            self._missed(life, "output_stuck", self._hangs.sentence(actuation.output))
        elif life.doubtful:
            self._missed(life, "item_ambiguous", f"nobody can tell any more which of several items is item {item.id}")
        elif life.adrift:
            cause = f"the encoder's counter was set anew while item {item.id} was on the belt"
            self._missed(life, "item_unplaced", cause)
        elif not item.placed:
            self._missed(life, "item_unplaced", f"nobody knew where the belt was whenever item {item.id} was seen")
        elif other := self.neighbour(item, lane.name):
            self._missed(life, "diverter_blocked", f"item {other.id} is in the reach of lane {lane.name}'s diverter")
        elif self.unseen(item, lane.name) or self._follower_unseen(item, lane.name):
            self._missed(
                life, "diverter_blocked", f"nobody has seen what lies in the reach of lane {lane.name}'s diverter"
            )
        else:
            self.plan(life)
            return actuation
        return None

    def _waited_in_vain(self, life: Life, name: str) -> None:
        """A push that was handed over has not been made in time; the lock is held."""
        at = self._hangs.item(name)
        if at == life.item.id:
            self._stuck(life, name)
        elif self._hangs.is_stuck(name):
            self._missed(life, "output_stuck", self._hangs.sentence(name))
        else:
            busy = "was not ready" if at is None else f"was still at item {at}'s push"
            self._missed(life, "missed_deadline", f"outputs.{name} {busy} when item {life.item.id}'s place went by")

    def _stuck(self, life: Life, name: str) -> None:
        """An output does not come back from an item's push: what became of the item nobody knows."""
        self._hangs.give_up(name)
        action = "the item is not counted as sorted; this output's items go on to the default lane until it does"
        self._herald.tell("output_stuck", "output", self._hangs.sentence(name), action, life.item.id)
        self.end(life, "confirmed" if life.exit_seen else "missed")

    def _hand_over(self, actuation: Actuation) -> None:
        if not self._workers[actuation.output].put(actuation):
            self._unfired(actuation, "output_overrun", f"{PUSHES_WAITING} pushes wait at outputs.{actuation.output}")

    def _push(self, actuation: Actuation) -> None:
        """In the output's own thread: one push from its taking up to its end, unless its place has gone by."""
        name = actuation.output
        with self._lock:
            if self._ledger.get(actuation.item_id) is None:
                return  # given up while it waited here: it is never made late
            self._hangs.begin(name, actuation.item_id)
        try:
            self._push_in_time(actuation)
        finally:
            with self._lock:
                back = self._hangs.come_back(name)
            if back:
                self._herald.tell("output_stuck", "output", back, "pushes are made again", recovered=True)

    def _push_in_time(self, actuation: Actuation) -> None:
        """The last moments, the last look at the belt, then the push itself."""
        output = self._outputs[actuation.output]
        lead_s = output.settings.lead_ms / 1e3
        try:
            if not self._await(actuation, lead_s):
                return
        finally:
            self._turns.over(actuation.output)
        if not self.permit.given or self.confirm.held:  # taken back, or a shift shown, while the push waited
            with self._lock:
                if life := self._ledger.get(actuation.item_id):
                    self.end(life, "passed")
            return
        now = self._clock.now()
        if refused := self._refused(actuation, output, now + lead_s, now):
            self._unfired(actuation, *refused)
            return
        self._last_push[output.name] = now
        gone_at = self._belt.when(actuation.fire_mm + self.geometry.tolerance_mm, now) - lead_s
        within_s = max(gone_at - now, 0.0) if self._threaded else math.inf  # a virtual clock stands meanwhile
        self.lateness.add(max(now - (self._belt.when(actuation.fire_mm, now) - lead_s), 0.0))
        try:
            output.fire(replace(actuation, within_s=within_s))
        except BaseException as error:  # an output may be the user's own and raise anything
            pass_interrupt(error)
            self._failing[output.name] = f"outputs.{output.name}: {error}"
            self._unfired(actuation, "output_failed", self._failing[output.name])
            return
        self._failing.pop(output.name, None)
        with self._lock:
            if self._hangs.is_stuck(output.name):
                return  # the item has ended without it
        self._on_fired(actuation, now)
        self._herald.fired(actuation, now)
        with self._lock:
            if life := self._ledger.get(actuation.item_id):
                self._pushed(life)

    def _refused(self, actuation: Actuation, output: Output, arrives: float, now: float) -> tuple[str, str] | None:
        """The incident and its cause when a push must not be made that would reach its item at `arrives`."""
        name = f"outputs.{output.name}"
        if not self._belt.known():
            return "belt_unknown", f"{name}: nobody knows where the belt is"
        if (error_mm := self._belt.error_mm(actuation.captured_at, arrives)) > self.geometry.reach_mm / 2:
            return "belt_unknown", f"{name}: the pictures tell only to within {error_mm:.0f} mm where the belt is"
        if (late_mm := self._belt.position_mm(arrives) - actuation.fire_mm) > self.geometry.tolerance_mm:
            return "missed_deadline", f"{name}: the belt was {late_mm:.1f} mm past item {actuation.item_id}'s place"
        if now - self._last_push.get(output.name, -math.inf) < output.settings.repeat_ms / 1e3:
            return "diverter_busy", f"{name}: pushed less than {output.settings.repeat_ms:g} ms ago"
        return None

    def _await(self, actuation: Actuation, lead_s: float) -> bool:
        """Sleeps until a push is due; False when the belt has slowed so much that the hand must take it back."""
        while self._threaded:
            now = self._clock.now()
            rest_s = self._belt.when(actuation.fire_mm, now) - lead_s - now
            if rest_s <= EARLY_S or not self._belt.known():
                break
            if rest_s > 2 * HAND_OVER_AHEAD_S:
                with self._lock:
                    if life := self._ledger.get(actuation.item_id):
                        life.todo, life.pushed_at = "fire", math.inf
                        self.plan(life)
                return False
            self._turns.wait(actuation.output, now + rest_s)
        return True

    def _pushed(self, life: Life) -> None:
        """A push was made: it is the item's end, unless a photo-eye has yet to see it come out."""
        if not self.confirm.watches(life):
            self.end(life, "fired")
        elif life.exit_seen:
            self.end(life, "confirmed")
        else:
            life.todo = "confirm"
            self.plan(life)

    def exit_seen(self, lane: str, edge: Edge) -> None:
        """The photo-eye behind a lane's diverter has seen something come out."""
        with self._lock:
            if self._stopping:
                return  # what was pushed may have ended already, and would seem to come out unasked
            if life := self.confirm.saw(lane, edge):
                life.exit_seen = True  # the output may still be busy with the push: then it ends after that
                if life.todo == "confirm":
                    self.end(life, "confirmed")

    def clear(self, incident: str) -> None:
        """A person has seen to an incident; the one that keeps the diverters still is over then."""
        with self._lock:
            if incident == SHIFT:
                self.confirm.clear()

    def _unfired(self, actuation: Actuation, name: str, cause: str) -> None:
        with self._lock:
            if life := self._ledger.get(actuation.item_id):
                self._missed(life, name, cause)

    def _missed(self, life: Life, name: str, cause: str) -> None:
        action = "not pushed: the item goes on to the default lane"
        self._herald.tell(name, "output", cause, action, life.item.id)
        self.end(life, "confirmed" if life.exit_seen else "missed")

    def end(self, life: Life, outcome: Outcome) -> None:
        """Ends an item, with the lock held, and tells of it."""
        self._ledger.end(life, outcome)
        self._herald.ended(life, outcome)
        self.confirm.ended(life.item.id)

    def _lane_of(self, life: Life) -> LaneSettings:
        assert life.decision is not None
        return self._lanes[life.decision.lane]

    def _worker(self, name: str) -> Worker[Actuation]:
        def failed(error: BaseException) -> None:
            cause = f"outputs.{name}: {type(error).__name__}: {error}"
            self._failing[name] = cause
            self._herald.tell("output_failed", "output", cause, "sorting goes on")

        return Worker(
            f"sortline-output-{name}", self._push, PUSHES_WAITING, failed,
            # Before all but the hand, which has said already whether real-time priority is granted.
            threaded=self._threaded, prepare=lambda: ask_for_real_time(49),
        )  # fmt: skip
