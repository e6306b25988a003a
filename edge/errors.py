"""Everything that can go wrong because of an input, as one family with one sentence each."""


class SortlineError(Exception):
    """The base of all of them; its text is one sentence for the reader of the screen."""


class ConfigError(SortlineError):
    """A configuration file that cannot be used: names the file, the key, what is allowed, the mend."""


class ModelError(SortlineError):
    """A model file that cannot be used: says what is missing or does not fit."""


class PictureError(SortlineError):
    """Bytes or a file that are not a picture this program reads."""


class CameraError(SortlineError):
    """A camera, stream, clip or folder that cannot be opened or read."""


class OutputError(SortlineError):
    """A diverter or other output that cannot be opened or did not do what it was told."""


class WebError(SortlineError):
    """The web side cannot be started, for example because its port is in use."""
