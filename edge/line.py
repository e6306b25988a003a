"""The line: camera -> items -> views -> vote -> one decision an item -> its diverter, at its millimetre.

Read it from `see` downwards: a frame comes in, items are found and followed, and their good views go to
the mind. Three threads share the work, so that a slow classifier never blinds the eye and neither
delays the hand:

    eye     newest frame -> found -> tracked -> views offered         (here)
    mind    view -> model -> vote -> decision                         (edge/mind.py)
    hand    point of no return, diverter, end of the belt             (edge/actuate.py)

Photo-eyes may announce items (edge/trigger.py) and confirm pushes (edge/confirm.py). The herald tells
whoever listens, the watch looks after the rest. On a virtual clock (`play`) the same code runs in one
thread, as fast as the machine can.
"""

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2

from edge.actuate import Hand
from edge.belt import Belt, ConstantBelt, PictureBelt
from edge.bounded import close_all
from edge.camera import Source, open_source
from edge.camera.grabber import FrameGrabber
from edge.clock import Clock, MonotonicClock, VirtualClock
from edge.config import LineConfig
from edge.decide import Waiting
from edge.encoders import Encoder
from edge.encoders.belt import FASTEST, EncoderBelt, Trouble
from edge.eye import Eye
from edge.eyes import TRIGGER, Edge
from edge.eyes.watching import PhotoEyes
from edge.facts import facts_of
from edge.gauge import PictureGauge
from edge.herald import Herald
from edge.items import Tracked
from edge.journal import check_pictures
from edge.ledger import Ledger, Life
from edge.memory import keep_memory_together
from edge.mind import Mind
from edge.model import Classifier
from edge.orders import obey
from edge.outputs import Output
from edge.parts import open_encoder, open_output
from edge.permit import Permit
from edge.play import Pace, Player, Polled
from edge.priority import ask_for_precedence, hand_over_quickly, with_precedence
from edge.records import Actuation, Decision, Frame, Item, View
from edge.stats import Distribution
from edge.trigger import Trigger
from edge.vitals import Vitals, health_of
from edge.watch import Watch
from edge.web.side import WebSide

_log = logging.getLogger("sortline.line")

BELT_UNKNOWN: dict[Trouble, str] = {
    "encoder_silent": "nothing is pushed until it does",
    "encoder_jump": "not believed: nothing is pushed until its counts go on evenly",
    "encoder_reset": "it is counted on from there; everything on the belt goes to the default lane",
}
CLOSE_S = 0.5  # so long all outputs are waited for, together
DRAIN_STEP_S = 0.01  # on a virtual clock, while the last views are classified
STANDS_S = 60.0  # and so long a belt that stands with items on it is waited for
FIRST_FRAME = "the first frame is processed"  # with --debug: what a cold start is measured to


