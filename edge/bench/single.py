"""How well a model sorts the items of a simulated belt when it sees one undisturbed picture of each."""

from pathlib import Path
from typing import Any

from edge.config import LineConfig
from edge.decide import Decider, Vote
from edge.model import Classifier, cut
from edge.records import Box
from edge.simulator.arrivals import TrueItem
from edge.simulator.scene import Scene
from edge.simulator.settings import SimulatorSettings
from edge.simulator.world import Lane, World

STEP = 0.3  # of a picture's length, from one picture to the next
AT_ONCE = 16


class SingleViews:
    """The very items of a twin, each in the first picture that shows it whole; made and called through a Peer."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._config = LineConfig.parse(content, Path("the benchmark's line"))
        model = self._config.model
        self._classifier = Classifier(model.path, model.provider, model.threads)

    def accuracy(self) -> float | None:
        """The share of the items that this one view sends into the lane of their class; None without items."""
        settings = SimulatorSettings.from_source(str(self._config.camera.source))
        world = World(settings)
        world.lay_out([Lane(one.name, one.classes, one.distance_mm, one.default) for one in self._config.lanes])
        scene, decider = Scene(world), Decider(self._config, self._classifier.card)
        seen: set[int] = set()
        right, at = 0, 0.0
        while at < settings.seconds:
            new = [(item, box) for item, box in scene.boxes(at) if item.id not in seen]
            seen.update(item.id for item, _ in new)
            right += self._right(new, scene, world, decider, at)
            at += STEP * settings.field_mm / settings.speed_mm_s
        return right / len(seen) if seen else None

    def _right(self, items: list[tuple[TrueItem, Box]], scene: Scene, world: World, decider: Decider, at: float) -> int:
        if not items:
            return 0
        picture, margin = scene.draw(at), self._classifier.card.crop_margin
        right = 0
        for first in range(0, len(items), AT_ONCE):
            few = items[first : first + AT_ONCE]
            predictions = self._classifier.classify([cut(picture, box, margin) for _, box in few])
            for (item, _), prediction in zip(few, predictions, strict=True):
                vote = Vote()
                vote.add(prediction, 1.0)
                right += decider.judge(vote).lane.name == world.expected_lane(item.label)
        return right
