"""The daemon beside the belt: sees each item, decides its lane, fires the diverter in time."""

__version__ = "0.1.0"
