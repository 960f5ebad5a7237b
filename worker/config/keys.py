"""All keys by name, and how values are read and shown."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from worker.config.settings import Settings
from worker.core.durations import format_duration

PREFIX: Final = "PTS_"
CONFIG_VARIABLE: Final = "PTS_CONFIG"


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    name: type(field.default) for name, field in Settings.model_fields.items()
}
KEYS: Final[Mapping[str, FieldInfo]] = {
    f"{section}.{key}": field
    for section, model in SECTIONS.items()
    for key, field in model.model_fields.items()
}
"""All keys by name, ``section.key``: default, description, and without a default an example."""


def variable_of(name: str) -> str:
    """The environment variable of a key."""
    return f"{PREFIX}{name.replace('.', '__')}".upper()


def read_value(name: str, value: object) -> Any:
    """The value of a key, as its kind reads it.

    Raises:
        ValueError: what it must be; never the value.
    """
    section, _, key = name.partition(".")
    try:
        return getattr(SECTIONS[section].model_validate({key: value}), key)
    except ValidationError as error:
        raise ValueError(message_of(error.errors(include_input=False)[0])) from None


def message_of(fault: Mapping[str, Any]) -> str:
    """What pydantic says of a value, as it follows a key's name."""
    text = str(fault["msg"]).removeprefix("Value error, ")
    return text.replace("Input should", "must").replace("String should", "must")


def text_of(value: object) -> str:
    """A value as written in the configuration; empty for None. Of a secret address, the host."""
    if isinstance(value, SecretStr):
        address = urlsplit(value.get_secret_value())
        return f"{address.scheme}://{address.netloc}/***"
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return ", ".join(value)
    return "" if value is None else str(value)
