"""Test-time augmentation inside the file: several looks at each picture, turned and mirrored, and their mean answer.

Looks cost their number in time and give the more the finer what is looked for. The first look is the picture
as it is; looks lie one behind the other along the batch: all pictures as they are, all pictures mirrored, and
so on. In numpy for measuring a bare core or the network, as ONNX nodes for the file; the same order in both.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import onnx
from onnx import helper

# none: one look; flips: both mirrors and the half turn; turns: these, and all four on their side.
Tta = Literal["none", "flips", "turns"]
LOOKS: dict[Tta, int] = {"none": 1, "flips": 4, "turns": 8}
PREFIX = "looks/"
OLDEST_OPSET = 18  # from which on ReduceMean takes its axes as an input

Constant = Callable[[str, np.ndarray], str]  # names a constant of the graph


def looks_at(pixels: np.ndarray, tta: Tta) -> np.ndarray:
    """All looks at pictures, uint8 [looks * n, S, S, 3], of pixels, uint8 [n, S, S, 3]."""
    looks = [pixels]
    if tta != "none":
        looks += [pixels[:, :, ::-1], pixels[:, ::-1], pixels[:, ::-1, ::-1]]
    if tta == "turns":
        looks += [look.transpose(0, 2, 1, 3) for look in looks]
    return np.concatenate(looks) if len(looks) > 1 else pixels


def mean_of_looks(answers: np.ndarray, tta: Tta) -> np.ndarray:
    """Each picture's mean, float [n, ...], of what was answered to all looks, [looks * n, ...]."""
    return np.asarray(answers.reshape(LOOKS[tta], -1, *answers.shape[1:]).mean(axis=0))


def look_nodes(pixels: str, tta: Tta, constant: Constant) -> tuple[list[onnx.NodeProto], str]:
    """The nodes from `pixels`, [N, S, S, 3], to all looks, and the name of what they make."""
    if tta == "none":
        return [], pixels
    nodes = []
    names = [pixels]
    for name, axes in (("wide", [2]), ("high", [1]), ("half_turn", [1, 2])):
        # From the last row to before the first: a mirror, as numpy's [::-1].
        back = {
            "starts": [-1] * len(axes),
            "ends": [np.iinfo(np.int64).min] * len(axes),
            "axes": axes,
            "steps": [-1] * len(axes),
        }
        numbers = [constant(f"{PREFIX}{name}_{key}", np.array(value, np.int64)) for key, value in back.items()]
        names.append(PREFIX + name)
        nodes.append(helper.make_node("Slice", [pixels, *numbers], [names[-1]]))
    if tta == "turns":
        for number, name in enumerate(tuple(names)):
            names.append(f"{PREFIX}turned_{number}")
            nodes.append(helper.make_node("Transpose", [name], [names[-1]], perm=[0, 2, 1, 3]))
    nodes.append(helper.make_node("Concat", names, [f"{PREFIX}all"], axis=0))
    return nodes, f"{PREFIX}all"


def mean_nodes(answers: str, width: int, tta: Tta, constant: Constant) -> tuple[list[onnx.NodeProto], str]:
    """The nodes from answers to all looks, float [looks * N, width], to each picture's mean, and its name."""
    if tta == "none":
        return [], answers
    apart, mean = (f"{PREFIX}{what}_of_{answers}" for what in ("each", "mean"))
    shape = constant(f"{apart}_shape", np.array([LOOKS[tta], -1, width], np.int64))
    first = constant(f"{apart}_axis", np.array([0], np.int64))
    return [
        helper.make_node("Reshape", [answers, shape], [apart]),
        helper.make_node("ReduceMean", [apart, first], [mean], keepdims=0),
    ], mean
