"""The line: camera -> items -> views -> vote -> one decision an item -> its diverter, at its millimetre.

Read it from `see` downwards: a frame comes in, items are found and followed, good views are
classified, votes become decisions, and the Hand (edge/actuate.py) acts on them at their moment. Three
threads share the work so that a slow classifier never blinds the eye and neither delays the hand:

    eye     newest frame -> found -> tracked -> views offered to the queue
    mind    queue -> model -> vote -> decision
    hand    point of no return, diverter, end of the belt

On a virtual clock (`play`) the same code runs in one thread, as fast as the machine can.
"""

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from edge import __version__
from edge.actuate import Hand, no_view_reason
from edge.belt import ConstantBelt
from edge.camera import Source, open_source, redacted
from edge.camera.grabber import FrameGrabber
from edge.clock import Clock, MonotonicClock, VirtualClock
from edge.config import LineConfig, output_class
from edge.decide import Decider, ViewQueue, Waiting, now_s, weight_of
from edge.eye import Eye
from edge.items import Tracked
from edge.journal import Journal
from edge.ledger import Ledger, Life
from edge.model import Classifier
from edge.outputs import Output
from edge.records import Actuation, Decision, Frame, Incident, Reason, Scope
from edge.stats import Distribution
from edge.watch import Watch
from edge.web.side import WebSide
from edge.worker import Worker

_log = logging.getLogger("sortline.line")

STAGES = ("waiting", "finding", "queueing", "classifying", "output", "margin")
DECISIONS_WAITING = 1000
MODEL_STUCK_S = 5.0


