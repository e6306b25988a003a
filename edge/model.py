"""The model file's contract, and the Classifier that runs it: pixels in, calibrated probabilities out.

One .onnx file holds everything: uint8 pixels go in as they are, softmax and temperature are part of
the graph, and the metadata key `sortline` holds a JSON ModelCard. `cut` and `to_pixels` are the only
way from a picture to the model's input, in training, calibration, evaluation and on the line alike.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import cv2
import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge.errors import ModelError
from edge.records import Box, Prediction

FORMAT = 1
METADATA_KEY = "sortline"
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


class Resize(BaseModel):
    """How a crop becomes the model's input size.

    letterbox keeps the shape and repeats the border pixels beside it, stretch does not keep it.
    area averages when shrinking (no aliasing) and is bilinear when growing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["letterbox", "stretch"] = "letterbox"
    interpolation: Literal["area", "linear"] = "area"


class Novelty(BaseModel):
    """How a picture unlike anything trained on is told: by the direction of its features.

    The cosine distance (0 to 2) between a picture's features and the mean features of the class it is
    taken for, both seen from the mean of all; above the class's limit it is a stranger. After
    Techapanurak et al., "Hyperparameter-Free Out-of-Distribution Detection Using Cosine Similarity",
    ACCV 2020. centre is float16 [D], means float16 [classes, D], both as base64 of their bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    centre: str
    means: str
    limits: tuple[float, ...]

    @classmethod
    def of(cls, centre: np.ndarray, means: np.ndarray, limits: Sequence[float]) -> "Novelty":
        """From float arrays [D] and [classes, D], and a limit a class."""

        def text(values: np.ndarray) -> str:
            return base64.b64encode(values.astype("<f2").tobytes()).decode()

        return cls(centre=text(centre), means=text(means), limits=tuple(limits))

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """centre, float32 [D], and the means seen from it, float32 [classes, D], each of length 1."""
        centre = np.frombuffer(base64.b64decode(self.centre), "<f2").astype(np.float32)
        means = np.frombuffer(base64.b64decode(self.means), "<f2").astype(np.float32)
        directions = means.reshape(len(self.limits), len(centre)) - centre
        return centre, directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)


def strangeness(features: np.ndarray, label: np.ndarray, centre: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosine distance, float [n], of features [n, D] to the directions [classes, D] of their labels, int [n]."""
    seen = features - centre
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
    return np.asarray(1 - (seen * directions[label]).sum(axis=1))


