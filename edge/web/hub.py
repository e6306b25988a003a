"""What the web side knows of its line: facts, the newest state and picture, the last decisions and incidents.

One thread writes (the channel's), many read. What a viewer is sent is made once, here, and shared by
all viewers: a viewer costs a thread that sleeps, not work.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np

from edge.web.channel import Message, to_json

MAX_VIEWERS = 16
KEPT_DECISIONS = 60
KEPT_INCIDENTS = 50
LOGGED = 2 * KEPT_DECISIONS + KEPT_INCIDENTS  # events that a viewer may have missed and is still told one by one
STALE_S = 2.0  # a state older than this says nothing about the line
CROP_SIDE = 128
SEND_EVERY_S = 0.08  # a viewer is sent at most so often; what happened in between comes in one piece
STILL_ALIVE_S = 5.0
FRESH_S = 0.5
PICTURE_WANTED_S = 3.0  # after somebody asked for a picture without watching the page
JPEG_QUALITY = 82
LEARNING_QUALITY = 95  # of crops that somebody may train with


class TooManyViewers(Exception):
    """The page is open in as many places as it is served to."""


class Seen(NamedTuple):
    """How far a viewer is: how many log entries, states and pictures there were when it last looked."""

    logged: int
    states: int
    pictures: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One of the last decisions, as JSON holds it: with it a small JPEG for the page and one to learn from."""

    decision: dict[str, Any]
    thumbnail: bytes | None = None
    crop: bytes | None = None


class Viewer:
    """Server-sent events for one viewer, an iterator of bytes; `close` it when the viewer has gone.

    They begin with `hello`, which holds everything; then come `state`, `decision`, `ending`, `check`,
    `incident` and `picture`. A viewer who is slow gets the newest state and picture, and a new `hello` in place of
    what was missed, so nothing piles up for it.
    """

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._seen: Seen | None = None
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        yield b"retry: 1000\n\n"
        while (news := self._hub.next_events(self._seen, STILL_ALIVE_S)) is not None:
            data, self._seen = news
            yield data or b": still here\n\n"
            time.sleep(SEND_EVERY_S)

    def close(self) -> None:
        """Makes room for another viewer; may be called twice."""
        if self._open:
            self._open = False
            self._hub.leave()


