"""Votes, thresholds, lanes, and the queue of views that wait."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from edge.clock import MonotonicClock
from edge.config import LineConfig
from edge.decide import Decider, ViewQueue, Vote, Waiting
from edge.model import FORMAT, ModelCard
from edge.records import Box, Prediction, View

CARD = ModelCard(format=FORMAT, name="t", version="1", classes=("bolt", "nut"), height=32, width=32,
                 thresholds={"bolt": 0.7})  # fmt: skip
CONFIG = LineConfig.parse(
    {
        "model": {"path": "t.onnx"},
        "camera": {"source": 0},
        "belt": {"pixels_per_mm": 1, "speed_mm_s": 100},
        "lanes": [
            {"name": "bolts", "classes": ["bolt"], "output": "gate", "distance_mm": 100},
            {"name": "rest", "default": True},
        ],
        "outputs": {"gate": {"type": "log"}},
    }
)


def said(bolt: float, known: bool = True) -> Prediction:
    return Prediction("bolt" if bolt > 0.5 else "nut", max(bolt, 1 - bolt), (bolt, 1 - bolt), known)


def test_a_vote_is_the_weighted_mean_and_never_surer_than_its_surest_view() -> None:
    vote = Vote()
    vote.add(said(0.9), weight=1.0)
    vote.add(said(0.6), weight=0.5)
    best, confidence, probabilities, _ = vote.result()
    assert best == 0
    assert confidence == pytest.approx((0.9 + 0.3) / 1.5)
    assert math.isclose(probabilities.sum(), 1)


@pytest.mark.parametrize(("strange", "said_strange"), [((1, 0.4, 0.4), True), ((1, 1.2, 0.4), False)])
def test_a_vote_is_strange_where_most_of_its_weight_is(strange: tuple[float, float, float], said_strange: bool) -> None:
    vote = Vote()
    assert not vote.strange
    for n, weight in enumerate(strange):
        vote.add(replace(said(0.9), strange=n == 0), weight)
    assert vote.strange == said_strange


@pytest.mark.parametrize(("look", "careful"), [(0.2, 0.03), (0.8, 0.2)], ids=["like views", "unlike views"])
def test_of_calibrated_views_the_vote_is_calibrated_where_they_are_alike_and_never_too_sure(
    look: float, careful: float
) -> None:
    """Items scatter about their class's middle and views about their item, both normally; each view is calibrated
    by itself. A vote that multiplied them would be far too sure: what they share would count five times."""
    rng, middles, own = np.random.default_rng(1), np.array([[0, 0], [2, 0], [0, 2]]), 1.0
    truth = rng.integers(0, 3, 3000)
    items = middles[truth] + rng.normal(0, own, (3000, 2))
    views = items[:, None] + rng.normal(0, look, (3000, 5, 2))
    likely = np.exp(-((views[:, :, None] - middles) ** 2).sum(-1) / (2 * (own**2 + look**2)))
    likely /= likely.sum(-1, keepdims=True)
    sure, right = np.zeros(3000), np.zeros(3000)
    for n, rows in enumerate(likely):
        vote = Vote()
        for row in rows:
            vote.add(Prediction("", float(row.max()), tuple(row)), weight=float(rng.uniform(0.2, 1)))
        best, sure[n], _, _ = vote.result()
        right[n] = best == truth[n]
    # The calibration error (Naeini et al., AAAI 2015) of what is too sure, and of what is too careful.
    tenths = (sure * 10).astype(int)
    off = [(sure - right)[tenths == tenth].sum() / 3000 for tenth in np.unique(tenths)]
    assert sum(max(one, 0.0) for one in off) <= 0.02
    assert sum(max(-one, 0.0) for one in off) <= careful


def test_a_sure_vote_goes_to_the_lane_of_its_class() -> None:
    vote = Vote()
    vote.add(said(0.8), 1)
    verdict = Decider(CONFIG, CARD).judge(vote)
    assert (verdict.lane.name, verdict.label, verdict.reason) == ("bolts", "bolt", "classified")


def test_a_vote_below_its_classes_threshold_is_unknown_and_goes_to_the_default_lane() -> None:
    vote = Vote()
    vote.add(said(0.65), 1)
    verdict = Decider(CONFIG, CARD).judge(vote)
    assert (verdict.lane.name, verdict.label, verdict.reason) == ("rest", "bolt", "unknown")


def test_views_unlike_anything_trained_on_make_the_item_unknown() -> None:
    vote = Vote()
    vote.add(said(0.99, known=False), 1)
    assert Decider(CONFIG, CARD).judge(vote).reason == "unknown"


def test_without_a_single_view_the_item_goes_to_the_default_lane_for_the_given_reason() -> None:
    verdict = Decider(CONFIG, CARD).judge(Vote(), "overload")
    assert (verdict.lane.name, verdict.label, verdict.reason) == ("rest", None, "overload")


def waiting(item_id: int, seq: int = 0, last: bool = False, at: float = 0.0) -> Waiting:
    return Waiting(View(item_id, seq, at, 0.0, Box(0, 0, 4, 4), np.zeros((4, 4, 3), np.uint8), last=last), 0, 0, 0)


def test_a_newer_view_of_an_item_replaces_the_one_that_waits() -> None:
    queue = ViewQueue(MonotonicClock())
    queue.offer(waiting(1, seq=5), 0.0, 0)
    queue.offer(waiting(1, seq=6), 0.0, 0)
    assert [one.view.frame_seq for one in queue.take(8, 0.0)] == [6]
    assert queue.replaced == 1


def test_items_without_a_view_come_first_among_them_the_newest_view_and_of_one_picture_the_farthest_along() -> None:
    queue = ViewQueue(MonotonicClock())
    queue.offer(waiting(1, at=0.9), item_mm=10.0, views_had=2)
    queue.offer(waiting(2, at=0.5), item_mm=30.0, views_had=0)
    queue.offer(waiting(3, at=0.5), item_mm=20.0, views_had=0)
    queue.offer(waiting(4, at=0.3), item_mm=15.0, views_had=0)
    assert [one.view.item_id for one in queue.take(8, 0.0)] == [3, 2, 4, 1]


def test_a_full_queue_lets_go_of_the_item_that_has_had_most_views() -> None:
    queue = ViewQueue(MonotonicClock(), most=2)
    queue.offer(waiting(1), 0.0, views_had=3)
    queue.offer(waiting(2), 0.0, views_had=0)
    queue.offer(waiting(3), 0.0, views_had=0)
    assert sorted(one.view.item_id for one in queue.take(8, 0.0)) == [2, 3]


def test_of_pictures_that_are_an_item_each_the_newest_is_taken_and_the_oldest_gives_way() -> None:
    queue = ViewQueue(MonotonicClock(), most=2, newest_first=True)
    for number in (1, 2, 3):
        queue.offer(waiting(number, at=number / 10), item_mm=number, views_had=0)
    assert [one.view.item_id for one in queue.take(8, 0.0)] == [3]
    assert [one.view.item_id for one in queue.take(8, 0.0)] == [2]
    assert (len(queue), queue.replaced) == (0, 1)


def test_a_closed_queue_gives_what_it_has_and_takes_no_more() -> None:
    queue = ViewQueue(MonotonicClock())
    queue.close()
    queue.offer(waiting(1), 0.0, 0)
    assert queue.take(1, 5.0) == []


def test_however_slow_the_classifier_is_no_view_that_it_is_given_grows_older_and_every_item_has_its_turn() -> None:
    """Eight items in view, each crossing in 40 frames with a new view in every one; three frames a classification."""
    queue, ages, had = ViewQueue(MonotonicClock()), [], Counter[int]()
    for seq in range(1200):
        for item_id in range(max(seq // 5 - 7, 0), seq // 5 + 1):
            view_is_last = seq - 5 * item_id == 39
            queue.offer(waiting(item_id, seq, view_is_last), float(seq - 5 * item_id), had[item_id])
        if seq % 5 == 4:
            queue.forget(seq // 5 - 12)  # at its point of no return, 20 frames behind the picture
        if seq % 3 == 0:
            for one in queue.take(1, 0.0):
                had[one.view.item_id] += 1
                ages.append(seq - one.view.frame_seq)
    assert max(ages[len(ages) // 2 :]) <= max(ages[: len(ages) // 2]) <= 20
    assert len(queue) <= 8 + 5
    assert all(had[item_id] >= 1 for item_id in range(200))
    assert max(had.values()) <= 3


def test_a_threshold_that_min_confidence_makes_useless_is_told() -> None:
    decide = {"min_confidence": 0.5, "thresholds": {"bolt": 0.3, "nut": 0.6}}
    (note,) = LineConfig.parse({**CONFIG.model_dump(exclude_none=True), "decide": decide}).notes()
    assert note.startswith("decide.thresholds.bolt = 0.3 has no effect: decide.min_confidence = 0.5")
    assert CONFIG.notes() == []


def test_a_longest_item_that_nobody_gave_is_told_where_items_are_found_by_their_looks() -> None:
    content = CONFIG.model_dump(exclude_none=True)
    (note,) = LineConfig.parse({**content, "items": {}}).hints()
    assert note.startswith("items.max_mm is not given, so 400 is taken: ")
    assert LineConfig.parse({**content, "items": {"max_mm": 60}}).hints() == []
    assert LineConfig.parse({**content, "items": {"mode": "frame"}}).hints() == []
