"""The shadow: a second model that sees what the line decided about, and would have decided for itself.

It runs in the web side's process at the lowest priority that there is. The line does not know of it: what it
has no time for it leaves out and counts.
"""

import logging
import os
import threading
from collections import deque
from typing import Any

import numpy as np

from edge.config import LineConfig
from edge.decide import Decider
from edge.errors import ModelError
from edge.model import Classifier

_log = logging.getLogger("sortline.web")
WAITING = 4
SHOWN = 8


class Shadow:
    """One thread that classifies crops with the file of [model] shadow. `stop` joins it.

    It compares its own lane for one crop with the lane that the line gave the item, for items that the
    line's model judged. snapshot() is what the page and the metrics show; trouble is why there is none.
    """

    def __init__(self, config: LineConfig, provider: str) -> None:
        self._config, self._provider = config, provider
        self._waiting: deque[tuple[dict[str, Any], np.ndarray]] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._counts = {"seen": 0, "same_lane": 0, "same_class": 0, "skipped": 0}
        self._differ: deque[dict[str, Any]] = deque(maxlen=SHOWN)
        self._model: dict[str, str] = {}
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._run, name="web-shadow", daemon=True)

    def start(self) -> None:
        """Loads the model, in the thread, and begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    def saw(self, decision: dict[str, Any], crop: np.ndarray) -> None:
        """Takes a decision and its crop, uint8 [h, w, 3] BGR, unless it is behind; never waits."""
        if decision["reason"] not in {"classified", "unknown"}:
            return
        with self._changed:
            if len(self._waiting) >= WAITING:
                self._counts["skipped"] += 1
                return
            self._waiting.append((decision, crop))
            self._changed.notify()

    def snapshot(self) -> dict[str, Any]:
        """Counts, the model's name, the newest items that it would have sent elsewhere, and its trouble."""
        with self._changed:
            return {
                **self._counts, "model": self._model, "differ": list(self._differ), "trouble": self._trouble,
            }  # fmt: skip

    def _run(self) -> None:
        # On Linux a priority belongs to a thread: this one has what nobody else wants.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
        assert self._config.model.shadow is not None
        try:
            classifier = Classifier(self._config.model.shadow, self._provider, 1)
        except ModelError as error:
            _log.error("the shadow cannot run: %s", error)
            with self._changed:
                self._trouble = "the file of model.shadow cannot be loaded; the log says why"
            return
        if lacks := self._config.shadow_lacks(classifier.card.classes):
            _log.warning("%s", lacks)
        with self._changed:
            self._model = {"name": classifier.card.name, "version": classifier.card.version}
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                decision, crop = self._waiting.popleft()
            self._judge(classifier, decision, crop)

    def _judge(self, classifier: Classifier, decision: dict[str, Any], crop: np.ndarray) -> None:
        found = classifier.classify([crop])[0]
        lane = Decider(self._config, classifier.card).lane_of(found).name
        with self._changed:
            self._counts["seen"] += 1
            self._counts["same_lane"] += lane == decision["lane"]
            self._counts["same_class"] += found.label == decision["label"]
            if lane != decision["lane"]:
                self._differ.append(
                    {
                        "item_id": decision["item_id"], "label": decision["label"], "lane": decision["lane"],
                        "shadow_label": found.label, "shadow_lane": lane,
                        "shadow_confidence": round(found.confidence, 4),
                    }
                )  # fmt: skip
