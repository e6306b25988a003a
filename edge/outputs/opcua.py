"""The opcua output: a diverter on a Boolean node of an OPC UA server (a PLC)."""

from math import inf
from pathlib import Path
from time import monotonic
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from edge.errors import OutputError
from edge.files import read_secret
from edge.hosts import can_be_host, is_loopback_name, misspelt
from edge.opcua import Node, OpcuaNode, is_node_id
from edge.outputs import OutputSettings
from edge.pulse import PulsedOutput


class OpcuaSettings(OutputSettings):
    """node is a NodeId as OPC UA writes it, ns=4;s=MAIN.good_gate. reset_by and must_answer are those of modbus.

    connect_timeout_ms is for a session, which many a PLC makes in seconds; no push waits for one that long.
    With certificate_file and key_file everything is signed and encrypted (Basic256Sha256), with a server whose
    certificate is the one of server_certificate_file, or the one that it shows.
    """

    url: str
    node: str
    timeout_ms: float = Field(default=250.0, gt=0, le=10_000)
    connect_timeout_ms: float = Field(default=3000.0, gt=0, le=60_000)
    username: str | None = None
    password_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    server_certificate_file: Path | None = None
    reset_by: Literal["line", "plc"] = "line"
    must_answer: bool = True

    @field_validator("node")
    @classmethod
    def _is_a_node_id(cls, node: str) -> str:
        if not is_node_id(node):
            raise ValueError("must be a NodeId, as ns=4;s=MAIN.good_gate or ns=2;i=1042")
        return node

    @model_validator(mode="after")
    def _possible(self) -> "OpcuaSettings":
        # Said by the whole table: a sentence about one key shows its value, and an address may hold a password.
        if wrong := _wrong_with(self.url):
            raise ValueError(f"url {wrong}")
        for key, needs in (
            ("password_file", "username"), ("certificate_file", "key_file"), ("key_file", "certificate_file"),
            ("server_certificate_file", "certificate_file"),
        ):  # fmt: skip
            if getattr(self, key) is not None and getattr(self, needs) is None:
                raise ValueError(f"{key} needs {needs}")
        return self

    def in_the_clear(self) -> str:
        host = urlsplit(self.url).hostname or ""
        if self.certificate_file or self.password_file is None or is_loopback_name(host):
            return ""
        # What its endpoints say of passwords is heard only when it is reached (OPC 10000-4, UserNameIdentityToken).
        return (
            f"password_file: the password goes to {host} unencrypted, unless the server itself asks for more: "
            "name certificate_file and key_file"
        )


class Opcua(PulsedOutput):
    """Writes true for a push and false behind it. Each is answered within timeout_ms, or has failed."""

    Settings = OpcuaSettings
    settings: OpcuaSettings
    connects: ClassVar[bool] = True

    def __init__(self, name: str, settings: OutputSettings) -> None:
        assert isinstance(settings, OpcuaSettings)
        own, key = settings, f"outputs.{name}"
        password = read_secret(own.password_file, f"{key}.password_file") if own.password_file else None
        self._node = OpcuaNode(
            Node(
                own.url, own.node, own.username, password, own.certificate_file, own.key_file,
                own.server_certificate_file,
            ),
            f"{key}.type",
        )  # fmt: skip
        super().__init__(
            name, settings,
            answer_s=own.timeout_ms / 1e3,
            brings_back=own.reset_by == "line",
            alive_s=inf,
            must_answer=own.must_answer,
        )  # fmt: skip

    @property
    def called(self) -> str:
        return str(self._node.node)

    def check(self) -> str:
        answer_s = self.settings.timeout_ms / 1e3
        begun = monotonic()
        out = self._asked(lambda: self._node.read(answer_s))
        took_ms = (monotonic() - begun) * 1e3
        if not self._asked(lambda: self._node.may_write(answer_s)):
            raise OutputError(f"{self.called}: the server does not let this user write it")
        return f"{self.called} is {'true (out)' if out else 'false (at rest)'}, answered in {took_ms:.1f} ms"

    def _set_out(self, until: float) -> None:
        self._write(True, until)

    def _set_back(self, until: float) -> None:
        self._write(False, until)

    def _write(self, value: bool, until: float) -> None:
        self._node.write(value, max(until - monotonic(), 0.0))

    def _at_rest(self) -> bool:
        return not self._node.read(self.settings.connect_timeout_ms / 1e3)

    def _is_lost(self) -> bool:
        return self._node.lost()

    def _wake(self) -> None:
        self._node.wake()

    def _let_go(self) -> None:
        self._node.close()


def _wrong_with(url: str) -> str:
    """What keeps an address from being a server's, without showing it; empty when nothing does."""
    if said := misspelt(url):
        return said
    parts = urlsplit(url)
    if parts.scheme != "opc.tcp":
        return "must begin with opc.tcp://"
    if not can_be_host(parts.hostname or "") or parts.port == 0 or any(map(str.isspace, url)):
        return "names no machine: it is written opc.tcp://machine:4840"
    if "@" in parts.netloc:
        return "must not hold a name or password: username and password_file are keys of their own"
    return ""
