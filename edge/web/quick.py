"""The short way to /predict: what most calls are is answered before Flask makes its many objects for each of them.

Only a picture that is let in, taken and answered goes this way. Everything else goes on to the app, which has
the one place where calls are refused and errors put into words.
"""

import json
from collections.abc import Iterable
from time import perf_counter
from wsgiref.types import StartResponse, WSGIEnvironment

from flask import Flask

from edge.web.bodies import read_body
from edge.web.guard import HEADERS, Door
from edge.web.metrics import Requests
from edge.web.predict import Predictor

REFUSED = "sortline.refused"  # the environment's key under which the app finds why a call was not answered here
_HEADERS = [*HEADERS.items(), ("Content-Type", "application/json"), ("Cache-Control", "no-store")]


class Quick:
    """A WSGI app around the one that an app has, which gets every call but a POST to /predict that succeeds."""

    def __init__(self, app: Flask, predictor: Predictor, door: Door, requests: Requests) -> None:
        self._app, self._next = app, app.wsgi_app
        self._predictor, self._door, self._requests = predictor, door, requests

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] != "/predict":
            return self._next(environ, start_response)
        started = perf_counter()
        request = self._app.request_class(environ)
        # The app's settings, which a request finds by itself only within the app.
        request.max_content_length = self._app.config["MAX_CONTENT_LENGTH"]
        request.max_form_memory_size = self._app.config["MAX_FORM_MEMORY_SIZE"]
        request.max_form_parts = self._app.config["MAX_FORM_PARTS"]
        try:
            self._door.check(request)
            answer = json.dumps(self._predictor.answer(read_body(request)), separators=(",", ":")).encode() + b"\n"
        except Exception as refused:  # whatever it is, the app has the words for it
            environ[REFUSED] = refused
            return self._next(environ, start_response)
        start_response("200 OK", [*_HEADERS, ("Content-Length", str(len(answer)))])
        self._requests.count("predict", 200, perf_counter() - started)
        return [answer]
