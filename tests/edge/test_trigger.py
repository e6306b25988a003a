"""Items announced by a photo-eye: every edge one item, its own picture classified, and its own diverter moved."""

import math
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.actuate import DECIDE_AHEAD_S
from edge.belt import ConstantBelt
from edge.camera import Shot
from edge.clock import VirtualClock
from edge.config import LineConfig
from edge.errors import ConfigError
from edge.eyes import Edge
from edge.ledger import Ledger
from edge.line import Line
from edge.records import Decision, Frame, Item, View
from edge.replay import replay
from edge.trigger import LATE_S, RING, Trigger
from tests.edge.discs import disc_line, write_discs
from tests.edge.squares import Squares, SquaresSettings
from tests.edge.tiny_model import write_model

ORDER = "red green blue red blue green green red"


class GappySettings(SquaresSettings):
    lost_from: float = 1e9
    lost_to: float = 1e9


class Gappy(Squares):
    """The squares' camera, which loses every picture for a while."""

    Settings = GappySettings

    def __init__(self, settings: GappySettings, clock: Any) -> None:
        super().__init__(settings, clock)
        self._from, self._to = settings.lost_from, settings.lost_to

    def read(self) -> Shot | None:
        shot = super().read()
        while shot is not None and self._from <= shot.at < self._to:
            shot = super().read()
        return shot


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "colours.onnx", sharpness=200.0)


def played(
    model: Path, beam: dict[str, Any], camera: dict[str, Any] | None = None, items: dict[str, Any] | None = None
) -> tuple[Line, list[Decision]]:
    """A line whose photo-eye stands across the squares' belt, run to its end on a virtual clock."""
    camera = {"colours": ORDER, **(camera or {})}
    eye = {"type": "tests.edge.beams:Beam", "squares": len(camera["colours"].split()), "length_mm": 40, **beam}
    config = LineConfig.parse(
        {
            "model": {"path": str(model)},
            "camera": {"source": "squares", "type": "tests.edge.test_trigger:Gappy", **camera},
            "belt": {"pixels_per_mm": 1.0, "speed_mm_s": 300},
            "items": {"mode": "trigger", "roi": [180, 100, 40, 40], "trigger": eye, **(items or {})},
            "lanes": [
                {"name": "reds", "classes": ["red"], "output": "gate", "distance_mm": 260},
                {"name": "greens", "classes": ["green"], "output": "arm", "distance_mm": 330},
                {"name": "rest", "default": True},
            ],
            "outputs": {
                "gate": {"type": "tests.edge.own_parts:Blade"},
                "arm": {"type": "tests.edge.own_parts:Blade"},
            },
            "web": {"enabled": False},
        }
    )
    heard: list[Decision] = []
    line = Line(config, on_decision=heard.append, clock=VirtualClock())
    try:
        line.play()
    finally:
        line.stop()
    assert line.ledger.balanced()
    assert len(line.ledger) == 0
    return line, sorted(heard, key=lambda decision: decision.item_id)


def pushed(line: Line, name: str) -> list[tuple[str | None, float]]:
    return [(p.decision.label, p.fire_mm) for p in line.outputs[name].pushes]  # type: ignore[attr-defined]


@pytest.mark.parametrize("position_mm", [-190, -100, -20, 0, 20, 60, 150])
def test_wherever_the_beam_stands_each_edge_is_one_item_pushed_at_its_own_place(
    model: Path, position_mm: float
) -> None:
    line, heard = played(model, {"position_mm": position_mm})
    assert [d.label for d in heard] == ORDER.split()
    assert {d.reason for d in heard} == {"classified"}
    assert line.ledger.outcomes == Counter(fired=6, passed=2, confirmed=0, missed=0, lost=0)
    # The centre of square n is in front of the camera at 220 mm + n x 120 mm, and of the gate 260 mm later.
    reds = [220 + 120 * n + 260 for n, label in enumerate(ORDER.split()) if label == "red"]
    assert [place for _, place in pushed(line, "gate")] == [pytest.approx(place, abs=0.5) for place in reds]
    assert not line.herald.incidents


