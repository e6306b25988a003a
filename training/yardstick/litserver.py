"""LitServe with the web side's model file, decoder and resize: `python -m training.yardstick.litserver FILE PORT N`."""

import sys
from pathlib import Path
from typing import Any

import cv2
import litserve
import numpy as np
from starlette.requests import Request

from edge.model import Classifier
from edge.picture import decode_picture
from edge.records import Prediction


class Sorter(litserve.LitAPI):  # type: ignore[misc]  # litserve has no types
    """LitServe's four hooks around one Classifier; every worker makes its own."""

    def __init__(self, model: Path) -> None:
        super().__init__()
        self._model = model

    def setup(self, device: str) -> None:
        cv2.setNumThreads(1)
        self._classifier = Classifier(self._model, "cpu", 1)

    # LitServe looks at this annotation to see that a form may come.
    def decode_request(self, request: Request) -> np.ndarray:
        form: Any = request
        return decode_picture(form["file"].file.read())

    def predict(self, picture: np.ndarray) -> Prediction:
        return self._classifier.classify([picture])[0]

    def encode_response(self, found: Prediction) -> dict[str, Any]:
        probabilities = dict(zip(self._classifier.card.classes, found.probabilities, strict=True))
        return {"class": found.label, "confidence": found.confidence, "probabilities": probabilities}


def main(model: Path, port: int, workers: int) -> None:
    """Serves /predict on this machine until it is ended."""
    server = litserve.LitServer(Sorter(model), accelerator="cpu", workers_per_device=workers)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error", access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
