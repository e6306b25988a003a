"""The model file's contract, and the Classifier that runs it: pixels in, calibrated probabilities out.

One .onnx file holds everything: uint8 pixels go in as they are, softmax and temperature are part of
the graph, and the metadata key `sortline` holds a JSON ModelCard. `cut` and `to_pixels` are the only
way from a picture to the model's input, in training, calibration, evaluation and on the line alike.
"""

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from edge.card import FORMAT, METADATA_KEY, ClassPurity, ModelCard, Purity, Resize
from edge.choice import Choice, choose
from edge.engines import Engine, OnnxRuntime, open_engine, reason_of
from edge.errors import ModelError
from edge.graph import MOST_BYTES, check_graph
from edge.novelty import Novelty, strangeness
from edge.records import Box, Prediction

__all__ = [
    "FORMAT",
    "METADATA_KEY",
    "ClassPurity",
    "Classifier",
    "ModelCard",
    "Novelty",
    "Purity",
    "Resize",
    "answer",
    "cut",
    "strangeness",
    "to_pixels",
]

Made = TypeVar("Made")


def cut(picture: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """The part of a picture that shows one item: its box, made square and widened by a margin.

    margin is the share of the box's longer side added on every side. At the picture's edge the
    square moves inwards, and is cut only where the picture is smaller than it. Returns a view of
    the picture, not a copy: uint8 [h, w, 3].
    """
    height, width = picture.shape[:2]
    side = max(round(max(box.width, box.height) * (1 + 2 * margin)), 1)
    x, y = (round(middle - side / 2) for middle in box.centre)
    x = min(max(x, 0), max(width - side, 0))
    y = min(max(y, 0), max(height - side, 0))
    return picture[y : y + side, x : x + side]


def to_pixels(crop: np.ndarray, height: int, width: int, resize: Resize) -> np.ndarray:
    """The one resize function: a BGR crop of any size, uint8 [h, w, 3], to RGB uint8 [height, width, 3]."""
    h, w = crop.shape[:2]
    if resize.mode == "letterbox":
        scale = min(height / h, width / w)
        new_h, new_w = min(max(round(h * scale), 1), height), min(max(round(w * scale), 1), width)
    else:
        new_h, new_w = height, width
    if (h, w) != (new_h, new_w):
        shrinks = new_h * new_w < h * w
        how = cv2.INTER_AREA if shrinks and resize.interpolation == "area" else cv2.INTER_LINEAR
        crop = cv2.resize(crop, (new_w, new_h), interpolation=how)
    if (new_h, new_w) != (height, width):
        top, left = (height - new_h) // 2, (width - new_w) // 2
        rest = (top, height - new_h - top, left, width - new_w - left)
        crop = cv2.copyMakeBorder(crop, *rest, cv2.BORDER_REPLICATE)
    return cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)