def test_the_item_lies_in_the_middle_of_its_crop(model: Path) -> None:
    _, heard = played(model, {"position_mm": -100})
    for decision, n in zip(heard, range(8), strict=True):
        centre = decision.position_mm - n * 120 - 20
        assert decision.box.x + decision.box.width / 2 == pytest.approx(centre, abs=1)


def test_a_bouncing_contact_makes_no_second_item(model: Path) -> None:
    _, heard = played(model, {"position_mm": -100, "bounces_ms": 12, "debounce_ms": 15})
    assert [d.label for d in heard] == ORDER.split()
    _, heard = played(model, {"position_mm": -100, "bounces_ms": 12, "debounce_ms": 0})
    assert len(heard) > 8, "else the test above proves nothing"


def test_an_item_that_the_eye_missed_goes_by_unseen_and_no_other_suffers(model: Path) -> None:
    line, heard = played(model, {"position_mm": -100, "misses": [2, 5]})
    assert [d.label for d in heard] == ["red", "green", "red", "blue", "green", "red"]
    assert line.ledger.outcomes == Counter(fired=5, passed=1, confirmed=0, missed=0, lost=0)


def test_while_the_camera_is_away_items_are_born_all_the_same_and_go_to_the_default_lane(model: Path) -> None:
    # Squares 1 and 2 are before the camera at 1.13 s and 1.53 s.
    line, heard = played(model, {"position_mm": -100}, {"lost_from": 1.0, "lost_to": 1.7})
    assert [d.label for d in heard] == ["red", None, None, *ORDER.split()[3:]]
    assert [(d.lane, d.reason) for d in heard[1:3]] == [("rest", "unknown")] * 2
    assert line.herald.incidents["item_unseen"] == 2
    assert line.ledger.outcomes == Counter(fired=5, passed=3, confirmed=0, missed=0, lost=0)


def test_without_any_picture_every_item_is_let_pass_at_its_point_of_no_return(model: Path) -> None:
    # The first picture comes, and the next when the gate is already behind all items but the last ones.
    line, heard = played(model, {"position_mm": -100}, {"lost_from": 0.01, "lost_to": 4.5, "colours": "red " * 8})
    unseen = [d for d in heard if d.label is None]
    for decision in unseen[:5]:
        assert decision.lane == "rest"
        place = 220 + 120 * (decision.item_id - 1) + 260
        # Decided a few milliseconds before the place, so that the decision is there in time.
        assert place - 300 * DECIDE_AHEAD_S - 1 <= decision.decided_at * 300 <= place
    assert len(unseen) >= 7
    assert line.ledger.outcomes["missed"] == 0


def test_a_silent_eye_is_an_incident_and_what_it_did_not_see_is_never_pushed(model: Path) -> None:
    # Squares 1 and 2 are at the beam at 0.73 s and 1.13 s.
    line, heard = played(model, {"position_mm": -100, "silent_from": 0.5, "silent_to": 1.3})
    assert [d.label for d in heard] == ["red", *ORDER.split()[3:]]
    assert line.herald.incidents == Counter(eye_silent=1)
    assert [one.recovered for one in line.herald.recent] == [False, True]


def test_an_edge_whose_moment_is_not_known_well_enough_is_an_item_that_is_not_pushed(model: Path) -> None:
    line, heard = played(model, {"position_mm": -100, "silent_from": 0.70, "silent_to": 0.78})
    assert [d.label for d in heard] == ["red", None, *ORDER.split()[2:]]
    assert heard[1].lane == "rest"
    assert line.herald.incidents["item_unplaced"] == 1


def test_items_that_touch_break_the_beam_as_one_and_are_not_pushed(model: Path) -> None:
    line, heard = played(
        model, {"position_mm": -150, "length_mm": 20, "side_mm": 40}, items={"roi": [190, 100, 20, 40]}
    )
    assert {(d.lane, d.reason) for d in heard} == {("rest", "overlap")}
    assert pushed(line, "gate") == []


