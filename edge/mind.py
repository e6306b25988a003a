"""The mind: views in, votes, and for every item exactly one decision.

An item is decided as soon as its last good view has been classified, and at the latest at its point
of no return, when the hand asks for it. A result that comes later is counted and changes nothing.
"""

import logging
import threading
from collections.abc import Callable
from time import perf_counter

from edge.actuate import Hand
from edge.belt import Belt
from edge.clock import Clock
from edge.config import LineConfig
from edge.decide import Decider, ViewQueue, Waiting, weight_of
from edge.herald import Herald
from edge.ledger import Ledger, Life
from edge.model import Classifier
from edge.priority import ask_for_precedence
from edge.records import Decision, Prediction, Reason
from edge.sizes import Sizes
from edge.stats import Distribution

_log = logging.getLogger("sortline.mind")

STUCK_S = 5.0
# The first of a batch waits for the last: no more are taken together than were lately classified in this time.
TOGETHER_S = 0.05


class Mind:
    """Owns the queue of views and the thread that classifies them.

    The ledger is only touched with its lock held. latency is the time from a frame's capture to the
    moment at which its view's vote counts, the stage taken_up that from where the eye took the frame up.
    """

    def __init__(
        self,
        config: LineConfig,
        classifier: Classifier,
        ledger: Ledger,
        herald: Herald,
        belt: Belt,
        clock: Clock,
        *,
        comes_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._comes_round = comes_round
        self._classifier, self._ledger, self._herald = classifier, ledger, herald
        self._belt, self._clock = belt, clock
        self._decider, self._sizes = Decider(config, classifier.card), Sizes()
        self.hand: Hand | None = None
        self.queue = ViewQueue(clock, newest_first=config.items.mode == "frame")
        self.latency = Distribution()
        self.stages = {name: Distribution() for name in ("queueing", "classifying", "voting", "margin", "taken_up")}
        self.late_results = 0
        self._since: float | None = None
        self._taken_at = clock.now()
        self._each_s = 0.0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sortline-mind", daemon=True)

    @property
    def batch(self) -> int:
        """How many views are classified together at most."""
        return self._classifier.batch

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        self._stopping = True
        self.queue.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def trouble(self) -> str | None:
        """What is wrong with it, in a few words; None when it is well."""
        since = self._since
        if since is not None and self._clock.now() - since > STUCK_S:
            return f"stuck on one picture for {self._clock.now() - since:.0f} s"
        return None

    def think(self, most: int, timeout_s: float) -> bool:
        """Classifies up to `most` waiting views in one call; False when there were none."""
        batch = self.take(most, timeout_s)
        if batch:
            self.consider(batch)
        return bool(batch)

    def take(self, most: int, timeout_s: float) -> list[Waiting]:
        """Takes up to `most` waiting views, the most needed first; they have to be considered.

        A slow classifier is given fewer, so that none of them comes late for the others' sake.
        """
        if self._each_s * most > TOGETHER_S:
            most = max(int(TOGETHER_S / self._each_s), 1)
        batch = self.queue.take(most, timeout_s)
        self._taken_at = self._clock.now()
        self._count(batch, +1)
        return batch

    def consider(self, batch: list[Waiting]) -> None:
        """Classifies views that were taken, and enters what they say into their items' votes."""
        started = perf_counter()
        self._since = self._clock.now()
        try:
            predictions = self._classifier.classify([waiting.view.crop for waiting in batch])
        except Exception as error:  # a model may raise anything; the items stay undecided and go the safe way
            _log.debug("the model failed", exc_info=True)
            self._herald.tell("model_failed", "model", f"{type(error).__name__}: {error}", "no vote from this view")
            predictions = []
        finally:
            self._since = None
            self._count(batch, -1)
        self._each_s = (self._clock.now() - self._taken_at) / len(batch)
        took_s = perf_counter() - started
        for waiting, prediction in zip(batch, predictions, strict=False):
            self._vote(waiting, prediction, started - waiting.offered, took_s)
            self.stages["classifying"].add(took_s / len(batch))

    def lose_sight(self, life: Life) -> None:
        """No further view of an item will come: it is decided as soon as none waits or is being classified.

        The lock is held.
        """
        life.in_sight = False
        if life.decision is None and not life.classifying and not self.queue.holds(life.item.id):
            self.resolve(life)

    def resolve(self, life: Life, waiting: Waiting | None = None) -> None:
        """Gives an item its one decision, from its vote or for want of one. The lock is held."""
        assert self.hand is not None
        item, now = life.item, self._clock.now()
        forced: Reason | None = None
        if life.doubtful:
            forced = "ambiguous"
        elif life.vote.views == 0:
            forced = no_view_reason(life, self.queue.holds(item.id))
        elif item.touching:
            forced = "overlap"
        verdict = self._decider.judge(life.vote, forced)
        name = verdict.lane.name
        if not forced and verdict.lane.output and (self.hand.neighbour(item, name) or self.hand.unseen(item, name)):
            verdict = self._decider.judge(life.vote, "overlap")
        if verdict.reason == "classified" and item.area_mm2 and (label := verdict.label):
            if not self._sizes.fits(label, item.area_mm2):
                verdict = self._decider.judge(life.vote, "overlap")  # too large to be one of them
            self._sizes.learn(label, item.area_mm2)
        lane = verdict.lane
        fire_at = None
        if lane.output and lane.distance_mm:
            fire_at = self._belt.when(item.item_mm + lane.distance_mm, now) - self.hand.lead_s(lane)
        seen = waiting.view if waiting else item
        decision = Decision(
            item_id=item.id,
            lane=lane.name,
            label=verdict.label,
            confidence=verdict.confidence,
            probabilities=verdict.probabilities,
            reason=verdict.reason,
            frame_seq=seen.frame_seq,
            captured_at=seen.captured_at,
            decided_at=now,
            fire_at=fire_at,
            position_mm=seen.position_mm,
            box=seen.box,
            strange=verdict.reason == "unknown" and life.vote.strange,
        )
        self.queue.forget(item.id)
        margin_s = max(self.hand.margin_s(life), 0.0)
        self.stages["margin"].add(margin_s)
        life.spent_s["margin"] = margin_s  # what was left, not what was spent
        self._ledger.decide(life, decision)
        self.hand.follow(life)
        self._herald.decided(life, decision)
        life.crop = None  # it may hold a whole frame, and the item travels on for a while

    def _vote(self, waiting: Waiting, prediction: Prediction, queued_s: float, took_s: float) -> None:
        view = waiting.view
        self.stages["queueing"].add(queued_s)
        with self._ledger.lock:
            life = self._ledger.get(view.item_id)
            if life is None or life.decision is not None:
                self.late_results += 1
                return
            life.vote.add(prediction, weight_of(view), self._decider.knows(prediction))
            life.crop = view.crop
            life.spend("queueing", queued_s)
            life.spend("classifying", took_s)
            since_s = perf_counter() - waiting.arrived
            self.stages["taken_up"].add(since_s)
            self.latency.add(waiting.age_s + since_s)
            voting_s = max(perf_counter() - waiting.offered - queued_s - took_s, 0.0)
            self.stages["voting"].add(voting_s)
            life.spend("voting", voting_s)
            if view.last or (not life.in_sight and not self.queue.holds(view.item_id)):
                self.resolve(life, waiting)

    def _count(self, batch: list[Waiting], change: int) -> None:
        with self._ledger.lock:
            for waiting in batch:
                if life := self._ledger.get(waiting.view.item_id):
                    life.classifying += change

    def _run(self) -> None:
        ask_for_precedence()
        while not self._stopping:
            self._comes_round()
            self.think(self.batch, 0.25)


def no_view_reason(life: Life, waits: bool) -> Reason:
    """Why an item without a single vote goes to the default lane at its point of no return.

    Its view still waits in the queue: overload. It is being classified right now: late. It never gave
    a view that was worth classifying: overlap when a neighbour touched it, else unknown.
    """
    if waits:
        return "overload"
    if life.classifying:
        return "late"
    return "overlap" if life.item.touching else "unknown"
