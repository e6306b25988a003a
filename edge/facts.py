"""What does not change while a line runs: what the page and the closing table say of its model, lanes and belt."""

from typing import Any

from edge import __version__
from edge.camera import redacted
from edge.config import LineConfig
from edge.model import Classifier


def facts_of(config: LineConfig, classifier: Classifier) -> dict[str, Any]:
    """The facts as JSON can hold them; no password and no address of a device is among them."""
    card = classifier.card
    return {
        "version": __version__,
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": classifier.sha256,
            "provider": classifier.provider,
            "threads": classifier.threads,
            "why": classifier.choice.why,
            "classes": list(card.classes),
        },
        "shadow": config.model.shadow is not None,
        "labels": config.journal.pictures is not None,
        "lanes": [lane.model_dump() for lane in config.lanes],
        "belt": config.belt.model_dump(),
        "camera": {"source": redacted(config.camera.source)},
    }
