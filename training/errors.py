"""What can go wrong in training because of an input: one sentence each, like the edge's."""

from edge.errors import SortlineError


class DatasetError(SortlineError):
    """A folder of pictures that cannot be trained on or evaluated: names the folder and the mend."""


class TrainingError(SortlineError):
    """A run, network, file of weights or export that cannot be used."""
