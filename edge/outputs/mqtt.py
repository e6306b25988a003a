"""The mqtt output: publishes the Decision's JSON, at the push or as soon as it is made, and whether the line lives."""

import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from edge.decisions import decision_as_json
from edge.errors import OutputError
from edge.files import read_secret
from edge.hosts import Host, is_loopback_name
from edge.mqtt import Address, Message, MqttLink
from edge.outputs import Output, OutputSettings, Report
from edge.plain import is_unseen
from edge.records import Actuation, Decision
from edge.tls import misused, tls_of

WAITING = 1000  # decisions that may wait for the broker
CLOSE_S = 0.4  # so long they are waited for at the end; a line waits a little longer for all its outputs together
LONGEST = 65_535  # bytes of a text (MQTT 3.1.1, 1.5.3)


class MqttSettings(OutputSettings):
    """port is 1883 unless given, 8883 with tls. status_topic is the topic with /status behind it unless given."""

    host: Host = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    topic: str
    qos: Literal[0, 1] = 1
    timeout_ms: float = Field(default=500.0, gt=0, le=10_000)
    username: str | None = None
    password_file: Path | None = None
    tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    client_id: str | None = Field(default=None, min_length=1, max_length=1000)
    status_topic: str | None = None

    @field_validator("topic", "status_topic")
    @classmethod
    def _can_be_published_to(cls, topic: str | None) -> str | None:
        if topic is None:
            return None
        for wrong, said in (
            (not topic, "must not be empty"),
            ("+" in topic or "#" in topic, "must not have + or # in it: those are for who listens"),
            (topic.startswith("$"), "must not begin with $: such topics are the broker's own"),
            (any(map(is_unseen, topic)), "must not have a character in it that cannot be seen"),
            (len(topic.encode()) > LONGEST - len("/status"), "is too long for a topic"),
        ):
            if wrong:
                raise ValueError(said)
        return topic

    @model_validator(mode="after")
    def _possible(self) -> "MqttSettings":
        if self.password_file and self.username is None:
            raise ValueError("password_file needs username")
        if self.status_topic == self.topic:
            raise ValueError("status_topic must not be the topic of decisions: each needs one of its own")
        if wrong := misused(self, "" if self.tls else "without TLS: set tls = true"):
            raise ValueError(wrong)
        return self

    def in_the_clear(self) -> str:
        if self.tls or self.password_file is None or is_loopback_name(self.host):
            return ""
        return f"password_file: the password goes to {self.host} unencrypted: set tls = true"


class Mqtt(Output):
    """Publishes to one topic. A push that cannot leave now is an OutputError and never leaves late; with
    on = "decision" up to WAITING messages wait for a broker that is away.

    A retained message at status_topic says `online` while the line runs and `offline` afterwards; the broker
    says that too when the line dies. The constructor connects to nothing: a line starts before its broker.
    """

    Settings = MqttSettings
    settings: MqttSettings
    left_so: ClassVar[str] = "the line ends"

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        key, own = f"outputs.{name}", self.settings
        timeout_s = own.timeout_ms / 1e3
        password = read_secret(own.password_file, f"{key}.password_file") if own.password_file else None
        tls = tls_of(own, key) if own.tls else None
        status = own.status_topic or f"{own.topic}/status"
        self._link = MqttLink(
            Address(own.host, own.port or (8883 if own.tls else 1883), timeout_s, own.username, password, tls),
            # 23 letters and digits at most: more a broker need not take (MQTT 3.1.1, 3.1.3.1).
            own.client_id or f"sortline{uuid.uuid4().hex[:12]}",
            Message(status, b"online", 1, retain=True),
            Message(status, b"offline", 1, retain=True),
            WAITING,
            f"{key}.type",
        )  # fmt: skip
        self._link.on_change = self._changed
        self._telling, self._why = threading.Lock(), ""
        self._report: Report | None = None

    def begin(self, about: Mapping[str, str]) -> None:
        super().begin(about)
        self._link.start()

    def fire(self, actuation: Actuation) -> None:
        if self.settings.on == "fire":
            within_s = self.settings.timeout_ms / 1e3
            if self.settings.qos == 0:  # else it has left long before it is confirmed
                within_s = min(within_s, actuation.within_s)
            self._link.push(self._message(actuation.decision), within_s)

    def decided(self, decision: Decision) -> None:
        self._link.post(self._message(decision))

    def report_to(self, report: Report) -> None:
        with self._telling:
            self._report = report
            if self._why:
                self._tell()

    def check(self) -> str:
        """Connects under another name and publishes nothing: a line that runs is not put offline by it."""
        self._link.try_once()
        return f"{self._link.address} takes the connection, topic {self.settings.topic}"

    def close(self) -> None:
        if lost := self._link.close(CLOSE_S):
            were = "1 decision was" if lost == 1 else f"{lost} decisions were"
            raise OutputError(f"{self._link.address}: {were} not published before the line ended")

    def _changed(self, why: str) -> None:
        """In the link's thread: the connection is there, or why it is not, again and again."""
        with self._telling:
            before, self._why = self._why, why
            if before != why:
                self._tell()

    def _tell(self) -> None:
        if self._report is None:
            return
        if self._why:
            action = "what is decided waits" if self.settings.on == "decision" else "nothing is sent until it is"
            cause = f"{self._link.address}: {self._why}"
            self._report("output_unreachable", cause, f"tried again until it is reached; {action}")
        else:
            cause = f"{self._link.address} is reached again"
            self._report("output_unreachable", cause, "messages are sent again", recovered=True)

    def _message(self, decision: Decision) -> Message:
        return Message(self.settings.topic, decision_as_json(decision, self.about), self.settings.qos)