def test_a_beam_that_stays_broken_is_told_as_a_jam_and_its_end_too(model: Path) -> None:
    jam = {"position_mm": -100, "side_mm": 300, "spacing_mm": 1000, "squares": 1}
    line, heard = played(model, jam, {"colours": "red " * 6}, {"max_mm": 100})
    assert line.herald.incidents == Counter(eye_blocked=1)
    assert [one.recovered for one in line.herald.recent] == [False, True]
    assert [d.reason for d in heard] == ["overlap"]


class Eye:
    """A trigger on its own: edges and pictures are given by hand, on a belt of constant speed."""

    def __init__(self, position_mm: float, speed: float = 500.0, length_mm: float = 40.0, **items: Any) -> None:
        trigger = {"type": "http", "position_mm": position_mm, "length_mm": length_mm, **items.pop("trigger", {})}
        config = LineConfig.parse(
            {
                "model": {"path": "t.onnx"},
                "camera": {"source": 0},
                "belt": {"pixels_per_mm": 1, "speed_mm_s": speed, **items.pop("belt", {})},
                "items": {"mode": "trigger", "trigger": trigger, **items},
                "lanes": [{"name": "rest", "default": True}],
            }
        )
        self.speed, self.belt, self.ledger = speed, ConstantBelt(speed, 0.0), Ledger()
        self.items: list[Item] = []
        self.views: dict[int, View] = {}
        self.unseen: list[int] = []
        self.told: list[str] = []
        self.trigger = Trigger(config, self.ledger, self.belt, self.tell, self.announced)

    def tell(self, name: str, *said: object, **more: object) -> None:
        self.told.append(name)

    def announced(self, item: Item, view: View | None) -> None:
        self.items.append(item)
        if view:
            self.keep(view)

    def keep(self, view: View) -> None:
        assert view.item_id not in self.views, "one view an item"
        self.views[view.item_id] = view

    def edge(self, at: float) -> None:
        self.trigger.edge(Edge(at))
        self.trigger.edge(Edge(at + 1e-3, broken=False))

    def picture(self, seq: int, at: float, pixels: np.ndarray) -> None:
        tracked, views = self.trigger.look(Frame(seq, at, self.belt.position_mm(at), pixels))
        for view in views:
            self.keep(view)
        self.unseen += tracked.left


@settings(max_examples=100, deadline=None)
@given(
    position_mm=st.floats(-400, 150),
    speed=st.sampled_from([60.0, 300.0, 2000.0]),
    gaps_mm=st.lists(st.floats(41, 200), min_size=1, max_size=6),
    fps=st.sampled_from([15, 60, 200]),
    lost=st.sets(st.integers(0, 400), max_size=200),
    told_late_s=st.floats(0, 0.1),
)
def test_the_picture_nearest_to_an_items_passing_is_the_one_that_is_classified(
    position_mm: float, speed: float, gaps_mm: list[float], fps: int, lost: set[int], told_late_s: float
) -> None:
    eye = Eye(position_mm, speed)
    pixels = np.zeros((8, 64, 3), np.uint8)
    places = [1000 + sum(gaps_mm[: n + 1]) for n in range(len(gaps_mm))]
    edges = [(place + position_mm - 20) / speed for place in places]
    first = min(edges[0], places[0] / speed) - 0.5
    end = max(edges[-1] + told_late_s, places[-1] / speed) + 0.5
    shots = [n for n in range(math.ceil(first * fps), math.ceil(end * fps)) if n % 401 not in lost]
    events = [(n / fps, 1, n) for n in shots] + [(at + told_late_s, 0, n) for n, at in enumerate(edges)]
    for at, kind, n in sorted(events):
        if kind:
            eye.picture(n, at, pixels)
        else:
            eye.edge(edges[n])
    assert [item.item_mm for item in eye.items] == [pytest.approx(place) for place in places]
    # Where pictures lie closer than the ring can hold, the one that is chosen is as near as those that it holds.
    apart_mm = 2 * (max(position_mm - 20, 0) + 20 + speed * LATE_S) / RING
    for item in eye.items:
        off_mm = min((abs(n / fps * speed - item.item_mm) for n in shots), default=math.inf)
        passed = any(n / fps * speed >= item.item_mm for n in shots)
        if item.id in eye.views:
            view = eye.views[item.id]
            assert abs(view.position_mm - item.item_mm) <= min(max(off_mm, apart_mm), 20) + 1e-6
            assert view.last
        else:
            assert off_mm > 20 - apart_mm or not passed


