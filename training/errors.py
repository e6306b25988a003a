"""What can go wrong in training, one sentence each, like the edge's."""

from edge.errors import SortlineError


class TrainingError(SortlineError):
    """What was asked for was sound but could not be done."""


class InputError(SortlineError):
    """A file or folder that was named and cannot be used: weights, labels, a run, somebody's model."""


class DatasetError(InputError):
    """A folder of pictures that cannot be trained or evaluated on: names the folder, the class or the file."""