class Line:
    """One belt, one camera, one model. Ready when its constructor returns; `start` sets it going.

        with Line(LineConfig.load("line.toml"), on_decision=print) as line:
            line.wait()

    The constructor raises a SortlineError when the model, an output, a file or the web port cannot be
    used, `start` when a recorded source cannot; a live camera that is away is waited for. on_decision
    is called with every Decision, in a thread of its own. With a VirtualClock, use `play` in place of
    `start`.

    Sets OpenCV to one thread for the whole process (its pool would take the cores that the line needs), how many
    heaps its threads share and, at the start, how quickly Python threads hand over to each other.
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
        keep_memory_together()
        self.config = config
        self.clock = clock or MonotonicClock()
        self._virtual = isinstance(self.clock, VirtualClock)
        self._max_frames = max_frames
        self.frames = 0
        self.finished = threading.Event()
        self.vitals = Vitals(self.clock)
        self._stopping = threading.Event()
        self._stop_once = threading.Lock()
        self._stopped = False

        self.classifier = with_precedence(
            lambda: Classifier(config.model.path, config.model.provider, config.model.threads)
        )
        config.check_classes(self.classifier.card.classes)
        if config.journal.pictures:
            check_pictures(config.journal.pictures)
        for note in config.notes():
            _log.warning(note)
        _log.info("%s: %s", config.model.path, self.classifier.choice.why)
        self.started_at = self.clock.now()
        self.encoder: Encoder | None = None
        self._gauge: PictureGauge | None = None
        self.belt = self._lay_belt()
        self.ledger = Ledger()
        self.permit = Permit(armed=config.line.start_armed)
        self.stages = {name: Distribution() for name in ("waiting", "finding", "output")}
        self.world: Any = None
        self.outputs: dict[str, Output] = {}
        self.herald: Herald | None = None
        self._web: WebSide | None = None
        self._blind = False
        try:
            for name, settings in config.outputs.items():
                self.outputs[name] = open_output(name, settings)
            self.herald = herald = Herald(
                config,
                self.classifier,
                self.outputs,
                self.belt,
                self.clock,
                on_decision,
                decisions_path,
                self.permit,
            )
            if config.web.enabled and not self._virtual:
                self._web = herald.web = WebSide(config, self.facts(), self._on_command, herald.incident)
            self.photo_eyes = PhotoEyes(config.photo_eyes, self.clock, herald.tell, self._beam)
        except BaseException:
            if isinstance(self.belt, EncoderBelt):
                self.belt.stop()
            self._let_go()
            raise
        self.tell, self.labelled, self.pictures_refused = herald.tell, herald.labelled, herald.pictures_refused
        self.eye = self._open_eye()
        self.mind = Mind(
            config, self.classifier, self.ledger, herald, self.belt, self.clock,
            comes_round=partial(self.vitals.comes_round, "mind"),
        )  # fmt: skip
        self.hand = self.mind.hand = Hand(
            config, self.outputs, self.ledger, self.belt, self.clock, herald,
            resolve=self.mind.resolve, on_fired=self._fired, watching_since=self.photo_eyes.watching_since,
            permit=self.permit, comes_round=partial(self.vitals.comes_round, "hand"),
        )  # fmt: skip
        self.grabber = FrameGrabber(config.camera, self.clock, self.belt.position_mm, herald.incident)
        self._looks_out = config.items.mode == "motion"  # else items are announced, or fill the picture
        self.watch = Watch(self, herald, self._web)
        self._eye_thread = threading.Thread(target=self._run_eye, name="sortline-eye", daemon=True)

    def _open_eye(self) -> Eye | Trigger:
        """What finds the items: by what the pictures show, or by a photo-eye."""
        if self.config.items.trigger:
            return Trigger(self.config, self.ledger, self.belt, self.tell, self._announced)
        place, where = (self._gauge.by_items, None) if self._gauge else (None, self.belt.place)
        margin = self.classifier.card.crop_margin
        return Eye(self.config.items, self.config.belt, margin, place, self.belt.error_mm, where)

    def _lay_belt(self) -> Belt:
        """The belt, whose position an encoder tells, or the pictures, or only its speed."""
        settings = self.config.belt
        if settings.encoder:
            self.encoder = open_encoder(settings.encoder, self.clock)
            return EncoderBelt(
                self.encoder, settings.encoder, self.clock, self._belt_changed, self._belt_trouble, self._counted_anew,
                settings.encoder.max_speed_mm_s or FASTEST * settings.speed_mm_s, self.config.decide.reach_mm / 4,
            )  # fmt: skip
        if settings.position == "pictures":
            belt = PictureBelt(settings.speed_mm_s, self.started_at, self._belt_changed)
            self._gauge = PictureGauge(belt, self.config.items, settings)
            return belt
        return ConstantBelt(settings.speed_mm_s, self.started_at)

    def __enter__(self) -> "Line":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Sets every thread going. The first frame is taken as soon as the camera gives one."""
        if self._virtual:
            raise RuntimeError("a line on a virtual clock is driven with play()")
        hand_over_quickly()
        try:
            self.grabber.start()
            self._attach(self.grabber.source)
            if isinstance(self.belt, EncoderBelt):
                self.belt.start()
            self.hand.start()
            self.mind.start()
            self._eye_thread.start()
            self.photo_eyes.start(threaded=True)
            self.watch.start()
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until a recorded source and every item from it have come to their end; False on timeout."""
        return self.finished.wait(timeout_s)

    def stop(self) -> None:
        """Ends every thread in under two seconds, from any state; what was told is written. Idempotent."""
        with self._stop_once:
            if self._stopped:
                return
            self._stopping.set()
            # Who judges and who pushes ends first: a part that takes its time to end would seem to have fallen silent.
            self.watch.stop()
            self.hand.stop()
            self.grabber.stop()
            self.photo_eyes.stop()
            if isinstance(self.belt, EncoderBelt):
                self.belt.stop()
            if self._eye_thread.is_alive():
                self._eye_thread.join(1.0)
            self.mind.stop()
            if left := len(self.ledger):
                self.tell("stopped_with_items", "line", f"{left} items were on the belt", "left to the default lane")
            self._let_go()
            self._stopped = True
            self.finished.set()

    def play(self, stop: threading.Event | None = None, seconds: float | None = None, pace: Pace | None = None) -> None:
        """Runs a recorded or simulated source on the virtual clock, as fast as it can.

        Ends with the source, after `seconds` of the source's own time, or when stop is set; then the
        belt runs on until every item has come to its end, or has stood for STANDS_S. Nothing is dropped,
        unless a pace says that the line's stages take their time.
        """
        if not isinstance(self.clock, VirtualClock):
            raise RuntimeError("only a line on a virtual clock can be played")
        source = open_source(self.config.camera, self.clock)
        try:
            self._attach(source)
            self.photo_eyes.start(threaded=False)
            encoder: list[Polled] = [self.belt] if isinstance(self.belt, EncoderBelt) else []
            polled = [*encoder, *self.photo_eyes.polled]
            player = Player(self.clock, self.mind, self.hand, polled, self._try_to_see, pace)
            seq = 0
            while (shot := source.read()) is not None and not (stop and stop.is_set()):
                if (seconds and shot.at >= seconds) or self._had_enough():
                    break
                at = self.started_at + shot.at
                player.run_until(at)
                player.arrive(Frame(seq, at, self.belt.position_mm(at), shot.pixels))
                seq += 1
        finally:
            source.close()
        while player.busy:
            player.run_until(self.clock.now() + DRAIN_STEP_S)
        self._lose_sight()
        stood_s = 0.0
        while (ends := self._last_end()) is not None and stood_s < STANDS_S:
            now = self.clock.now()
            # What acts late has its end after the moment that it was due; a belt that stands may run on.
            ahead = now < ends < math.inf
            player.run_until(ends if ahead else now + DRAIN_STEP_S)
            stood_s = stood_s + DRAIN_STEP_S if ends == math.inf else 0.0
        self.finished.set()

    def see(self, frame: Frame) -> None:
        """Finds and follows the items of one frame, and offers their good views to the mind."""
        taken_up = perf_counter()
        age_s = max(self.clock.now() - frame.captured_at, 0.0)
        self.frames += 1
        if self.frames == 1:
            self.hand.see_picture(*frame.pixels.shape[:2])
        # By now more is known of the belt at the moment of the capture than when the picture was taken.
        known = self.belt.place(frame.captured_at)
        frame = replace(frame, position_mm=known.position_mm, placed=known.sure)
        if self._gauge:
            frame = self._gauge.by_texture(frame)
        tracked, views = self.eye.look(frame)
        spent_s = perf_counter() - taken_up
        self.stages["waiting"].add(age_s)
        self.stages["finding"].add(spent_s)
        with self.ledger.lock:
            if self._looks_out and frame.placed:
                self.hand.blind.saw(frame.position_mm, self.hand.geometry.half_view_mm)
            self._take_note(tracked)
            for view in views:
                life = self.ledger.get(view.item_id)
                if life and life.decision is None:
                    life.spend("finding", spent_s)
                    self._offer(life, view, taken_up, age_s)
            for item_id in tracked.left:
                if life := self.ledger.get(item_id):
                    self.mind.lose_sight(life)
        self.watch.saw(frame, tracked)
        self.eye.learn()
        if self.frames == 1:
            _log.debug(FIRST_FRAME)

    def _take_note(self, tracked: Tracked) -> None:
        """Enters births, places and disappearances into the ledger, with its lock held."""
        born = set(tracked.born)
        for item in tracked.items:
            life = self.ledger.bear(item) if item.id in born else self.ledger.get(item.id)
            if life is not None:  # else it has ended already: seen for longer than its place on the belt says
                life.item = item
                self.hand.plan(life)
        if doubtful := [life for item_id in tracked.doubtful if (life := self.ledger.get(item_id))]:
            for life in doubtful:
                life.doubtful = True
            cause = f"which of {len(doubtful)} items is which cannot be told from the newest picture"
            self.tell("items_ambiguous", "item", cause, "none of them is pushed")
        for item_id in tracked.vanished:
            if life := self.ledger.get(item_id):
                cause = f"item {item_id} disappeared inside the picture"
                self.tell("item_vanished", "item", cause, "counted as lost", item_id)
                self.mind.queue.forget(item_id)
                self.hand.end(life, "lost")

    def _offer(self, life: Life, view: View, taken_up: float, age_s: float) -> None:
        """Hands a view to the mind; its frame was age_s old when it was taken up. The ledger's lock is held."""
        life.spend("waiting", age_s)
        self.mind.queue.offer(Waiting(view, taken_up, age_s, perf_counter()), life.item.item_mm, life.vote.views)

    def _announced(self, item: Item, view: View | None) -> None:
        """A photo-eye has announced an item: it is born even while the camera is away. The lock is held."""
        if not self._blind:
            self.hand.plan(life := self.ledger.bear(item))
            if view:
                self._offer(life, view, perf_counter(), max(self.clock.now() - view.captured_at, 0.0))

    def _beam(self, name: str, edge: Edge) -> None:
        """A photo-eye's beam was broken or is free again."""
        if name == TRIGGER and isinstance(self.eye, Trigger):
            self.eye.edge(edge)
        elif edge.broken:
            self.hand.exit_seen(name, edge)

    def _try_to_see(self, frame: Frame) -> None:
        """A picture that breaks the eye must not end the line: it is an incident, and the next one is seen."""
        try:
            self.see(frame)
        except Exception as error:
            _log.debug("the eye failed", exc_info=True)
            self.tell("eye_failed", "camera", f"frame {frame.seq}: {type(error).__name__}: {error}", "skipped")

    def _run_eye(self) -> None:
        ask_for_precedence()
        while not self._stopping.is_set() and not self.grabber.ended and not self._had_enough():
            self.vitals.comes_round("eye")
            if frame := self.grabber.take(0.25):
                self._attach(self.grabber.source)
                self._try_to_see(frame)
        self.vitals.ended("eye")
        if not self._stopping.is_set():
            self._drain()

    def _had_enough(self) -> bool:
        return self._max_frames is not None and self.frames >= self._max_frames

    def _drain(self) -> None:
        """A recorded source has ended: its items go on along the belt to their ends."""
        while len(self.mind.queue) and not self._stopping.wait(0.01):
            pass
        self._lose_sight()
        while (ends := self._last_end()) is not None:
            if self._stopping.wait(min(max(ends - self.clock.now(), 0.0) + 0.005, 0.25)):
                return
        self.finished.set()

    def _lose_sight(self) -> None:
        with self.ledger.lock:
            self._blind = True
            self.hand.blind.ended()
            for life in self.ledger:
                self.mind.lose_sight(life)

    def _last_end(self) -> float | None:
        """The moment at which the last item's next act is due; None when no item is on the belt."""
        with self.ledger.lock:
            return max((life.due_at for life in self.ledger), default=None)

    def _fired(self, actuation: Actuation, fired_at: float) -> None:
        took_s = max(self.clock.now() - fired_at, 0.0)
        self.stages["output"].add(took_s)
        with self.ledger.lock:
            if life := self.ledger.get(actuation.item_id):
                life.spend("output", took_s)
        if self.world is not None:
            lead_s = self.outputs[actuation.output].settings.lead_ms / 1e3
            meant = self.world.identify(actuation.captured_at, actuation.decision.box)
            self.world.push(actuation.lane, fired_at + lead_s, actuation.pulse_s, meant, actuation.fire_mm)

    def _attach(self, source: Source | None) -> None:
        """A simulated belt is told where the diverters stand, and of every push."""
        world = getattr(source, "world", None)
        if world is not None and self.world is None:
            # Only a simulated belt needs the simulator, which a real line need not load.
            from edge.simulator.world import Lane

            reach, lanes = self.config.decide.reach_mm, self.config.lanes
            if attach := getattr(self.encoder, "attach", None):
                attach(world)
            self.photo_eyes.attach(world)
            world.lay_out([Lane(one.name, one.classes, one.distance_mm, one.default, reach) for one in lanes])
            self.world = world

    def _belt_changed(self) -> None:
        self.hand.replan()

    def _belt_trouble(self, name: Trouble, recovered: bool, cause: str) -> None:
        action = "pushes are made again" if recovered else BELT_UNKNOWN[name]
        self.tell(name, "belt", cause, action, recovered=recovered)

    def _counted_anew(self) -> None:
        """From here on the belt's place is reckoned anew: how far it has carried what is on it nobody knows."""
        with self.ledger.lock:
            self.hand.blind.counted_anew()
            for life in self.ledger:
                life.adrift = True

    def _on_command(self, command: dict[str, Any]) -> None:
        obey(self, command)

    def _let_go(self) -> None:
        if self.herald:
            self.herald.stop_listeners()  # first: what is closed hears no more
        for name, how in close_all({name: one.close for name, one in self.outputs.items()}, CLOSE_S).items():
            cause = f"outputs.{name}: {how}"
            if self.herald:
                self.herald.tell("output_failed", "output", cause, self.outputs[name].left_so)
            else:
                _log.warning(cause)
        if self._web:
            self._web.stop()
        if self.herald:
            self.herald.stop()

    @property
    def url(self) -> str | None:
        """Where the page is; None without a web side."""
        return self._web.url if self._web else None

    def facts(self) -> dict[str, Any]:
        """What does not change while the line runs, for the page."""
        return facts_of(self.config, self.classifier)

    def health(self) -> dict[str, dict[str, Any]]:
        """Which parts are well, each {"ok": bool, "text": sentence}."""
        return health_of(self)
