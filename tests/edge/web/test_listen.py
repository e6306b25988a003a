"""The address that the web side serves: what may be opened, and what is said when it may not."""

import socket
from pathlib import Path
from typing import Any

import pytest

from edge.config import WebSettings
from edge.errors import WebError
from edge.web.listen import listen, port_of, token_for, url_of

TOKEN = "0123456789abcdef0123456789abcdef"


def opened(**keys: Any) -> socket.socket:
    return listen(WebSettings(**{"port": 0, **keys}))


def test_port_zero_takes_a_free_one() -> None:
    with opened() as sock:
        assert port_of(sock) > 0
        assert url_of(sock) == f"http://127.0.0.1:{port_of(sock)}/"


def test_a_port_in_use_is_named_with_the_mend() -> None:
    with opened() as first, pytest.raises(WebError) as caught:
        opened(port=port_of(first))
    assert str(caught.value) == (
        f"web.port {port_of_last(caught)} on 127.0.0.1 is in use by another program; "
        "choose another with --port or web.port"
    )


def port_of_last(caught: pytest.ExceptionInfo[WebError]) -> str:
    return str(caught.value).split()[1]


def test_a_port_can_be_taken_again_at_once_after_its_connections_closed() -> None:
    with opened() as first:
        port = port_of(first)
        with socket.create_connection(("127.0.0.1", port)):
            taken, _ = first.accept()
        taken.close()
    with opened(port=port) as second:
        assert port_of(second) == port


@pytest.mark.parametrize(
    ("host", "said"), [("no.such.host.invalid", "not an address"), ("192.0.2.1", "not an address")]
)
def test_a_host_that_is_not_here_is_named(host: str, said: str) -> None:
    with pytest.raises(WebError, match=f"web.host .*{host}.*{said}"):
        opened(host=host)


def test_strangers_are_let_in_only_with_a_token_or_on_purpose(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    with opened(host="0.0.0.0") as sock:
        with pytest.raises(WebError, match=r"other machines.*web.token_file.*web.insecure"):
            token_for(WebSettings(host="0.0.0.0"), sock)
        assert token_for(WebSettings(host="0.0.0.0", insecure=True), sock) is None
        assert token_for(WebSettings(host="0.0.0.0", token_file=file), sock) == TOKEN


@pytest.mark.parametrize("content", ["", "short", "a token with spaces in it", "naïve-naïve-naïve-naïve"])
def test_a_token_that_protects_nothing_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "token"
    file.write_text(content)
    with opened() as sock, pytest.raises(WebError, match=r"web.token_file"):
        token_for(WebSettings(token_file=file), sock)


def test_the_byte_order_mark_of_a_windows_editor_is_no_part_of_a_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\xef\xbb\xbf" + TOKEN.encode() + b"\r\n")
    with opened() as sock:
        assert token_for(WebSettings(token_file=file), sock) == TOKEN


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with opened() as sock, pytest.raises(WebError, match="no such file"):
        token_for(WebSettings(token_file=tmp_path / "none"), sock)
