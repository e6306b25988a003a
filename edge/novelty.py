"""What a stranger is: a picture whose features point elsewhere than those of all known pictures of its class."""

import base64
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Novelty(BaseModel):
    """How a picture unlike anything trained on is told: by the direction of its features.

    The cosine distance (0 to 2) between a picture's features and the nearest prototype of the class it is
    taken for, both seen from the mean of all; above the class's limit it is a stranger. Directions
    after Techapanurak et al., "Hyperparameter-Free Out-of-Distribution Detection Using Cosine Similarity",
    ACCV 2020; several prototypes a class, in place of all its pictures, after Sun et al.,
    "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022. centre is float16 [D], means
    float16 [classes * each, D], class after class, both as base64 of their bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    centre: str
    means: str
    limits: tuple[float, ...] = Field(min_length=1)
    each: int = Field(default=1, ge=1, le=1024)

    @classmethod
    def of(cls, centre: np.ndarray, means: np.ndarray, limits: Sequence[float]) -> "Novelty":
        """From float arrays [D] and [classes, each, D], and a limit a class."""

        def text(values: np.ndarray) -> str:
            return base64.b64encode(values.astype("<f2").tobytes()).decode()

        return cls(centre=text(centre), means=text(means), limits=tuple(limits), each=means.shape[1])

    @property
    def length(self) -> int:
        """D, how many features a picture has."""
        return len(self.arrays()[0])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """centre, float32 [D], and the prototypes seen from it, float32 [classes, each, D], each of length 1.

        Raises ValueError where they do not fit each other.
        """
        centre = np.frombuffer(base64.b64decode(self.centre), "<f2").astype(np.float32)
        means = np.frombuffer(base64.b64decode(self.means), "<f2").astype(np.float32)
        directions = means.reshape(len(self.limits), self.each, len(centre)) - centre
        return centre, directions / np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-6)


def strangeness(features: np.ndarray, label: np.ndarray, centre: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Cosine distance, float [n], of features [n, D] to the nearest of their label's directions.

    label is int [n], directions float [classes, each, D].
    """
    seen = features - centre
    seen = seen / np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-6)
    # Not a matrix product: from eight views on that wakes the threads of numpy's library, and waits for them.
    nearest = [np.einsum("kd,d->k", directions[one], row).max() for one, row in zip(label, seen, strict=True)]
    return 1 - np.array(nearest, seen.dtype)
