"""The line's end of its web side: starts the process, feeds it without ever waiting for it, keeps it alive."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.config import LineConfig
from edge.records import Decision, Frame, Incident, Outcome
from edge.web.channel import Channel, ChannelClosed, Message
from edge.web.listen import listen, port_of, token_for, url_of

MAX_PICTURE_WIDTH = 960
PICTURES_PER_S = 10.0
MAX_WAITING = 256  # events; beyond it the oldest is dropped and counted
KEPT_EVENTS = 120  # told again to a web side that was started again, so its page does not come back empty
MAX_CROP_SIDE = 224  # a crop twice that and larger is thinned out: no model takes more
PING_S = 1.0
SILENCE_S = 5.0  # a web side that has not said a word for this long, not even to a ping, hangs
START_S = 20.0  # so long it may take to say its first word: it loads its model before
RESTARTS, WINDOW_S = 5, 60.0  # so many restarts in so many seconds, then it stays down
BACKOFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
EXIT_S = 1.0  # more than the web side takes to answer what it has been asked


@dataclass(slots=True)
class _Event:
    """A decision, an ending or an incident on its way to the page; it is written out by the sender, not by the line."""

    kind: str
    record: Decision | Incident | None
    pixels: np.ndarray | None = None
    more: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    wall: float = field(default_factory=time.time)  # for the reader of the page; nothing is computed from it

    def message(self) -> Message:
        about = asdict(self.record) if self.record else {}
        return {"kind": self.kind, self.kind: {**about, **self.more, "number": self.number, "wall": self.wall}}


class WebSide:
    """The process that serves the page and /predict, seen from the line.

    The constructor binds the address and raises WebError when it cannot; `start` starts the process.
    No method waits for the web side: the state and the picture are slots in which the newest wins,
    decisions and incidents a bounded queue that drops its oldest (`dropped` counts them). When the
    process dies or hangs the line goes on; it is started again, on the same port, RESTARTS times in
    WINDOW_S seconds, and each death is an incident: `web_stuck` when it hung, else `web_died`.

    facts never change while the line runs and are sent first. on_command is called, on a thread of
    this object, with each command that a person gave on the page; on_incident with each of those incidents.
    """

    def __init__(
        self,
        config: LineConfig,
        facts: dict[str, Any],
        on_command: Callable[[dict[str, Any]], None],
        on_incident: Callable[[Incident], None] | None = None,
    ) -> None:
        self._socket = listen(config.web)
        try:
            token = token_for(config.web, self._socket)
        except BaseException:
            self._socket.close()
            raise
        self.port, self.url = port_of(self._socket), url_of(self._socket)
        self.wants_picture = False
        self.dropped = 0
        self._hello: Message = {"kind": "facts", "facts": facts, "config": _for_web(config), "token": token}
        self._on_command = on_command
        self._on_incident = on_incident
        self._changed = threading.Condition()
        self._events: deque[_Event] = deque()
        self._kept: deque[_Event] = deque(maxlen=KEPT_EVENTS)
        self._state: dict[str, Any] | None = None
        self._state_waits = False
        self._picture: tuple[Frame, list[dict[str, Any]]] | None = None
        self._next_picture = 0.0
        self._told = 0
        self._channel: Channel | None = None
        self._stopping, self._line_ends = threading.Event(), threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="web-supervisor", daemon=True)

    def start(self) -> None:
        """Starts the process and the two threads that serve it; returns at once."""
        self._supervisor.start()

    def line_ends(self) -> None:
        """The line begins to end, which an output that hangs may draw out: what ends here now is not started again."""
        self._line_ends.set()

    def stop(self) -> None:
        """Ends the process and the threads, in little more than a second; may be called twice, or without `start`."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
            if self._channel is not None:
                self._channel.shutdown()
        if self._supervisor.ident is not None:
            self._supervisor.join()
        self._socket.close()

    def state(self, snapshot: dict[str, Any]) -> None:
        """Shows a new snapshot of the line; one that was not sent yet is replaced."""
        with self._changed:
            self._state, self._state_waits = snapshot, True
            self._changed.notify_all()

    def decided(self, decision: Decision, crop: np.ndarray | None, spent_s: dict[str, float] | None = None) -> None:
        """Shows a decision and the item's best crop, uint8 [h, w, 3] BGR, which is copied small.

        spent_s is the item's deadline ledger so far: seconds by stage, and its margin.
        """
        if crop is not None:
            step = max(max(crop.shape[:2]) // MAX_CROP_SIDE, 1)
            crop = np.array(crop[::step, ::step], order="C")  # a copy: a crop is a view that holds a whole frame
        self._tell(_Event("decision", decision, crop, {"spent_s": dict(spent_s or {})}))

    def ended(self, item_id: int, outcome: Outcome, spent_s: dict[str, float] | None = None) -> None:
        """Shows how an item's life on the belt has ended, with its whole deadline ledger."""
        more = {"item_id": item_id, "outcome": outcome, "spent_s": dict(spent_s or {})}
        self._tell(_Event("ending", None, None, more))

    def incident(self, incident: Incident) -> None:
        """Shows an incident."""
        self._tell(_Event("incident", incident))

    def picture(self, frame: Frame, items: Sequence[dict[str, Any]]) -> None:
        """Offers a frame and what is seen in it; taken only when somebody watches and one is due."""
        now = time.monotonic()
        if not self.wants_picture or now < self._next_picture:
            return
        period = 1 / PICTURES_PER_S
        self._next_picture = max(self._next_picture + period, now - period)
        with self._changed:
            self._picture = (frame, list(items))
            self._changed.notify_all()

    def _tell(self, event: "_Event") -> None:
        with self._changed:
            if len(self._events) >= MAX_WAITING:
                self._events.popleft()
                self.dropped += 1
            self._told += 1
            event.number = self._told
            self._events.append(event)
            self._changed.notify_all()

    # The supervisor's thread: one life of the process after the other.

    def _supervise(self) -> None:
        deaths: deque[float] = deque()
        while not self._stopping.is_set():
            name, cause = self._one_life()
            # A process manager may end both processes at once: then this line is about to stop too.
            backoff_s = BACKOFF_S[min(len(deaths), len(BACKOFF_S) - 1)]
            if self._line_ends.is_set() or self._stopping.wait(backoff_s) or self._line_ends.is_set():
                return
            now = time.monotonic()
            deaths.append(now)
            while deaths and now - deaths[0] > WINDOW_S:
                deaths.popleft()
            gives_up = len(deaths) > RESTARTS
            self._report(name, cause, "it stays down" if gives_up else "it is started again")
            if gives_up:
                self._socket.close()
                return

    def _one_life(self) -> tuple[str, str]:
        """Starts the process, serves it until it ends; the incident that its end is, and its cause."""
        ours, theirs = socket.socketpair()
        try:
            process = self._spawn(theirs)
        except OSError as error:
            ours.close()
            return "web_died", f"the web side could not be started ({error.strerror})"
        finally:
            theirs.close()
        channel = Channel(ours)
        with self._changed:
            self._channel = channel
            if self._stopping.is_set():
                channel.shutdown()
        sender = threading.Thread(target=self._send, args=(channel,), name="web-sender", daemon=True)
        sender.start()
        hung = self._receive(channel)
        channel.shutdown()
        with self._changed:
            self._channel, self.wants_picture, self._picture = None, False, None
            self._changed.notify_all()
        sender.join()
        channel.close()
        cause = _end(process, hung)
        return "web_stuck" if hung else "web_died", cause

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        listening, channel = self._socket.fileno(), theirs.fileno()
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # -P: nothing that lies in the working directory can take a module's place.
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "edge.web", str(listening), str(channel)],
            pass_fds=(listening, channel),
            # glibc gives threads memory pools of their own, which kept 40 MB for nothing (measured at 8 clients).
            env={**os.environ, "PYTHONPATH": path, "MALLOC_ARENA_MAX": "2"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def _receive(self, channel: Channel) -> bool:
        """Handles what the web side says until it ends; True when it stopped talking instead."""
        silent_s, most_s = 0.0, START_S
        while True:
            try:
                message, _ = channel.receive(PING_S)
            except ChannelClosed:
                return False
            except TimeoutError:
                # Counted ping by ping: when both processes were held (Ctrl-Z), only one of them has gone by.
                silent_s += PING_S
                if silent_s >= most_s:
                    return True
                continue
            silent_s, most_s = 0.0, SILENCE_S
            if message.get("kind") == "want_picture":
                self.wants_picture = message["on"]
            elif message.get("kind") == "command":
                self._obey(message["command"])

    def _obey(self, command: dict[str, Any]) -> None:
        """Hands a command to the line; one that fails there must not end the supervisor's thread."""
        try:
            self._on_command(command)
        except Exception as error:
            name = command.get("command")
            self._report("web_command_failed", f"the command {name!r} failed: {error}", "the line goes on as it was")

    def _send(self, channel: Channel) -> None:
        """The sender's thread: hands everything that waits to one life of the process, in order of weight."""
        try:
            channel.send(self._hello)
            with self._changed:
                again = list(self._kept)
                self._state_waits = self._state is not None
            for event in again:
                _send_pixels(channel, event.message(), event.pixels)
            next_ping = 0.0
            while True:
                if (now := time.monotonic()) >= next_ping:
                    channel.send({"kind": "ping"})
                    next_ping = now + PING_S
                with self._changed:
                    self._changed.wait_for(lambda: self._something_waits(channel), PING_S)
                    if self._channel is not channel or self._stopping.is_set():
                        return
                    events, picture = list(self._events), self._picture
                    state = self._state if self._state_waits else None
                    self._events.clear()
                    self._kept.extend(events)
                    self._picture, self._state_waits = None, False
                for event in events:
                    _send_pixels(channel, event.message(), event.pixels)
                if state is not None:
                    channel.send({"kind": "state", "state": {**state, "web_dropped": self.dropped}})
                if picture is not None:
                    _send_picture(channel, *picture)
        except ChannelClosed:
            return  # the supervisor sees the same and says so

    def _something_waits(self, channel: Channel) -> bool:
        over = self._channel is not channel or self._stopping.is_set()
        return over or bool(self._events) or self._state_waits or self._picture is not None

    def _report(self, name: str, cause: str, action: str) -> None:
        if self._on_incident is not None:
            position_mm = float((self._state or {}).get("position_mm", 0.0))
            self._on_incident(Incident(name, "web", time.monotonic(), position_mm, cause, action))


def _for_web(config: LineConfig) -> dict[str, Any]:
    """What the web side may know of the configuration: no output's address, no camera's password."""
    shown = config.model_dump(mode="json", include={"model", "belt", "items", "decide", "lanes", "web", "journal"})
    for table, key in (("model", "path"), ("model", "shadow"), ("journal", "path"), ("journal", "pictures")):
        if shown[table][key] is not None:
            shown[table][key] = str(Path(shown[table][key]).resolve())
    return {**shown, "camera": {"source": "-"}}


def _end(process: subprocess.Popen[bytes], hung: bool) -> str:
    """Makes sure that a process has ended, and says how it did. One that does not hang ends with its channel."""
    if hung:
        process.kill()
    try:
        process.wait(EXIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if hung:
        return "the web side did not answer any more and was ended"
    if process.returncode < 0:
        return f"the web side was ended by signal {-process.returncode} ({signal.strsignal(-process.returncode)})"
    return f"the web side ended with status {process.returncode}"


def _send_pixels(channel: Channel, message: Message, pixels: np.ndarray | None) -> None:
    if pixels is None:
        channel.send(message)
        return
    height, width = pixels.shape[:2]
    channel.send({**message, "size": [width, height]}, pixels.data.cast("B"))


def _send_picture(channel: Channel, frame: Frame, items: list[dict[str, Any]]) -> None:
    """Sends a frame no wider than the page shows it. The frame itself is never written to, so nobody waits."""
    height, width = frame.pixels.shape[:2]
    pixels = frame.pixels
    if width > MAX_PICTURE_WIDTH:
        size = (MAX_PICTURE_WIDTH, max(round(height * MAX_PICTURE_WIDTH / width), 1))
        # Averages when it must skip pixels; up to a factor of two linear reads every pixel anyway.
        how = cv2.INTER_AREA if width > 2 * MAX_PICTURE_WIDTH else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, size, interpolation=how)
    message = {
        "kind": "picture",
        "seq": frame.seq,
        "position_mm": frame.position_mm,
        "full": [width, height],
        "items": items,
    }
    _send_pixels(channel, message, np.ascontiguousarray(pixels))