class Classifier:
    """A model file, verified against its card, warmed up and ready.

    Raises ModelError when the file is missing, is not ONNX, has no card, or its graph does not fit
    the card. provider is a name that edge.engines knows, or "auto": then the installed ones are
    measured on this file, each with several numbers of threads, and the best is remembered (see
    edge.choice). threads work on one call, 0 for what was measured, or 1 on a named provider.
    parallel is how many calls are expected at once.

    Thread-safe: several threads may call it at once.
    """

    def __init__(self, path: str | Path, provider: str = "auto", threads: int = 0, parallel: int = 1) -> None:
        self.path = Path(path)
        data = _read(self.path)
        check_graph(data, self.path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        # ONNX Runtime on the processor is always there, so it verifies; most often it is also what is chosen.
        try:
            verifier = self._named(lambda: OnnxRuntime(data))
            self._engine: Engine = verifier
            self.card = self._verify(verifier)
        except UnicodeDecodeError:  # ONNX Runtime hands names and the card on as Python text
            raise ModelError(f"{self.path}: has a name or a card that is not UTF-8") from None
        if provider != "auto":
            threads = threads or 1
        size = (self.card.height, self.card.width)
        choice = self._named(lambda: choose(data, size, provider, threads))
        try:
            self._use(choice, data, parallel)
        except ModelError:
            if not choice.measured:  # the configuration names it: nothing else is to be taken in its place
                raise
            # It was remembered, and is gone: a card that was taken out, a driver that was taken off.
            self._use(self._named(lambda: choose(data, size, provider, threads, anew=True)), data, parallel)
        novelty = self.card.novelty
        self._novelty = (*novelty.arrays(), np.array(novelty.limits, np.float32)) if novelty else None
        self._thresholds = np.array([self.card.thresholds.get(name, 0.0) for name in self.card.classes])

    def with_threads(self, threads: int) -> "Classifier":
        """The same model on the same provider in a session of its own, with so many threads a call.

        Nothing is verified or measured again. Raises ModelError, too when the file is not what it was.
        """
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ModelError(f"{self.path}: has changed since it was loaded")
        other = copy(self)
        other._engine = self._named(lambda: open_engine(data, self.provider, threads))
        other.threads = threads
        return other

    def pixels(self, crop: np.ndarray) -> np.ndarray:
        """A BGR crop of any size, uint8 [h, w, 3], as this model's input, RGB uint8 [H, W, 3]."""
        return to_pixels(crop, self.card.height, self.card.width, self.card.resize)

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Runs the graph on uint8 [N, H, W, 3]: probabilities float32 [N, classes], features or None."""
        outputs = self._engine.run(pixels)
        by_name = dict(zip(self._outputs, outputs, strict=True))
        return by_name["probabilities"], by_name.get("features")

    def classify(self, crops: Sequence[np.ndarray]) -> list[Prediction]:
        """Classifies BGR crops, uint8 [h, w, 3] of any size, in one call; one Prediction a crop, in order."""
        if not crops:
            return []
        pixels = [self.pixels(crop) for crop in crops]
        probabilities, features = self.run(np.stack(pixels) if len(pixels) > 1 else pixels[0][None])
        strange = self.strange(probabilities, features)
        return [self._predict(row, bool(one)) for row, one in zip(probabilities, strange, strict=True)]

    def strange(self, probabilities: np.ndarray, features: np.ndarray | None) -> np.ndarray:
        """Which pictures are unlike anything trained on, bool [n], of what `run` answered.

        None is where the card tells nothing of it or the model gives no features.
        """
        if self._novelty is None or features is None:
            return np.zeros(len(probabilities), bool)
        centre, directions, limits = self._novelty
        best = probabilities.argmax(axis=1)
        return np.asarray(strangeness(features, best, centre, directions) > limits[best])

    def _predict(self, probabilities: np.ndarray, strange: bool) -> Prediction:
        """One row of probabilities, float [classes], as a Prediction under the card's thresholds."""
        best = int(probabilities.argmax())
        confidence = float(probabilities[best])
        return Prediction(
            label=self.card.classes[best],
            confidence=confidence,
            probabilities=tuple(probabilities.tolist()),
            known=bool(not strange and confidence >= self._thresholds[best]),
            strange=strange,
        )

    def _use(self, choice: Choice, data: bytes, parallel: int) -> None:
        """Takes the chosen engine in place of the one that is there, once it has run."""
        if (choice.provider, choice.threads) != (self._engine.provider, self._engine.threads):
            self._engine = self._named(lambda: open_engine(data, choice.provider, choice.threads, parallel))
            self._try(self.card)
        self.choice = choice
        self.provider, self.threads, self.batch = choice.provider, choice.threads, choice.batch

    def _named(self, load: Callable[[], Made]) -> Made:
        """What load returns; its ModelError begins with the file's name."""
        try:
            return load()
        except ModelError as error:
            said = str(error)
            raise ModelError(said if said.startswith("model.") else f"{self.path}: {said}") from None

    def _verify(self, engine: OnnxRuntime) -> ModelCard:
        """Checks the graph against the card and runs one picture through it."""
        session = engine.session
        metadata = session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{self.path}: has no model card (metadata key {METADATA_KEY!r}); "
                "`sortline-train package` gives any ONNX classifier one"
            )
        card = ModelCard.from_json(metadata[METADATA_KEY], self.path)
        inputs = {node.name: (node.type, list(node.shape)) for node in session.get_inputs()}
        self._outputs = [node.name for node in session.get_outputs()]
        kind, shape = inputs.get("pixels", (None, []))
        if len(inputs) != 1 or kind != "tensor(uint8)" or len(shape) != 4:
            raise ModelError(
                f"{self.path}: its graph must have one input `pixels`, uint8 [N, H, W, 3]; it has "
                + (", ".join(f"{n}: {t} {s}" for n, (t, s) in inputs.items()) or "none")
            )
        if "probabilities" not in self._outputs:
            raise ModelError(f"{self.path}: its graph has no output `probabilities`")
        for node in session.get_outputs():
            if node.name in {"probabilities", "features"} and node.type != "tensor(float)":
                raise ModelError(f"{self.path}: its output `{node.name}` must be float32; it is {node.type}")
        if isinstance(shape[0], int):
            raise ModelError(f"{self.path}: its input takes exactly {shape[0]} pictures; N must be dynamic")
        for fixed, wanted, what in zip(shape[1:], (card.height, card.width, 3), "HWC", strict=True):
            if isinstance(fixed, int) and fixed != wanted:
                raise ModelError(f"{self.path}: its card says {what} = {wanted}, its graph takes {fixed}")
        self._try(card)
        return card

    def _try(self, card: ModelCard) -> None:
        """Runs one picture, then two at once, and looks at what comes out."""
        probabilities, features = self._run_some(card, 1)
        if probabilities.shape != (1, len(card.classes)):
            raise ModelError(
                f"{self.path}: its card names {len(card.classes)} classes, "
                f"its graph gives {list(probabilities.shape)} probabilities"
            )
        if card.novelty and (features is None or features.shape != (1, card.novelty.length)):
            raise ModelError(f"{self.path}: its card tells strangers by features that its graph does not give")
        if not np.isfinite(probabilities).all() or abs(float(probabilities.sum()) - 1) > 0.01:
            raise ModelError(
                f"{self.path}: its output sums to {float(probabilities.sum()):.3g}, not to 1; "
                "softmax must be part of the graph"
            )
        for output in self._run_some(card, 2):
            if output is not None and len(output) != 2:
                raise ModelError(f"{self.path}: gives {list(output.shape)} for two pictures; N must be dynamic")

    def _run_some(self, card: ModelCard, number: int) -> tuple[np.ndarray, np.ndarray | None]:
        pixels = np.full((number, card.height, card.width, 3), 127, np.uint8)
        try:
            return self.run(pixels)
        except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
            raise ModelError(
                f"{self.path}: cannot run {'one' if number == 1 else 'two'} {card.width}x{card.height} "
                f"picture{'s at once' if number > 1 else ''} ({reason_of(error)})"
            ) from None


