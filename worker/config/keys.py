"""All keys by name, and how values are read and shown."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from worker.config.settings import Settings
from worker.core.durations import format_duration
from worker.core.value import Value

PREFIX: Final = "PTS_"
CONFIG_VARIABLE: Final = "PTS_CONFIG"


class Key(Value, frozen=True, kw_only=True):
    """One key of the configuration, by its name ``section.key``.

    Attributes:
        variable: its environment variable.
        default: None if there is none; then there is an example.
    """

    name: str
    variable: str
    default: Any
    example: Any
    meaning: str

    @property
    def is_file(self) -> bool:
        """Whether it names a file that must exist when the worker starts."""
        return self.name.endswith("_file")

    @property
    def is_secret_file(self) -> bool:
        """Whether it names a secret file."""
        return self.is_file and self.name not in {"tls.ca_file", "api.contract_file"}


def _keys(section: str, model: type[BaseModel]) -> Iterator[Key]:
    for key, field in model.model_fields.items():
        yield Key(
            name=f"{section}.{key}",
            variable=f"{PREFIX}{section}__{key}".upper(),
            default=field.default,
            example=next(iter(field.examples or ()), None),
            meaning=str(field.description),
        )


SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    name: type(field.default) for name, field in Settings.model_fields.items()
}
KEYS: Final = {
    key.name: key for section, model in SECTIONS.items() for key in _keys(section, model)
}
"""All keys, by name."""


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
