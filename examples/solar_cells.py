"""Writes the ELPV set of solar cells as a dataset folder: one of four folds, with the annotators' doubt as soft labels.

    pip install elpv-dataset
    python examples/solar_cells.py cells --fold 0

2,624 electroluminescence pictures of 300 x 300, each with a probability of being defective (0, 1/3,
2/3 or 1) and a cell type (mono or poly): Buerhop-Lutz et al., "A Benchmark for Visual Identification
of Defective Solar Cells in Electroluminescence Imagery", 2018. From 0.5 on a cell is defective. The
folds are stratified by probability and type: a quarter is the test part, a tenth of all the
validation part, the rest is trained on.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from elpv_dataset.utils import load_dataset

FOLDS = 4
VAL_SHARE = 0.1


def parts(probabilities: np.ndarray, types: np.ndarray, fold: int, seed: int) -> np.ndarray:
    """The part of each cell, an array of words: over the folds each cell is in test exactly once."""
    part = np.full(len(probabilities), "train", object)
    rng = np.random.default_rng(seed)
    strata = [(probabilities == p) & (types == t) for p in np.unique(probabilities) for t in np.unique(types)]
    start = 0
    for stratum in strata:
        cells = rng.permutation(np.flatnonzero(stratum))
        # Each stratum goes on counting where the last one ended, so that folds are equally large.
        of_fold = (np.arange(len(cells)) + start) % FOLDS
        start += len(cells)
        part[cells[of_fold == fold]] = "test"
        rest = cells[of_fold != fold]
        part[rest[: round(VAL_SHARE * len(cells))]] = "val"
    return part


def main() -> None:
    """Writes the folder that the words of the command ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--fold", type=int, choices=range(FOLDS), default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures, probabilities, types = load_dataset()
    lines = ["file,defective,good"]
    for number, part in enumerate(parts(probabilities, types, options.fold, options.seed)):
        defective = probabilities[number]
        name = f"{part}/{'defective' if defective >= 0.5 else 'good'}/{types[number]}-{number:04d}.png"
        path = options.out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pictures[number])
        lines.append(f"{name},{defective:.6f},{1 - defective:.6f}")
    (options.out / "labels.csv").write_text("\n".join(lines) + "\n")
    print(f"{options.out}: {len(pictures)} cells, fold {options.fold} of {FOLDS}, seed {options.seed}")


if __name__ == "__main__":
    main()
