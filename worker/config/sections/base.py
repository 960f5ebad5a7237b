"""Base class of the configuration's sections."""

from worker.core.value import Value


class Section(Value, frozen=True, kw_only=True):
    """A section of the configuration. None means that a key is not set."""
