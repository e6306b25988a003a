"""The web side's door to the network: binds its address, or says in one sentence why it cannot."""

import errno
import ipaddress
import socket

from edge.config import WebSettings
from edge.errors import ConfigError, WebError
from edge.files import read_secret

BACKLOG = 128
MIN_TOKEN = 16


def listen(web: WebSettings) -> socket.socket:
    """Binds and listens on [web] host and port; port 0 takes a free one. Raises WebError."""
    try:
        found = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise WebError(f"web.host {web.host!r} is not an address or a name that this machine knows") from None
    family, kind, protocol, _, address = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        # Linux lets a port in TIME_WAIT be taken again, but never one that another program listens on.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise WebError(_why(error, web)) from None
    return sock


def port_of(sock: socket.socket) -> int:
    """The TCP port that a socket listens on."""
    return int(sock.getsockname()[1])


def url_of(sock: socket.socket) -> str:
    """The address to type into a browser; an address that means "every interface" becomes this machine's name."""
    host = sock.getsockname()[0]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port_of(sock)}/" if ":" in host else f"http://{host}:{port_of(sock)}/"


def is_loopback(sock: socket.socket) -> bool:
    """Whether only programs on this machine can reach the socket."""
    return ipaddress.ip_address(sock.getsockname()[0]).is_loopback


def token_for(web: WebSettings, sock: socket.socket) -> str | None:
    """The bearer token that clients must show, or None for none.

    Raises WebError when the token file cannot be used, and when strangers could reach a line that asks
    for no token and the configuration does not say that this is meant.
    """
    if web.token_file is None:
        if not is_loopback(sock) and not web.insecure:
            raise WebError(
                f"web.host {web.host} can be reached from other machines, so web.token_file must name a file "
                "with a token; web.insecure = true serves everyone without one"
            )
        return None
    try:
        token = read_secret(web.token_file, "web.token_file").strip()
    except ConfigError as error:
        raise WebError(str(error)) from None
    if len(token) < MIN_TOKEN or not token.isascii() or " " in token:
        raise WebError(
            f"web.token_file {web.token_file}: needs one line with at least {MIN_TOKEN} characters and no spaces, "
            "for example from `openssl rand -hex 32`"
        )
    return token


def _why(error: OSError, web: WebSettings) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"web.port {web.port} on {web.host} is in use by another program; choose another with --port or web.port"
    if error.errno == errno.EACCES:
        return f"web.port {web.port} on {web.host} is not allowed for this user; choose one above 1023"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"web.host {web.host} is not an address of this machine"
    return f"web.port {web.port} on {web.host} cannot be opened ({error.strerror})"