class Hub:
    """The meeting point of the line's messages and the people who watch. All methods are thread-safe.

    send takes messages to the line; it must not raise. on_decision is called, in the thread that writes,
    with each decision that comes for the first time and its crop; it must not raise either, nor wait.
    """

    def __init__(
        self,
        send: Callable[[Message], None] = lambda message: None,
        on_decision: Callable[[Kept, np.ndarray], None] = lambda kept, crop: None,
    ) -> None:
        self._send, self._on_decision = send, on_decision
        self._changed = threading.Condition()
        self._closed = False
        self.facts: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self._state_at = -float("inf")
        self._decisions: OrderedDict[int, Kept] = OrderedDict()
        self._incidents: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._log: deque[bytes] = deque(maxlen=LOGGED)
        self._logged = 0
        self._state_event = self._picture_event = b""
        self._states = self._pictures = 0
        self._picture: tuple[dict[str, Any], np.ndarray] | None = None
        self._picture_at = -float("inf")
        self._jpeg: tuple[dict[str, Any], bytes] | None = None
        self._encoding = threading.Lock()
        self._viewers = 0
        self._asked_at = -float("inf")
        self._wanted = False

    # What comes from the line.

    def receive(self, message: Message, payload: bytearray) -> None:
        """Takes one message of the line; kinds that this version does not know are left alone."""
        pixels = None
        if "size" in message:
            width, height = message["size"]
            pixels = np.frombuffer(payload, np.uint8).reshape(height, width, 3)
        match message["kind"]:
            case "state":
                self.set_state(message["state"])
            case "decision":
                self.add_decision(message["decision"], pixels)
            case "ending":
                self.add_ending(message["ending"])
            case "incident":
                self.add_incident(message["incident"])
            case "picture" if pixels is not None:
                self.set_picture(message, pixels)
            case "ping":
                self._send({"kind": "alive"})
                self._want_picture_or_not()

    def set_facts(self, facts: dict[str, Any]) -> None:
        """What never changes while the line runs."""
        self.facts = facts

    def set_state(self, state: dict[str, Any]) -> None:
        """A new snapshot of the line."""
        with self._changed:
            self.state, self._state_at = state, time.monotonic()
            self._state_event = _event("state", state)
            self._states += 1
            self._changed.notify_all()

    def add_decision(self, decision: dict[str, Any], crop: np.ndarray | None) -> None:
        """A decision and the crop that shows its item, uint8 [h, w, 3] BGR."""
        decision = {**decision, "crop": crop is not None}
        kept = Kept(decision) if crop is None else Kept(decision, _thumbnail(crop), _jpeg(crop, LEARNING_QUALITY))
        with self._changed:
            self._decisions[decision["item_id"]] = kept
            while len(self._decisions) > KEPT_DECISIONS:
                self._decisions.popitem(last=False)
            self._append(_event("decision", decision))
        if crop is not None:
            self._on_decision(kept, crop)

    def add_ending(self, ending: dict[str, Any]) -> None:
        """How an item's life has ended, with its whole deadline ledger."""
        self._change(ending["item_id"], "ending", {key: ending[key] for key in ("outcome", "spent_s")})

    def check(self, item_id: int, label: str | None) -> None:
        """A person has said what an item is; None is none of the model's classes."""
        self._change(item_id, "check", {"checked": {"label": label}})

    def add_incident(self, incident: dict[str, Any]) -> None:
        """An incident; its number tells it from all others."""
        with self._changed:
            self._incidents[incident["number"]] = incident
            while len(self._incidents) > KEPT_INCIDENTS:
                self._incidents.popitem(last=False)
            self._append(_event("incident", incident))

    def set_picture(self, about: dict[str, Any], pixels: np.ndarray) -> None:
        """The newest picture, uint8 [h, w, 3] BGR, and what is seen in it."""
        with self._changed:
            shown = {key: about[key] for key in ("seq", "position_mm", "full", "items")}
            self._picture, self._picture_at = (shown, pixels), time.monotonic()
            self._picture_event = _event("picture", shown)
            self._pictures += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Lets every viewer go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # What goes to the line.

    def command(self, command: dict[str, Any]) -> None:
        """Hands a person's command to the line."""
        self._send({"kind": "command", "command": command})

    def clear_incident(self, number: int) -> bool:
        """Marks an incident, and those of its name before it, as seen to; False when it is not known (any more)."""
        with self._changed:
            if number not in self._incidents:
                return False
            name = self._incidents[number]["name"]
            for earlier, incident in self._incidents.items():
                if incident["name"] == name and earlier <= number and not incident.get("cleared"):
                    cleared = self._incidents[earlier] = {**incident, "cleared": True}
                    self._append(_event("incident", cleared))
        self.command({"command": "clear_incident", "number": number, "name": name})
        return True

    # What goes to the people.

    def state_age_s(self) -> float:
        """Seconds since the line was last heard of; infinite before the first time."""
        return time.monotonic() - self._state_at

    @property
    def viewers(self) -> int:
        return self._viewers

    def everything(self) -> dict[str, Any]:
        """All that a page needs to begin with."""
        with self._changed:
            return self._everything()

    def kept(self, item_id: int) -> Kept | None:
        """A decided item, while it is among the last ones."""
        with self._changed:
            return self._decisions.get(item_id)

    def jpeg(self, wait_s: float = 0.0) -> tuple[dict[str, Any], bytes] | None:
        """The newest picture: what is seen in it, and its JPEG, encoded once however many ask.

        Waits for a fresh one; None when there never was one.
        """
        with self._changed:
            self._asked_at = time.monotonic()
        self._want_picture_or_not()
        with self._changed:
            before = self._pictures
            if time.monotonic() - self._picture_at > FRESH_S:
                self._changed.wait_for(lambda: self._pictures > before or self._closed, wait_s)
            picture = self._picture
        if picture is None:
            return None
        with self._encoding:
            if self._jpeg is None or self._jpeg[0] is not picture[0]:
                self._jpeg = (picture[0], _jpeg(picture[1]))
            return self._jpeg

    def view(self) -> "Viewer":
        """Lets one more viewer in; raises TooManyViewers."""
        with self._changed:
            if self._viewers >= MAX_VIEWERS:
                raise TooManyViewers
            self._viewers += 1
        self._want_picture_or_not()
        return Viewer(self)

    def leave(self) -> None:
        """One viewer has gone; Viewer.close calls this."""
        with self._changed:
            self._viewers -= 1
        self._want_picture_or_not()

    def next_events(self, seen: "Seen | None", timeout_s: float) -> tuple[bytes, "Seen"] | None:
        """What a viewer who has seen so much has not seen yet, waiting for it; None once the hub is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._now() != seen, timeout_s)
            if self._closed:
                return None
            now, parts = self._now(), []
            if seen is None or now.logged - seen.logged > len(self._log):
                parts.append(_event("hello", self._everything()))
            else:
                missed = now.logged - seen.logged
                parts += list(self._log)[len(self._log) - missed :]
                parts += [self._state_event] if now.states != seen.states else []
            if now.pictures != (seen.pictures if seen else 0):
                parts.append(self._picture_event)
            return b"".join(parts), now

    def _now(self) -> "Seen":
        return Seen(self._logged, self._states, self._pictures)

    def _everything(self) -> dict[str, Any]:
        return {
            "facts": self.facts,
            "state": self.state,
            "decisions": [kept.decision for kept in self._decisions.values()],
            "incidents": list(self._incidents.values()),
        }

    def _change(self, item_id: int, what: str, more: dict[str, Any]) -> None:
        """Something became known of an item that was decided before."""
        with self._changed:
            if kept := self._decisions.get(item_id):
                self._decisions[item_id] = Kept({**kept.decision, **more}, kept.thumbnail, kept.crop)
                self._append(_event(what, {"item_id": item_id, **more}))

    def _append(self, event: bytes) -> None:
        self._log.append(event)
        self._logged += 1
        self._changed.notify_all()

    def _wanted_now(self) -> bool:
        return self._viewers > 0 or time.monotonic() - self._asked_at < PICTURE_WANTED_S

    def _want_picture_or_not(self) -> None:
        """Tells the line when pictures begin, or cease, to be wanted."""
        with self._changed:
            wanted = self._wanted_now()
            if wanted == self._wanted:
                return
            self._wanted = wanted
        self._send({"kind": "want_picture", "on": wanted})


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), to_json(data))


def _jpeg(pixels: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def _thumbnail(crop: np.ndarray) -> bytes:
    height, width = crop.shape[:2]
    scale = CROP_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    return _jpeg(crop)
