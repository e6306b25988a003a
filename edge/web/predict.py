"""/predict: admits a few pictures at a time, decodes, classifies and answers them."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import numpy as np

from edge.config import LineConfig
from edge.errors import PictureError
from edge.model import Classifier, answer
from edge.web.bodies import Asked, BadBody, Upload
from edge.web.pictures import decode

MAX_RUNNING = min(len(os.sched_getaffinity(0)), 4)
MAX_WAITING = 8
MAX_WAIT_S = 10.0
RETRY_AFTER_S = 1


class Overloaded(Exception):
    """More pictures wait than can be answered soon; the client should come back."""


class Admission:
    """A door that a few pass at a time, with a short queue before it; whoever finds it full is sent away."""

    def __init__(self, running: int = MAX_RUNNING, waiting: int = MAX_WAITING) -> None:
        self._room = threading.Semaphore(running)
        self._lock = threading.Lock()
        self._limit = running + waiting
        self.inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Waits for a turn; raises Overloaded at once when the queue is full."""
        with self._lock:
            if self.inside >= self._limit:
                raise Overloaded
            self.inside += 1
        try:
            if not self._room.acquire(timeout=MAX_WAIT_S):
                raise Overloaded
            try:
                yield
            finally:
                self._room.release()
        finally:
            with self._lock:
                self.inside -= 1


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
            crops = [self._picture(upload, asked.crop) for upload in asked.uploads]
            predictions = self.classifier.classify(crops)
            seconds = perf_counter() - start
        lanes = [(self._config.lane_of(p.label) if p.known else self._config.default_lane).name for p in predictions]
        found = [answer(p, self.classifier, lane, seconds) for p, lane in zip(predictions, lanes, strict=True)]
        return [_top(one, asked.top) for one in found]

    def _picture(self, upload: Upload, crop: tuple[int, int, int, int] | None) -> np.ndarray:
        card = self.classifier.card
        try:
            if crop is None:
                return decode(upload.data, upload.name, (card.height, card.width))
            picture = decode(upload.data, upload.name)
        except PictureError as error:
            raise BadBody(422, str(error)) from None
        x, y, width, height = crop
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
