"""/predict: decodes pictures, classifies them and says to which lane they belong."""

import logging
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from edge.config import LineConfig
from edge.decide import Decider
from edge.engines import cores
from edge.errors import ModelError, PictureError
from edge.model import Classifier, answer
from edge.records import Prediction
from edge.web.bodies import Asked, BadBody, Upload
from edge.web.pictures import classify_files, decode
from edge.web.workers import Workers

_log = logging.getLogger("sortline.web")
RETRY_AFTER_S = 1
SPREADS = frozenset({"cpu", "openvino"})  # engines whose threads are the processor's
GAIN = 0.9  # of a lone thread's time: what several threads must at least get below to be worth it
TRIALS = 7


class Predictor:
    """Answers for uploaded pictures with the same model, the same resize and the same lanes as the line.

    A picture that comes while no other is looked at is spread over all processors, where that is measured to
    be faster; of several at once each has one thread, which gets the most out of the processors. The second
    session that the former needs is made with the first lone picture. `close` it, or use it as a context manager.
    """

    def __init__(self, classifier: Classifier, config: LineConfig) -> None:
        self.classifier = classifier
        self.workers = Workers()
        self._decider = Decider(config, classifier.card)
        self._alone: Classifier | None = None

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its threads; may be called twice."""
        self.workers.close()

    def answer(self, asked: Asked) -> dict[str, Any]:
        """The answer to a call, from one inference; raises BadBody (422) or Overloaded."""
        predictions, seconds = self.workers.do(partial(self._classify, asked.uploads, asked.crop))
        answers = [_top(self._say(prediction, seconds), asked.top) for prediction in predictions]
        return {"predictions": answers} if asked.several else answers[0]

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Runs the model on uint8 [N, H, W, 3] when it is its turn, see `Classifier.run`; raises Overloaded."""
        return self.workers.do(lambda alone: self._model(alone).run(pixels))

    def _say(self, prediction: Prediction, seconds: float) -> dict[str, Any]:
        lane, threshold = self._decider.lane_of(prediction).name, self._decider.threshold_of(prediction.label)
        return answer(prediction, self.classifier, lane, threshold, seconds)

    def _classify(
        self, uploads: list[Upload], crop: tuple[int, int, int, int] | None, alone: bool
    ) -> tuple[list[Prediction], float]:
        """The predictions, and the seconds that they took."""
        model = self._model(alone)
        start = perf_counter()
        try:
            if crop is None:
                found = classify_files(model, [(upload.name, upload.data) for upload in uploads])
            else:
                found = model.classify([_cut(upload, *crop) for upload in uploads])
        except PictureError as error:
            raise BadBody(422, str(error)) from None
        return found, perf_counter() - start

    def _model(self, alone: bool) -> Classifier:
        """The session to use. Only a job that is alone makes the second one, so no two ever do."""
        if not alone:
            return self.classifier
        if self._alone is None:
            self._alone = _spread(self.classifier)
        return self._alone


def _spread(classifier: Classifier) -> Classifier:
    """The same model on all processors, if that is faster for one picture, else the classifier itself."""
    threads = cores()
    if threads <= classifier.threads or classifier.provider not in SPREADS:
        return classifier
    try:
        wide = classifier.with_threads(threads)
    except ModelError as error:
        _log.warning("pictures are looked at with %d thread(s): %s", classifier.threads, error)
        return classifier
    pixels = np.zeros((1, classifier.card.height, classifier.card.width, 3), np.uint8)
    took: dict[Classifier, list[float]] = {classifier: [], wide: []}
    for _ in range(TRIALS):
        for one, seconds in took.items():
            start = perf_counter()
            one.run(pixels)
            seconds.append(perf_counter() - start)
    return wide if min(took[wide]) < GAIN * min(took[classifier]) else classifier


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
