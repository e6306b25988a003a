"""What the web side knows of its line, and how viewers are told."""

import json
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from edge.web import hub as hub_module
from edge.web.hub import KEPT_DECISIONS, LOGGED, MAX_VIEWERS, Hub, TooManyViewers, Viewer
from tests.edge.web import fake_line


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "SEND_EVERY_S", 0.0)
    monkeypatch.setattr(hub_module, "STILL_ALIVE_S", 0.05)


def tell(hub: Hub, item: int) -> None:
    decision, crop = fake_line.decision_at(item, 60.0)
    hub.add_decision(asdict(decision), crop)


def show(hub: Hub, seq: int) -> None:
    frame = fake_line.frame_at(60.0)
    hub.set_picture({"seq": seq, "position_mm": 1.0, "full": [1280, 720], "items": []}, frame.pixels)


def events_of(stream: Iterator[bytes]) -> list[tuple[str, Any]]:
    """The events of the next piece that a viewer is sent."""
    found = []
    for block in next(stream).decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def entered(hub: Hub) -> tuple[Viewer, Iterator[bytes]]:
    viewer = hub.view()
    stream = iter(viewer)
    next(stream)  # the time to wait before coming back
    return viewer, stream


def test_a_viewer_begins_with_everything_and_goes_on_with_what_is_new(hub: Hub) -> None:
    hub.set_state(fake_line.state_at(60.0, 100))
    tell(hub, 4)
    _, stream = entered(hub)
    ((name, everything),) = events_of(stream)
    assert name == "hello"
    assert everything["state"]["born"] == 103
    assert [decision["item_id"] for decision in everything["decisions"]] == [5]
    tell(hub, 5)
    hub.add_incident({**asdict(fake_line.INCIDENT), "number": 1})
    hub.set_state(fake_line.state_at(61.0, 101))
    show(hub, 7)
    assert [name for name, _ in events_of(stream)] == ["decision", "incident", "state", "picture"]


def test_of_states_and_pictures_a_slow_viewer_gets_the_newest_only(hub: Hub) -> None:
    _, stream = entered(hub)
    next(stream)
    for n in range(5):
        hub.set_state(fake_line.state_at(60.0, n))
        show(hub, n)
    states = events_of(stream)
    assert [(name, data.get("born", data.get("seq"))) for name, data in states] == [("state", 7), ("picture", 4)]


def test_a_viewer_who_missed_too_much_begins_anew(hub: Hub) -> None:
    _, stream = entered(hub)
    next(stream)
    decision, crop = fake_line.decision_at(4, 60.0)
    for n in range(LOGGED + 1):
        hub.add_decision({**asdict(decision), "item_id": n}, crop)
    ((name, everything),) = events_of(stream)
    assert name == "hello"
    assert len(everything["decisions"]) == KEPT_DECISIONS
    tell(hub, 500)
    assert [name for name, _ in events_of(stream)] == ["decision"]


def test_silence_is_broken_by_a_comment_so_that_a_viewer_who_left_is_noticed(hub: Hub) -> None:
    _, stream = entered(hub)
    next(stream)
    assert next(stream) == b": still here\n\n"


def test_so_many_viewers_and_no_more_and_a_place_is_free_again_when_one_leaves(hub: Hub) -> None:
    viewers = [hub.view() for _ in range(MAX_VIEWERS)]
    with pytest.raises(TooManyViewers):
        hub.view()
    viewers[0].close()
    viewers[0].close()
    assert hub.viewers == MAX_VIEWERS - 1
    hub.view().close()


def test_the_line_is_asked_for_pictures_while_somebody_watches(hub: Hub, told: list[dict[str, Any]]) -> None:
    first, second = hub.view(), hub.view()
    assert told == [{"kind": "want_picture", "on": True}]
    first.close()
    second.close()
    assert told[1:] == [{"kind": "want_picture", "on": False}]


def test_one_who_asks_for_a_single_picture_gets_a_fresh_one(hub: Hub, told: list[dict[str, Any]]) -> None:
    answer: list[Any] = []
    asker = threading.Thread(target=lambda: answer.append(hub.jpeg(20)))
    asker.start()
    while not told:
        pass
    show(hub, 3)
    asker.join(20)
    assert told == [{"kind": "want_picture", "on": True}]
    about, jpeg = answer[0]
    assert (about["seq"], jpeg[:3]) == (3, b"\xff\xd8\xff")


def test_a_picture_is_encoded_once_for_all(hub: Hub) -> None:
    show(hub, 3)
    first, second = hub.jpeg(), hub.jpeg()
    assert first is second
    show(hub, 4)
    third = hub.jpeg()
    assert third is not None
    assert third[0]["seq"] == 4


def test_closing_lets_every_viewer_go(hub: Hub) -> None:
    _, stream = entered(hub)
    next(stream)
    hub.close()
    assert list(stream) == []


def test_clearing_an_incident_clears_those_of_its_name_before_it_for_all(hub: Hub, told: list[dict[str, Any]]) -> None:
    for number, name in ((6, "camera_lost"), (7, "output_failed"), (9, "camera_lost"), (10, "camera_lost")):
        hub.add_incident({**asdict(fake_line.INCIDENT), "number": number, "name": name})
    assert hub.clear_incident(9)
    assert not hub.clear_incident(8)
    cleared = [incident["number"] for incident in hub.everything()["incidents"] if incident.get("cleared")]
    assert cleared == [6, 9]
    assert told == [{"kind": "command", "command": {"command": "clear_incident", "number": 9, "name": "camera_lost"}}]


def test_a_message_of_a_later_version_is_left_alone(hub: Hub) -> None:
    hub.receive({"kind": "weather", "sun": True}, bytearray())