def test_a_second_edge_within_half_an_item_is_the_same_item() -> None:
    eye = Eye(-100.0)
    for at in (1.0, 1.02, 1.039, 1.081):
        eye.edge(at)
    assert [item.item_mm for item in eye.items] == [620, pytest.approx(660.5)]


def test_an_edge_told_after_its_pictures_were_taken_finds_the_right_one_among_them() -> None:
    eye = Eye(0.0, roi=[90, 0, 20, 20])
    for n in range(60):
        pixels = np.full((20, 200, 3), n, np.uint8)
        eye.picture(n, n / 60, pixels)
    eye.edge((59 / 60 * 500 - 60 - 20) / 500)  # its centre passed 60 mm of belt ago
    (view,) = eye.views.values()
    assert abs(view.position_mm - eye.items[0].item_mm) <= 500 / 60 / 2
    assert (view.crop == view.frame_seq).all()


def test_a_belt_that_stands_between_the_camera_and_a_beam_behind_it_loses_no_picture() -> None:
    eye = Eye(120.0, roi=[90, 0, 20, 20])
    pixels = np.zeros((20, 200, 3), np.uint8)
    moments = [n / 60 for n in range(60)]
    for n, at in enumerate(moments):
        eye.picture(n, at, pixels)
    eye.belt = ConstantBelt(1e-9, 0.0)
    standing = [Frame(100 + n, 1 + n / 60, moments[-1] * 500, pixels) for n in range(500)]
    for frame in standing:
        eye.trigger.look(frame)
    eye.edge((moments[-1] * 500) / 500)  # at the beam: 100 mm of belt ago its centre was before the camera
    (view,) = eye.views.values()
    assert abs(view.position_mm - eye.items[0].item_mm) <= 500 / 60


@pytest.mark.parametrize(("position_mm", "fps"), [(-200, 60), (0, 60), (500, 60), (150, 1000)])
def test_pictures_are_kept_in_a_bounded_number(position_mm: float, fps: int) -> None:
    eye, alive = Eye(position_mm), []
    for n in range(400):
        pixels = np.zeros((8, 64, 3), np.uint8)
        alive.append(weakref.ref(pixels))
        if n % 7 == 0:
            eye.edge(n / fps)
        eye.picture(n, n / fps, pixels)
        del pixels
    waiting = 2  # of the items that are still on their way the nearest picture is held, which is the newest
    kept = sum(one() is not None for one in alive) - len(eye.views)
    assert kept <= RING + waiting


@pytest.mark.parametrize(
    ("direction", "roi", "moved"),
    [("right", (40, 5, 20, 10), (8, 0)), ("left", (40, 5, 20, 10), (-8, 0)),
     ("down", (5, 40, 10, 20), (0, 8)), ("up", (5, 40, 10, 20), (0, -8))],
)  # fmt: skip
def test_the_roi_moves_along_the_belt_with_the_item(
    direction: str, roi: tuple[int, ...], moved: tuple[int, int]
) -> None:
    eye = Eye(-100.0, roi=roi, belt={"direction": direction})
    eye.edge(1.0)
    passes_at = eye.items[0].item_mm / 500
    eye.picture(0, passes_at + 8 / 500, np.zeros((100, 100, 3), np.uint8))
    box = eye.views[1].box
    assert (box.x - roi[0], box.y - roi[1]) == moved
    assert (box.width, box.height) == roi[2:]


