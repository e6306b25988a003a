"""EfficientNet-Lite0 at 224 with its ImageNet weights: `python -m training.yardstick.network OUT.onnx` makes the file.

The head is new and the calibration pictures are drawn: what it answers is quick to get and means nothing.
"""

import sys
import time
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch

from edge.model import FORMAT, ModelCard
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import World
from training.architectures import Network
from training.export import Front, dress, export_core, write_model
from training.networks import build_network
from training.quantize import scaled, to_int8
from training.ranges import minmax, observe

NETWORK, SIZE = "efficientnet_lite0", 224
CLASSES = ("bolt", "gear", "nut", "screw", "washer")
CALIBRATION_PICTURES = 16


def network() -> Network:
    """The network with its ImageNet weights and a fresh head, the same in every process."""
    torch.manual_seed(1)
    return build_network(NETWORK, len(CLASSES)).eval()


def make(out: Path) -> None:
    """Writes the network as an int8 file of the edge's one-file form."""
    net = network()
    scaling, core = net.scaling, export_core(net, SIZE)
    front = Front((scaling.zero,), (scaling.divisor,))
    pictures = _pictures(CALIBRATION_PICTURES)
    batches = [scaled(pictures[i : i + 4], scaling) for i in range(0, len(pictures), 4)]
    ranges = {name: minmax(values) for name, values in observe(core, batches).items()}
    model = dress(to_int8(core, ranges, front), SIZE, SIZE, front, len(CLASSES))
    now = time.gmtime()
    card = ModelCard(
        format=FORMAT,
        name="lite0-yardstick",
        version=time.strftime("%Y%m%d-%H%M%S", now),
        classes=CLASSES,
        height=SIZE,
        width=SIZE,
        quantization={"recipe": "int8 per channel, minmax of drawn pictures; for timing only"},
        training={"network": NETWORK, "head": "random"},
        libraries={name: version(name) for name in ("onnx", "onnxruntime", "torch")},
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
    )
    write_model(model, card, out)


def _pictures(count: int) -> np.ndarray:
    """Drawn belts at the network's size, RGB uint8 [count, SIZE, SIZE, 3]."""
    scene = Scene(World(SimulatorSettings(width=640, height=480)))
    seen = [cv2.resize(scene.draw(3.0 + n), (SIZE, SIZE), interpolation=cv2.INTER_AREA) for n in range(count)]
    return np.stack(seen)[..., ::-1]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
