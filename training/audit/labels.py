"""Labels that the pictures contradict: predicted by models that were not trained on the picture in question.

Features of an ImageNet backbone, a logistic regression on them for each fold, and the rule of
confident learning: C. G. Northcutt, L. Jiang and I. L. Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", JAIR 2021. A picture counts as another class when that class's
probability is at least what pictures of the class have on average.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rich.progress import Progress
from torch.nn import functional as F

from training.batches import as_input
from training.networks import build_network

FOLDS = 5
WIDTH = 128  # principal components of the features that are kept
MARGIN = 0.5  # by which the other class must be more probable than the label


@dataclass(frozen=True, slots=True)
class Doubt:
    """A picture, by its row, whose label the others contradict, and how probable each of both classes is."""

    row: int
    suggested: int
    probability: float
    of_label: float


class Features:
    """What an ImageNet network sees in pictures: float32 [n, D], filled row by row."""

    def __init__(self, n: int) -> None:
        self._network = build_network("efficientnet_lite0", classes=2).eval()
        self._n = n
        self.rows: np.ndarray | None = None

    @torch.inference_mode()
    def add(self, rows: np.ndarray, pixels: np.ndarray) -> None:
        """Sees pictures, uint8 [m, S, S, 3] RGB, which are rows int64 [m]."""
        features = self._network(as_input(pixels))[1].numpy()
        if self.rows is None:
            self.rows = np.zeros((self._n, features.shape[1]), np.float32)
        self.rows[rows] = features


def doubts(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, classes: int, progress: Progress
) -> list[Doubt]:
    """The labels, int64 [n], that features, float32 [n, D], contradict; the clearest first.

    groups, int64 [n], are of pictures that are nearly the same: a wrong label is not confirmed by the
    same wrong label on the next frame, so a group stays in one fold.
    """
    probabilities = _cross_validated(_reduced(features), labels, _folds(labels, groups), classes, progress)
    own = probabilities[np.arange(len(labels)), labels]
    usual = np.array([own[labels == k].mean() if (labels == k).any() else 1.0 for k in range(classes)])
    # Only classes that are as probable as they usually are for their own; of those the most probable.
    likely = np.where(probabilities >= usual, probabilities, -1.0)
    best = likely.argmax(axis=1)
    margin = likely.max(axis=1) - own
    found = np.flatnonzero((best != labels) & (margin >= MARGIN))
    order: Sequence[int] = found[np.argsort(-margin[found], kind="stable")].tolist()
    return [Doubt(row, int(best[row]), float(probabilities[row, best[row]]), float(own[row])) for row in order]


def _reduced(features: np.ndarray) -> torch.Tensor:
    """The features' principal components, scaled alike: float32 [n, at most WIDTH]."""
    x = torch.from_numpy(features)
    x = (x - x.mean(0)) / (x.std(0) + 1e-3)
    torch.manual_seed(0)
    u, s, _ = torch.pca_lowrank(x, q=min(WIDTH, *x.shape), niter=4)
    y = u * s
    return y / y.std()


def _folds(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The fold of each picture, int64 [n]: groups whole, classes spread evenly.

    Where a group is a large share of its class, as with a single turning item, it is taken apart: the
    class would be missing from the folds that should know it.
    """
    draw = np.random.default_rng(0)
    of_class = np.bincount(labels)
    sizes = np.bincount(groups, minlength=len(groups))
    apart = sizes[groups] > of_class[labels] / (2 * FOLDS)
    units = np.where(apart, len(groups) + np.arange(len(groups)), groups)
    held = np.zeros((len(of_class), FOLDS))
    folds = np.zeros(len(labels), np.int64)
    order = draw.permutation(np.unique(units))
    members = _members(units)
    for unit in order.tolist():
        rows = members[unit]
        label = np.bincount(labels[rows]).argmax()
        fold = int(held[label].argmin())
        held[label, fold] += len(rows)
        folds[rows] = fold
    return folds


def _members(units: np.ndarray) -> dict[int, np.ndarray]:
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(units[order]) > 0])
    return {int(units[part[0]]): part for part in np.split(order, starts[1:])}


def _cross_validated(
    x: torch.Tensor, labels: np.ndarray, folds: np.ndarray, classes: int, progress: Progress
) -> np.ndarray:
    """Probabilities of each picture by the model of the other folds, float32 [n, classes]."""
    y = torch.from_numpy(labels)
    out = torch.zeros(len(labels), classes)
    for fold in progress.track(range(FOLDS), description="checking labels"):
        held_out = torch.from_numpy(folds == fold)
        if not held_out.any() or held_out.all():
            continue
        weight, bias = _regression(x[~held_out], y[~held_out], classes)
        out[held_out] = F.softmax(x[held_out] @ weight + bias, dim=1)
    return out.numpy()


def _regression(x: torch.Tensor, y: torch.Tensor, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Multinomial logistic regression with a little weight decay, to convergence."""
    weight = torch.zeros(x.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, y) + 1e-3 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
