"""What the tests of the edge share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.edge.pins import pretended


@pytest.fixture
def pins() -> Iterator[Any]:
    """gpiozero's own pretended pins."""
    with pretended() as factory:
        yield factory