class Line:
    """One belt, one camera, one model. Ready when its constructor returns; `start` sets it going.

        with Line(LineConfig.load("line.toml"), on_decision=print) as line:
            line.wait()

    The constructor raises a SortlineError when the model, an output, the web port or a recorded
    source cannot be used; a live camera that is away is waited for. on_decision is called with every
    Decision, in a thread of its own. With a VirtualClock, use `play` in place of `start`.

    Sets OpenCV to one thread for the whole process: its pool would take the cores that the line needs.
    """

    def __init__(
        self,
        config: LineConfig,
        on_decision: Callable[[Decision], object] | None = None,
        *,
        clock: Clock | None = None,
        decisions_path: Path | None = None,
        max_frames: int | None = None,
    ) -> None:
        cv2.setNumThreads(1)
        self.config = config
        self.clock = clock or MonotonicClock()
        self._virtual = isinstance(self.clock, VirtualClock)
        self._max_frames = max_frames
        self.started_at = self.clock.now()
        self.belt = ConstantBelt(config.belt.speed_mm_s, self.started_at)
        self.incidents: Counter[str] = Counter()
        self.recent_incidents: deque[Incident] = deque(maxlen=100)
        self.ledger = Ledger()
        self.stages = {name: Distribution() for name in STAGES}
        self.latency = Distribution()
        self.frames = self.late_results = 0
        self.finished = threading.Event()
        self._stopping = threading.Event()
        self._stop_once = threading.Lock()
        self._stopped = False
        self.lock = threading.Condition()
        self._heartbeat = self._mind_since = 0.0
        self._world: Any = None

        self.classifier = Classifier(config.model.path, config.model.provider, config.model.threads)
        config.check_classes(self.classifier.card.classes)
        self._decider = Decider(config, self.classifier.card)
        self.eye = Eye(config.items, config.belt, self.classifier.card.crop_margin)
        self._queue = ViewQueue(self.clock)
        self.outputs: dict[str, Output] = {}
        self.journal: Journal | None = None
        self._web: WebSide | None = None
        try:
            for name, settings in config.outputs.items():
                self.outputs[name] = output_class(settings.type)(name, settings)
            card = self.classifier.card
            self.journal = Journal(
                config.journal.path,
                decisions_path,
                (f"{card.name} {card.version}", self.classifier.sha256),
                self._journal_trouble,
                threaded=not self._virtual,
            )
            if config.web.enabled and not self._virtual:
                self._web = WebSide(config, self.facts(), self._on_command, self.incident)
        except BaseException:
            self._let_go()
            raise
        self._callback: Worker[Decision] | None = on_decision and Worker(
            "sortline-on-decision", lambda d: _ignore(on_decision(d)), DECISIONS_WAITING,
            lambda e: self.tell("callback_failed", "output", f"on_decision raised {type(e).__name__}: {e}", "went on"),
            threaded=not self._virtual,
        )  # fmt: skip
        self._deciders_outputs = {
            name: Worker(
                f"sortline-decided-{name}", output.decided, DECISIONS_WAITING,
                lambda e, n=name: self.tell("output_failed", "output", f"outputs.{n}: {e}", "went on"),
                threaded=not self._virtual,
            )
            for name, output in self.outputs.items() if output.settings.on == "decision"
        }  # fmt: skip
        self.hand = Hand(
            config, self.outputs, self.ledger, self.lock, self.belt, self.clock,
            resolve=self._resolve, on_fired=self._fired, on_end=self._ended, on_incident=self.incident,
        )  # fmt: skip
        self.grabber = FrameGrabber(config.camera, self.clock, self.belt.position_mm, self.incident)
        self.watch = Watch(self, self._web)
        self._threads = [
            threading.Thread(target=self._run_eye, name="sortline-eye", daemon=True),
            threading.Thread(target=self._run_mind, name="sortline-mind", daemon=True),
        ]

    # -- life of the line ---------------------------------------------------------------------------

    def __enter__(self) -> "Line":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Sets every thread going. The first frame is taken as soon as the camera gives one."""
        if self._virtual:
            raise RuntimeError("a line on a virtual clock is driven with play()")
        try:
            self.grabber.start()
            self.hand.start()
            for thread in self._threads:
                thread.start()
            self.watch.start()
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until a recorded source and every item from it have come to their end; False on timeout."""
        return self.finished.wait(timeout_s)

    def stop(self) -> None:
        """Ends every thread in under two seconds, from any state; what is written is flushed. Idempotent."""
        with self._stop_once:
            if self._stopped:
                return
            self._stopping.set()
            self._queue.close()
            self.grabber.stop()
            for thread in self._threads:
                if thread.is_alive():
                    thread.join(1.0)
            self.hand.stop()
            for worker in (self._callback, *self._deciders_outputs.values()):
                if worker is not None and (undone := worker.stop(0.5)):
                    self.tell("decisions_unheard", "output", f"{worker.name}: {len(undone)} decisions", "stopped")
            if left := len(self.ledger):
                self.tell("stopped_with_items", "line", f"{left} items were on the belt", "left to the default lane")
            self.watch.stop()
            self._let_go()
            self._stopped = True
            self.finished.set()

    def play(self, stop: threading.Event | None = None, seconds: float | None = None) -> None:
        """Runs a recorded or simulated source on the virtual clock, dropping nothing, as fast as it can.

        Ends with the source, after `seconds` of the source's own time, or when stop is set.
        """
        assert isinstance(self.clock, VirtualClock)
        source = open_source(self.config.camera, self.clock)
        self._attach(source)
        seq = 0
        try:
            while (shot := source.read()) is not None:
                at = self.started_at + shot.at
                self.hand.run_until(at)
                self.see(Frame(seq, at, self.belt.position_mm(at), shot.pixels))
                seq += 1
                while batch := self._queue.take(8, 0.0):
                    self._classify(batch)
                if (self._max_frames and seq >= self._max_frames) or (stop and stop.is_set()):
                    break
                if seconds and shot.at >= seconds:
                    break
        finally:
            source.close()
        self._lose_sight()
        while (ends := self._last_end()) is not None:
            self.hand.run_until(ends)
        self.finished.set()

    # -- the eye ------------------------------------------------------------------------------------

    def see(self, frame: Frame) -> None:
        """Finds and follows the items of one frame, and offers their good views to the mind."""
        taken_up = now_s()
        age_s = max(self.clock.now() - frame.captured_at, 0.0)
        if self.frames == 0:
            self._first_picture(frame)
        tracked, views = self.eye.look(frame)
        spent_s = now_s() - taken_up
        self.stages["waiting"].add(age_s)
        self.stages["finding"].add(spent_s)
        with self.lock:
            self.frames += 1
            self._take_note(tracked)
            for view in views:
                life = self.ledger.get(view.item_id)
                if life and life.decision is None:
                    life.offered += 1
                    life.spend("waiting", age_s)
                    life.spend("finding", spent_s)
                    waiting = Waiting(view, taken_up, age_s, now_s())
                    self._queue.offer(waiting, life.item.item_mm, life.vote.views)
            for item_id in tracked.left:
                if life := self.ledger.get(item_id):
                    self._out_of_sight(life)
        self.watch.frame(frame, tracked)

    def _take_note(self, tracked: Tracked) -> None:
        born = set(tracked.born)
        for item in tracked.items:
            life = self.ledger.bear(item) if item.id in born else self.ledger.get(item.id)
            if life is None:
                continue  # it has ended already: seen for longer than its place on the belt says
            life.item = item
            self.hand.plan(life)
        for item_id in tracked.vanished:
            if life := self.ledger.get(item_id):
                self.tell("item_vanished", "item", f"item {item_id} left the picture inside it", "lost", item_id)
                self._queue.forget(item_id)
                self.ledger.end(life, "lost")
                self._ended(life, "lost")

    def _out_of_sight(self, life: Life) -> None:
        """No further view will come: decide as soon as no view of it is waiting or being classified."""
        life.in_sight = False
        if life.decision is None and not life.classifying and not self._queue.holds(life.item.id):
            self._resolve(life)

    def _first_picture(self, frame: Frame) -> None:
        height, width = frame.pixels.shape[:2]
        along = width if self.config.belt.direction in {"right", "left"} else height
        self.hand.see_picture(along / 2 / self.config.belt.pixels_per_mm)

    # -- the mind -----------------------------------------------------------------------------------

    def _classify(self, batch: list[Waiting]) -> None:
        started = now_s()
        self._mind_since = self.clock.now()
        with self.lock:
            for waiting in batch:
                if life := self.ledger.get(waiting.view.item_id):
                    life.classifying += 1
        try:
            predictions = self.classifier.classify([waiting.view.crop for waiting in batch])
        finally:
            self._mind_since = 0.0
            with self.lock:
                for waiting in batch:
                    if life := self.ledger.get(waiting.view.item_id):
                        life.classifying -= 1
        done = now_s()
        for waiting, prediction in zip(batch, predictions, strict=True):
            view = waiting.view
            self.stages["queueing"].add(started - waiting.offered)
            self.stages["classifying"].add((done - started) / len(batch))
            with self.lock:
                life = self.ledger.get(view.item_id)
                if life is None or life.decision is not None:
                    self.late_results += 1
                    continue
                life.vote.add(prediction, weight_of(view))
                life.crop = view.crop
                life.spend("queueing", started - waiting.offered)
                life.spend("classifying", done - started)
                self.latency.add(waiting.age_s + now_s() - waiting.arrived)
                if view.last or (not life.in_sight and not self._queue.holds(view.item_id)):
                    self._resolve(life, view_box=waiting)

    def _resolve(self, life: Life, view_box: Waiting | None = None) -> None:
        """An item's one decision, with the lock held: from its vote, or for want of one."""
        item, now = life.item, self.clock.now()
        waits = self._queue.holds(item.id)
        forced: Reason | None = None
        if life.vote.views == 0:
            forced = no_view_reason(life, waits)
        elif item.touching:
            forced = "overlap"
        verdict = self._decider.judge(life.vote, forced)
        lane = verdict.lane
        if not forced and lane.output and self.hand.neighbour(item, lane.name):
            verdict = self._decider.judge(life.vote, "overlap")
            lane = verdict.lane
        self._queue.forget(item.id)
        seen = view_box.view if view_box else item
        fire_at = None
        if lane.output and lane.distance_mm:
            fire_at = self.belt.when(item.item_mm + lane.distance_mm, now) - self.hand.lead_s(lane)
        decision = Decision(
            item.id, lane.name, verdict.label, verdict.confidence, verdict.probabilities, verdict.reason,
            seen.frame_seq, seen.captured_at, now, fire_at, seen.position_mm, seen.box,
        )  # fmt: skip
        self.stages["margin"].add(max(life.due_at - now, 0.0))
        self.ledger.decide(life, decision)
        self.hand.follow(life)
        self._announce(life, decision)

    def _announce(self, life: Life, decision: Decision) -> None:
        if decision.reason in {"late", "overload"}:
            cause = f"item {decision.item_id} reached its point of no return without a result"
            self.tell(f"decision_{decision.reason}", "item", cause, "sent to the default lane", decision.item_id)
        if self.journal:
            self.journal.decided(decision)
        if self._callback and not self._callback.put(decision):
            self.tell("decisions_unheard", "output", "on_decision does not keep up", "one decision was not told")
        output = self.config_lane_output(decision.lane)
        if (worker := self._deciders_outputs.get(output or "")) and not worker.put(decision):
            self.tell("decisions_unheard", "output", f"outputs.{output} does not keep up", "one was not told")
        self.watch.decided(life, decision)

    def config_lane_output(self, name: str) -> str | None:
        """The name of a lane's output."""
        return next(lane.output for lane in self.config.lanes if lane.name == name)

    # -- what the hand reports ----------------------------------------------------------------------

    def _fired(self, actuation: Actuation, fired_at: float) -> None:
        output = self.outputs[actuation.output]
        self.stages["output"].add(max(self.clock.now() - fired_at, 0.0))
        if self._world is not None:
            lead_s = output.settings.lead_ms / 1e3
            meant = self._world.identify(actuation.captured_at, actuation.decision.box)
            self._world.push(actuation.lane, fired_at + lead_s, actuation.pulse_s, meant)
        if self.journal:
            self.journal.fired(actuation, fired_at)

    def _ended(self, life: Life, outcome: str) -> None:
        if self.journal:
            self.journal.ended(life.item.id, outcome, self.clock.now())  # type: ignore[arg-type]

    # -- incidents ----------------------------------------------------------------------------------

    def incident(self, incident: Incident) -> None:
        """Counts, logs, journals and shows one unusual event."""
        self.incidents[incident.name] += 1
        self.recent_incidents.append(incident)
        seen = self.incidents[incident.name]
        if seen <= 3 or seen % 100 == 0:
            _log.warning("%s: %s; %s", incident.name, incident.cause, incident.action)
        if self.journal:
            self.journal.incident(incident)
        if self._web:
            self._web.incident(incident)

    def tell(
        self, name: str, scope: Scope, cause: str, action: str, item_id: int | None = None, *, recovered: bool = False
    ) -> None:
        """Raises an incident of the present moment."""
        now = self.clock.now()
        self.incident(Incident(name, scope, now, self.belt.position_mm(now), cause, action, item_id, recovered))

    def _journal_trouble(self, recovered: bool, cause: str) -> None:
        action = "writing goes on" if recovered else "sorting goes on, writing is tried again"
        self.tell("journal_failed", "journal", cause, action, recovered=recovered)

    # -- threads ------------------------------------------------------------------------------------

    def _run_eye(self) -> None:
        while not self._stopping.is_set():
            frame = self.grabber.take(0.25)
            self._heartbeat = self.clock.now()
            if frame is not None:
                self._attach(self.grabber.source)
                try:
                    self.see(frame)
                except Exception as error:  # a picture that breaks the eye must not end the line
                    _log.debug("the eye failed", exc_info=True)
                    self.tell("eye_failed", "camera", f"frame {frame.seq}: {type(error).__name__}: {error}", "skipped")
            if self.grabber.ended or (self._max_frames and self.frames >= self._max_frames):
                break
        if not self._stopping.is_set():
            self._drain()

    def _run_mind(self) -> None:
        while not self._stopping.is_set():
            if batch := self._queue.take(1, 0.25):
                try:
                    self._classify(batch)
                except Exception as error:  # the items stay undecided and pass to the default lane
                    _log.debug("the mind failed", exc_info=True)
                    self.tell("model_failed", "model", f"{type(error).__name__}: {error}", "no vote from this view")

    def _drain(self) -> None:
        """A recorded source has ended: its items go on along the belt to their ends."""
        while len(self._queue) and not self._stopping.wait(0.01):
            pass
        self._lose_sight()
        while (ends := self._last_end()) is not None:
            if self._stopping.wait(min(max(ends - self.clock.now(), 0.0) + 0.005, 0.25)):
                return
        self.finished.set()

    def _lose_sight(self) -> None:
        with self.lock:
            for life in self.ledger:
                self._out_of_sight(life)

    def _last_end(self) -> float | None:
        """The moment at which the last item's next act is due; None when no item is on the belt."""
        with self.lock:
            return max((life.due_at for life in self.ledger), default=None)

    def _attach(self, source: Source | None) -> None:
        """A simulated belt is told where the diverters stand, and of every push."""
        world = getattr(source, "world", None)
        if world is not None and self._world is None:
            reach, lanes = self.config.decide.reach_mm, self.config.lanes
            # Only a simulated belt needs the simulator, which a real line need not load.
            from edge.simulator.world import Lane

            world.lay_out([Lane(one.name, one.classes, one.distance_mm, one.default, reach) for one in lanes])
            self._world = world

    def _on_command(self, command: dict[str, Any]) -> None:
        """What the page asks for: at present, to pause (everything to the default lane) and to go on."""
        if command.get("command") == "pause":
            self.hand.paused = bool(command.get("paused"))

    def _let_go(self) -> None:
        for output in self.outputs.values():
            output.close()
        if self._web:
            self._web.stop()
        if self.journal:
            self.journal.stop()

    # -- what others read ---------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What does not change while the line runs, for the page."""
        card, classifier, config = self.classifier.card, self.classifier, self.config
        return {
            "version": __version__,
            "pid": os.getpid(),
            "model": {
                "name": card.name, "version": card.version, "sha256": classifier.sha256,
                "provider": classifier.provider, "threads": classifier.threads, "classes": list(card.classes),
            },
            "lanes": [lane.model_dump() for lane in config.lanes],
            "belt": config.belt.model_dump(),
            "camera": {"source": redacted(config.camera.source)},
        }  # fmt: skip

    @property
    def url(self) -> str | None:
        """Where the page is; None without a web side."""
        return self._web.url if self._web else None

    @property
    def world(self) -> Any:
        """The simulated belt's truth, when the source is one."""
        return self._world

    def health(self) -> dict[str, dict[str, Any]]:
        """Which parts are well: camera, model, outputs; each {"ok": bool, "text": sentence}."""
        camera = self.grabber.stats()
        stuck = self._mind_since and self.clock.now() - self._mind_since > MODEL_STUCK_S
        dead = [t.name for t in self._threads if not t.is_alive()] if not self.finished.is_set() else []
        return {
            "camera": {"ok": camera.state in {"running", "ended"}, "text": camera.text},
            "model": {
                "ok": not stuck and not dead,
                "text": "stuck on one picture" if stuck else f"not running: {', '.join(dead)}" if dead else "ready",
            },
            "outputs": {"ok": True, "text": f"{len(self.outputs)} ready"},
        }


def _ignore(_: object) -> None:
    """A callback's return value means nothing."""