def test_without_a_roi_the_whole_picture_is_classified() -> None:
    eye = Eye(-100.0)
    eye.edge(1.0)
    eye.picture(0, eye.items[0].item_mm / 500, np.zeros((60, 100, 3), np.uint8))
    assert eye.views[1].crop.shape == (60, 100, 3)


def test_what_comes_back_on_a_belt_that_turns_is_no_new_item() -> None:
    eye = Eye(-100.0)
    eye.edge(1.0)
    eye.belt = eye.trigger._belt = ConstantBelt(-500, 2.0 + 1.0)  # type: ignore[attr-defined]
    eye.edge(2.0)
    eye.belt = eye.trigger._belt = ConstantBelt(500, 1.0)  # type: ignore[attr-defined]
    eye.edge(2.0)
    assert len(eye.items) == 1
    eye.edge(2.2)
    assert len(eye.items) == 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.mark.parametrize("motion", ["steady", "stop_and_go", "ramps", "reverse"])
@pytest.mark.parametrize("position_mm", [-150, 60])
def test_on_a_belt_that_stops_goes_and_turns_back_every_disc_ends_in_its_own_lane(
    model: Path, folder: Path, motion: str, position_mm: float
) -> None:
    config = disc_line(
        model, folder, f"&fps=60&motion={motion}&period_s=3",
        {"type": "simulated", "position_mm": position_mm, "poll_ms": 2},
        belt={"encoder": {"type": "simulated", "counts_per_mm": 20, "poll_ms": 5}},
    )  # fmt: skip
    line = Line(config, clock=VirtualClock())
    line.play(seconds=12)
    line.stop()
    truth = line.watch.truth()
    assert truth is not None
    assert truth["items"] >= 10
    assert (truth["wrong_pushes"], truth["misplaced"]) == (0, 0)
    assert truth["pushes"] >= 6
    assert line.ledger.balanced()


def test_in_real_time_a_polled_eye_has_a_thread_of_its_own_and_the_line_sorts_by_it(model: Path, folder: Path) -> None:
    config = disc_line(
        model, folder, "&fps=60&seconds=4", {"type": "simulated", "position_mm": -100, "poll_ms": 1}
    )  # fmt: skip
    line = Line(config)
    with line:
        assert line.health()["eyes"]["ok"]
        assert line.wait(60)
    truth = line.watch.truth()
    assert truth is not None
    assert truth["items"] >= 5
    assert line.ledger.born >= 5
    assert line.ledger.balanced()
    assert len(line.ledger) == 0


def test_an_item_can_be_announced_by_a_command_from_outside(model: Path, folder: Path) -> None:
    config = disc_line(model, folder, "&fps=60", {"type": "http", "position_mm": -100}, web={})
    config = config.model_copy(update={"web": config.web.model_copy(update={"enabled": False})})
    with Line(config) as line:
        until = time.monotonic() + 20
        while line.world is None and time.monotonic() < until:
            time.sleep(0.01)
        now = time.monotonic()
        line._on_command({"command": "eye", "name": "trigger", "at": now - 0.1})
        line._on_command({"command": "eye", "name": "trigger"})
        while line.ledger.born < 2 and time.monotonic() < until:
            time.sleep(0.01)
        with line.ledger.lock:
            first, second = (life.item for life in line.ledger)
        assert first.item_mm == pytest.approx(line.belt.position_mm(now - 0.1) + 100 + 20)
        assert second.item_mm > first.item_mm
    assert line.ledger.balanced()


def test_a_line_with_a_trigger_cannot_be_replayed_and_says_so(model: Path, folder: Path) -> None:
    config = disc_line(model, folder, "", {"type": "simulated", "position_mm": -100})
    with pytest.raises(ConfigError, match="a clip does not hold what the photo-eye saw"):
        replay(config, "clip.mp4")
