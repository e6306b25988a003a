"""What a stranger is: the features of known pictures, class by class, and how far from them is too far."""

import base64
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict


class Novelty(BaseModel):
    """How a picture unlike anything trained on is told: by the direction of its features.

    The cosine distance (0 to 2) between a picture's features and the mean features of the class it is
    taken for, both seen from the mean of all; above the class's limit it is a stranger. After
    Techapanurak et al., "Hyperparameter-Free Out-of-Distribution Detection Using Cosine Similarity",
    ACCV 2020. centre is float16 [D], means float16 [classes, D], both as base64 of their bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    centre: str
    means: str
    limits: tuple[float, ...]

    @classmethod
    def of(cls, centre: np.ndarray, means: np.ndarray, limits: Sequence[float]) -> "Novelty":
        """From float arrays [D] and [classes, D], and a limit a class."""

        def text(values: np.ndarray) -> str:
            return base64.b64encode(values.astype("<f2").tobytes()).decode()

        return cls(centre=text(centre), means=text(means), limits=tuple(limits))

    @property
    def length(self) -> int:
        """D, how many features a picture has."""
        return len(self.arrays()[0])

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
