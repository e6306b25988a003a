"""The webhook output: POSTs the Decision's JSON to an HTTP server, at the push or as soon as it is made."""

import base64
import binascii
import hashlib
import hmac
import re
import time
import uuid
from http import HTTPStatus
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from edge.camera import redacted
from edge.decisions import decision_as_json
from edge.errors import ConfigError, OutputError
from edge.files import read_secret
from edge.hosts import can_be_host, is_loopback_name, misspelt
from edge.http_client import HttpClient
from edge.outputs import Output, OutputSettings
from edge.records import Actuation, Decision
from edge.tls import misused, tls_of

# Standard Webhooks, section "Signature scheme": the key has 24 to 64 bytes, written whsec_ and base64.
SECRET_PREFIX, LEAST_KEY, LONGEST_KEY = "whsec_", 24, 64
SECRET_KEY = re.compile(r"(?i)(user|login|pass|pwd|token|secret|auth|key|sig)\w*=")
"""A key of an address's query whose value may be one."""
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
NOT_THERE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
# What a server that takes POST may well answer to OPTIONS.
NO_OPTIONS = {HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.BAD_REQUEST}


class WebhookSettings(OutputSettings):
    """timeout_ms is the limit on the whole call. token_file is sent as a bearer token; secret_file signs the body."""

    url: str
    timeout_ms: float = Field(default=500.0, gt=0, le=10_000)
    token_file: Path | None = None
    secret_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _can_be_called(self) -> "WebhookSettings":
        # Said by the whole table: a sentence about one key shows its value, and an address may hold a password.
        if wrong := _wrong_with(self.url):
            raise ValueError(f"url {wrong}")
        if wrong := misused(self, "" if self.url.lower().startswith("https:") else "with http: write https in url"):
            raise ValueError(wrong)
        return self

    def in_the_clear(self) -> str:
        parts = urlsplit(self.url)
        host = parts.hostname or ""
        if parts.scheme == "https" or is_loopback_name(host):
            return ""
        if self.token_file:
            return f"token_file: the token goes to {host} unencrypted: write https in url"
        if SECRET_KEY.search(parts.query):
            return f"url: what its query holds goes to {host} unencrypted: write https"
        return ""


class Webhook(Output):
    """Tells an HTTP server of a decision; 2xx is success, all else an OutputError.

    The constructor reads the secrets and connects to nothing: a line starts before the server that it tells.
    """

    Settings = WebhookSettings
    settings: WebhookSettings

    def __init__(self, name: str, settings: OutputSettings) -> None:
        super().__init__(name, settings)
        key, own = f"outputs.{name}", self.settings
        self._shown = redacted(own.url)
        self._headers = {"Content-Type": "application/json", "User-Agent": "sortline"}
        if own.token_file:
            token = read_secret(own.token_file, f"{key}.token_file").strip()
            if not token.isascii() or " " in token:
                raise ConfigError(f"{key}.token_file {own.token_file}: a token has letters and digits and no spaces")
            self._headers["Authorization"] = f"Bearer {token}"
        self._signing_key = _signing_key(own.secret_file, f"{key}.secret_file") if own.secret_file else None
        # Items are counted from 1 in every run, and two lines may start in the same second.
        self._run = uuid.uuid4().hex
        tls = tls_of(own, key) if own.url.lower().startswith("https:") else None
        self._client = HttpClient(own.url, tls)

    def fire(self, actuation: Actuation) -> None:
        if self.settings.on == "fire":
            self._post(actuation.decision, actuation.within_s)

    def decided(self, decision: Decision) -> None:
        self._post(decision, inf)

    def check(self) -> str:
        """Asks with OPTIONS, which changes nothing; what a server says to a POST only a POST shows."""
        status, headers = self._ask("OPTIONS", {}, None, inf)
        ok = 200 <= status < 300
        if not (ok or status in NO_OPTIONS):
            raise OutputError(f"OPTIONS {self._shown}: {_refusal(status)}")
        methods = {word.strip().upper() for word in headers.get("allow", "").split(",")} - {""}
        if methods and "POST" not in methods:
            raise OutputError(f"OPTIONS {self._shown}: it takes no POST; see whether url is the address that is meant")
        return f"{self._shown} answers"

    def close(self) -> None:
        self._client.close()

    def _post(self, decision: Decision, leave_s: float) -> None:
        body = decision_as_json(decision, self.about)
        repeats = f"{self._run}-{decision.item_id}"
        # draft-ietf-httpapi-idempotency-key-header: a string of RFC 8941, in quotes.
        headers = {"Idempotency-Key": f'"{repeats}"', **self._signed(repeats, body)}
        status, _ = self._ask("POST", headers, body, leave_s)
        if not 200 <= status < 300:
            raise OutputError(f"POST {self._shown}: {_refusal(status)}")

    def _ask(
        self, method: str, headers: dict[str, str], body: bytes | None, leave_s: float
    ) -> tuple[int, dict[str, str]]:
        timeout_s = self.settings.timeout_ms / 1e3
        try:
            answer = self._client.ask(method, {**self._headers, **headers}, body, timeout_s, leave_s)
        except OutputError as error:
            raise OutputError(f"{method} {self._shown}: {error}") from None
        return answer.status, dict(answer.headers)

    def _signed(self, message: str, body: bytes) -> dict[str, str]:
        """The three headers of Standard Webhooks 1.0.0 (standardwebhooks.com), which has libraries that verify them."""
        if self._signing_key is None:
            return {}
        # The world's clock: the other machine tells by it that a message is not an old one sent again.
        at = str(int(time.time()))
        digest = hmac.digest(self._signing_key, f"{message}.{at}.".encode() + body, hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        return {"webhook-id": message, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}


def _wrong_with(url: str) -> str:
    """What keeps an address from being called, without showing it; empty when nothing does."""
    if not url.isascii() or not url.isprintable() or " " in url:
        return "has a character that an address cannot have: write it as % and two digits"
    if said := misspelt(url):
        return said
    parts = urlsplit(url)
    for wrong, said in (
        (parts.scheme not in {"http", "https"}, "must begin with http:// or https://"),
        (
            not can_be_host(parts.hostname or "") or parts.port == 0,
            "names no machine: it is written http://machine:port/path",
        ),
        (
            "@" in parts.netloc,
            "must not hold a name or password: put a token into a file that token_file names",
        ),
        (bool(parts.fragment), "must not have a # in it"),
    ):
        if wrong:
            return said
    return ""


def _refusal(status: int) -> str:
    """What a status other than success means; in our own words, not in the server's."""
    try:
        phrase = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = str(status)
    if 300 <= status < 400:
        return f"{phrase}: it sends the caller elsewhere, which is not followed; write the address itself in url"
    if status in REFUSED:
        return f"{phrase}: see whether token_file holds the token that it asks for"
    if status in NOT_THERE:
        return f"{phrase}: see whether url is the address that is meant"
    return phrase


def _signing_key(path: Path, key: str) -> bytes:
    text = read_secret(path, key).strip()
    try:
        found = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not text.startswith(SECRET_PREFIX) or not LEAST_KEY <= len(found) <= LONGEST_KEY:
        raise ConfigError(
            f"{key} {path}: needs {SECRET_PREFIX} and {LEAST_KEY} to {LONGEST_KEY} bytes as base64, "
            f'for example from `echo "{SECRET_PREFIX}$(openssl rand -base64 32)"`'
        )
    return found
