"""The door that keeps strangers out: who may ask, from which page, and what a browser may do with the answer."""

import hashlib
import hmac
import time
from urllib.parse import urlsplit

from flask import Flask, Request, Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import Forbidden, MisdirectedRequest, Unauthorized

from edge.hosts import is_loopback_name

COOKIE = "sortline"
SESSION_S = 30 * 24 * 3600
OPEN_TO_ALL = frozenset({"healthz", "readyz", "login", "static"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Door:
    """Who is let in at an address. With a token, who knows it; without one, on a loopback address, this machine."""

    def __init__(self, token: str | None, host: str, insecure: bool = False) -> None:
        self.token = token
        # Without a token, and without insecure, no address is served but one of this machine's own, whatever its name.
        self._only_here = token is None and (not insecure or is_loopback_name(host))
        self._name = host.lower()

    def check(self, asked: Request) -> None:
        """Raises the HTTPException that a call is refused with."""
        self.check_place(asked)
        if not self.knows(asked):
            raise Unauthorized("A token is needed: Authorization: Bearer <token>")

    def check_place(self, asked: Request) -> None:
        """Refuses what was meant for another address, and changes that another site's page asks for."""
        if self._only_here and not self._is_ours(urlsplit(f"//{asked.host}").hostname or ""):
            raise MisdirectedRequest("This server answers to the name of this machine only")
        if asked.method not in {"GET", "HEAD", "OPTIONS"} and not _from_here(asked):
            raise Forbidden("Calls from the page of another site are refused")

    def _is_ours(self, name: str) -> bool:
        return is_loopback_name(name) or name == self._name

    def knows(self, asked: Request) -> bool:
        """Whether a call shows the token, if one is needed."""
        return self.token is None or _knows(asked, self.token)


def guard(app: Flask, door: Door) -> None:
    """Puts the guard before every call of an app that is served at an address.

    With a token, everything but health needs it: as `Authorization: Bearer`, or as the cookie that
    /login gives a browser for it. Calls that change something, or cost something, must come from this
    site's own pages or from a program, never from another site's page. Without a token, on a loopback
    address, the name asked for must be this machine's, so that a stranger's site whose name is pointed
    here (DNS rebinding) is not taken for this one.
    """

    @app.before_request
    def check() -> ResponseReturnValue | None:
        if request.endpoint in OPEN_TO_ALL:
            door.check_place(request)
            return None
        try:
            door.check(request)
        except Unauthorized:
            if request.method == "GET" and request.accept_mimetypes.best == "text/html":
                return redirect(url_for("login"))
            raise
        return None

    @app.after_request
    def protect(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        if response.status_code == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="sortline"'
        return response

    @app.route("/login", methods=["GET", "POST"])
    def login() -> ResponseReturnValue:
        token = door.token
        if token is None:
            return redirect(url_for("page"))
        wrong = False
        if request.method == "POST":
            if _same(request.form.get("token", "").strip(), token):
                response = redirect(url_for("page"))
                secure = request.scheme == "https"
                response.set_cookie(COOKIE, _ticket(token), SESSION_S, httponly=True, samesite="Strict", secure=secure)
                return response
            wrong = True
        return render_template("login.html", wrong=wrong), 401 if wrong else 200


def _knows(asked: Request, token: str) -> bool:
    kind, _, given = asked.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return _same(given.strip(), token)
    until, _, _ = (cookie := asked.cookies.get(COOKIE, "")).partition(".")
    return until.isascii() and until.isdigit() and int(until[:12]) > time.time() and _same(cookie, _sign(until, token))


def _ticket(token: str) -> str:
    return _sign(str(int(time.time()) + SESSION_S), token)


def _sign(until: str, token: str) -> str:
    """A ticket that is good until a time; only who knows the token can write one."""
    return f"{until}.{hmac.new(token.encode(), until.encode(), hashlib.sha256).hexdigest()}"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _from_here(asked: Request) -> bool:
    """Whether a call comes from this site's own page, or from no page at all."""
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    origin = asked.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc.lower() == asked.host.lower()