class ModelCard(BaseModel):
    """What training promises and the edge relies on; travels inside the .onnx file as JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: int
    name: str = Field(min_length=1)
    version: str
    classes: tuple[str, ...] = Field(min_length=2)
    height: int = Field(ge=8, le=4096)
    width: int = Field(ge=8, le=4096)
    resize: Resize = Resize()
    crop_margin: float = Field(default=0.1, ge=0, le=2)
    thresholds: dict[str, float] = {}
    novelty: Novelty | None = None
    calibration: dict[str, Any] = {}
    test: dict[str, Any] = {}
    quantization: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    training: dict[str, Any] = {}
    libraries: dict[str, str] = {}
    created: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> "ModelCard":
        if self.format != FORMAT:
            raise ValueError(f"its card has format {self.format}, this version of sortline reads format {FORMAT}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("its card names a class twice")
        if strangers := sorted(set(self.thresholds) - set(self.classes)):
            raise ValueError(f"its card has a threshold for {strangers[0]!r}, which is not one of its classes")
        if any(not 0 <= value <= 1 for value in self.thresholds.values()):
            raise ValueError("its card has a threshold outside 0 to 1")
        if self.novelty is not None:
            try:
                directions = self.novelty.arrays()[1]
            except ValueError:
                raise ValueError("its card's novelty is damaged: its arrays do not fit each other") from None
            if len(directions) != len(self.classes):
                raise ValueError(f"its card's novelty is of {len(directions)} classes, not of {len(self.classes)}")
        return self

    @classmethod
    def from_json(cls, text: str, path: Path) -> "ModelCard":
        """Reads the card of the file at path; raises ModelError saying what is missing or wrong."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelError(f"{path}: its card is not JSON ({error.msg} at character {error.pos})") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"])
            said = first["msg"].removeprefix("Value error, ")
            said = said[0].lower() + said[1:]
            raise ModelError(f"{path}: its card's {key}: {said}" if key else f"{path}: {said}") from None

    def to_json(self) -> str:
        return self.model_dump_json(indent=1)


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
    the card. provider is one of PROVIDERS or "auto" (the fastest installed one, measured on this
    file); threads are ONNX Runtime's intra-op threads, 0 for the default of 1: on a small machine a
    second thread buys little and its spinning takes the core from the line.

    Thread-safe: several threads may call it at once.
    """

    def __init__(self, path: str | Path, provider: str = "auto", threads: int = 0) -> None:
        self.path = Path(path)
        data = _read(self.path)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.threads = threads or 1
        self.provider, self._session = self._open(data, provider)
        self.card = self._verify()
        novelty = self.card.novelty
        self._novelty = (*novelty.arrays(), np.array(novelty.limits, np.float32)) if novelty else None
        self._thresholds = np.array([self.card.thresholds.get(name, 0.0) for name in self.card.classes])

    def pixels(self, crop: np.ndarray) -> np.ndarray:
        """A BGR crop of any size, uint8 [h, w, 3], as this model's input, RGB uint8 [H, W, 3]."""
        return to_pixels(crop, self.card.height, self.card.width, self.card.resize)

    def run(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Runs the graph on uint8 [N, H, W, 3]: probabilities float32 [N, classes], features or None."""
        outputs = self._session.run(None, {"pixels": pixels})
        by_name = dict(zip(self._outputs, outputs, strict=True))
        return by_name["probabilities"], by_name.get("features")

    def classify(self, crops: Sequence[np.ndarray]) -> list[Prediction]:
        """Classifies BGR crops, uint8 [h, w, 3] of any size, in one call; one Prediction a crop, in order."""
        if not crops:
            return []
        probabilities, features = self.run(np.stack([self.pixels(crop) for crop in crops]))
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
        )

    def _open(self, data: bytes, provider: str) -> tuple[str, ort.InferenceSession]:
        installed = [name for name, ep in PROVIDERS.items() if ep in ort.get_available_providers()]
        if provider != "auto":
            if provider not in installed:
                raise ModelError(
                    f"model.provider {provider!r} is not installed here (installed: {', '.join(installed)})"
                )
            return provider, self._session_on(data, provider)
        sessions = {name: self._session_on(data, name) for name in installed}
        if len(sessions) == 1:
            return next(iter(sessions.items()))
        fastest = min(sessions, key=lambda name: _median_seconds(sessions[name]))
        return fastest, sessions[fastest]

    def _session_on(self, data: bytes, provider: str) -> ort.InferenceSession:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take a whole core from the line on a small machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4
        try:
            return ort.InferenceSession(data, options, providers=[PROVIDERS[provider]])
        except Exception as error:  # ONNX Runtime raises its own classes, which share no public base
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"{self.path}: is not an ONNX model that can be loaded ({reason})") from None

    def _verify(self) -> ModelCard:
        """Checks the graph against the card and runs one picture through it."""
        metadata = self._session.get_modelmeta().custom_metadata_map
        if METADATA_KEY not in metadata:
            raise ModelError(
                f"{self.path}: has no model card (metadata key {METADATA_KEY!r}); "
                "`sortline-train package` gives any ONNX classifier one"
            )
        card = ModelCard.from_json(metadata[METADATA_KEY], self.path)
        inputs = {node.name: (node.type, list(node.shape)) for node in self._session.get_inputs()}
        self._outputs = [node.name for node in self._session.get_outputs()]
        kind, shape = inputs.get("pixels", (None, []))
        if len(inputs) != 1 or kind != "tensor(uint8)" or len(shape) != 4:
            raise ModelError(
                f"{self.path}: its graph must have one input `pixels`, uint8 [N, H, W, 3]; it has "
                + (", ".join(f"{n}: {t} {s}" for n, (t, s) in inputs.items()) or "none")
            )
        if "probabilities" not in self._outputs:
            raise ModelError(f"{self.path}: its graph has no output `probabilities`")
        if isinstance(shape[0], int):
            raise ModelError(f"{self.path}: its input takes exactly {shape[0]} pictures; N must be dynamic")
        for fixed, wanted, what in zip(shape[1:], (card.height, card.width, 3), "HWC", strict=True):
            if isinstance(fixed, int) and fixed != wanted:
                raise ModelError(f"{self.path}: its card says {what} = {wanted}, its graph takes {fixed}")
        self._try_one(card)
        return card

    def _try_one(self, card: ModelCard) -> None:
        picture = np.full((1, card.height, card.width, 3), 127, np.uint8)
        try:
            probabilities, features = self.run(picture)
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise ModelError(f"{self.path}: cannot run one {card.width}x{card.height} picture ({reason})") from None
        if probabilities.shape != (1, len(card.classes)):
            raise ModelError(
                f"{self.path}: its card names {len(card.classes)} classes, "
                f"its graph gives {list(probabilities.shape)} probabilities"
            )
        if card.novelty and (features is None or features.shape[1:] != card.novelty.arrays()[0].shape):
            raise ModelError(f"{self.path}: its card tells strangers by features that its graph does not give")
        if not np.isfinite(probabilities).all() or abs(float(probabilities.sum()) - 1) > 0.01:
            raise ModelError(
                f"{self.path}: its output sums to {float(probabilities.sum()):.3g}, not to 1; "
                "softmax must be part of the graph"
            )


def answer(prediction: Prediction, classifier: Classifier, lane: str | None, latency_s: float) -> dict[str, Any]:
    """A prediction as `sortline predict` prints it and `/predict` answers it."""
    card = classifier.card
    return {
        "class": prediction.label,
        "confidence": round(prediction.confidence, 6),
        "probabilities": {
            name: round(value, 6) for name, value in zip(card.classes, prediction.probabilities, strict=True)
        },
        "lane": lane,
        "model": {"name": card.name, "version": card.version, "sha256": classifier.sha256},
        "latency_ms": round(latency_s * 1e3, 3),
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None


def _median_seconds(session: ort.InferenceSession, runs: int = 9) -> float:
    """How long one picture takes on a session: the median after two warm-up runs."""
    height, width = session.get_inputs()[0].shape[1:3]
    pixels = np.full((1, height, width, 3), 127, np.uint8)
    times = []
    for _ in range(runs + 2):
        start = perf_counter()
        session.run(None, {"pixels": pixels})
        times.append(perf_counter() - start)
    return sorted(times[2:])[runs // 2]