def answer(
    prediction: Prediction, classifier: Classifier, lane: str | None, threshold: float, latency_s: float
) -> dict[str, Any]:
    """A prediction as `sortline predict` prints it and `/predict` answers it.

    threshold is the least confidence at which its class is sorted. reason and strange are a Decision's: what is
    unknown is strange, or its confidence is below the threshold.
    """
    card = classifier.card
    return {
        "class": prediction.label,
        "confidence": round(prediction.confidence, 6),
        "probabilities": {
            name: round(value, 6) for name, value in zip(card.classes, prediction.probabilities, strict=True)
        },
        "lane": lane,
        "reason": "classified" if prediction.reaches(threshold) else "unknown",
        "strange": prediction.strange,
        "threshold": threshold,
        "model": {"name": card.name, "version": card.version, "sha256": classifier.sha256},
        "latency_ms": round(latency_s * 1e3, 3),
    }


def _read(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # a device might never end
            raise ModelError(f"{path}: is no regular file")
        if (size := path.stat().st_size) > MOST_BYTES:
            raise ModelError(f"{path}: is {size / 1e9:.1f} GB large; a model file may have {MOST_BYTES / 1e9:.1f} GB")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # a NUL in the name
        raise ModelError(f"{str(path)!r}: cannot be the name of a file") from None
