"""/predict: admits a few pictures at a time, decodes, classifies and answers them."""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from edge.config import LineConfig
from edge.errors import PictureError
from edge.model import Classifier, answer
from edge.records import Prediction
from edge.web.bodies import Asked, BadBody, Upload
from edge.web.pictures import classify_files, decode

# One more than there are processors: while one answer is written down, the next picture is looked at.
MAX_RUNNING = min(len(os.sched_getaffinity(0)), 4) + 1
MAX_WAITING = 8
MAX_WAIT_S = 10.0
RETRY_AFTER_S = 1


class Overloaded(Exception):
    """More pictures wait than can be answered soon; the client should come back."""


class Admission:
    """A door that a few pass at a time, in the order in which they came; whoever finds the queue full is sent away."""

    def __init__(self, running: int = MAX_RUNNING, waiting: int = MAX_WAITING) -> None:
        self._free = running
        self._queue: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._limit = running + waiting
        self.inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for a turn; raises Overloaded at once when the queue is full."""
        turn = None
        with self._lock:
            if self.inside >= self._limit:
                raise Overloaded
            self.inside += 1
            if self._free:
                self._free -= 1
            else:
                turn = threading.Event()
                self._queue.append(turn)
        if turn is not None and not turn.wait(MAX_WAIT_S):
            with self._lock:
                if not turn.is_set():
                    self._queue.remove(turn)
                    self.inside -= 1
                    raise Overloaded
        try:
            yield
        finally:
            with self._lock:
                self.inside -= 1
                # A turn is handed on, never put back for anybody to snatch: nobody waits longer than his place says.
                if self._queue:
                    self._queue.popleft().set()
                else:
                    self._free += 1


class Predictor:
    """Answers for uploaded pictures with the same model, the same resize and the same lanes as the line."""

    def __init__(self, classifier: Classifier, config: LineConfig) -> None:
        self.classifier = classifier
        self.admission = Admission()
        self._config = config

    def answers(self, asked: Asked) -> list[dict[str, Any]]:
        """One answer a picture, in order, from one inference; raises BadBody (422) or Overloaded."""
        with self.admission():
            start = perf_counter()
            predictions = self._classify(asked.uploads, asked.crop)
            seconds = perf_counter() - start
        lanes = [(self._config.lane_of(p.label) if p.known else self._config.default_lane).name for p in predictions]
        found = [answer(p, self.classifier, lane, seconds) for p, lane in zip(predictions, lanes, strict=True)]
        return [_top(one, asked.top) for one in found]

    def _classify(self, uploads: list[Upload], crop: tuple[int, int, int, int] | None) -> list[Prediction]:
        try:
            if crop is None:
                return classify_files(self.classifier, [(upload.name, upload.data) for upload in uploads])
            return self.classifier.classify([_cut(upload, *crop) for upload in uploads])
        except PictureError as error:
            raise BadBody(422, str(error)) from None


def _cut(upload: Upload, x: int, y: int, width: int, height: int) -> np.ndarray:
    """A part of a picture; raises PictureError, or BadBody (422) where it reaches beyond the picture."""
    picture = decode(upload.data, upload.name)
    if x + width > picture.shape[1] or y + height > picture.shape[0]:
        raise BadBody(
            422,
            f"{upload.name}: is {picture.shape[1]} x {picture.shape[0]} pixels, the crop {x},{y},{width},{height} "
            "reaches beyond it",
        )
    return picture[y : y + height, x : x + width]


def _top(one: dict[str, Any], top: int | None) -> dict[str, Any]:
    """The answer with the most probable classes only, the best first."""
    if top is None:
        return one
    best: Sequence[tuple[str, float]] = sorted(one["probabilities"].items(), key=lambda pair: -pair[1])
    return {**one, "probabilities": dict(best[:top])}
