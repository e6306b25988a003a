"""A network in torch, as one would run it without exporting it: `python -m training.yardstick.eager NETWORK SIZE`.

Times it on one thread when asked. A line on standard input is "RUNS BATCH"; the answer is a line with the
seconds of each run, after two that do not count, and the processor's seconds of all of them, as JSON. Its
weights are random: they do not change the time.
"""

import json
import sys
from time import perf_counter, process_time

import numpy as np
import torch

from training.batches import as_input
from training.networks import build_network

CLASSES = 5
WARM_UP_RUNS = 2


def main(name: str, size: int) -> None:
    """Answers until standard input ends; says "ready" first."""
    torch.set_num_threads(1)
    network = build_network(name, CLASSES, from_scratch=True).eval()
    print("ready", flush=True)
    for line in sys.stdin:
        runs, batch = map(int, line.split())
        pixels = np.random.default_rng(1).integers(0, 256, (batch, size, size, 3), np.uint8)
        seconds: list[float] = []
        with torch.inference_mode():
            for run in range(-WARM_UP_RUNS, runs):
                if run == 0:
                    cpu = process_time()
                start = perf_counter()
                network(as_input(pixels))
                if run >= 0:
                    seconds.append(perf_counter() - start)
        print(json.dumps({"seconds": seconds, "cpu_s": process_time() - cpu}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
