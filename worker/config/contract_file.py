"""Reads the contract with PTS: the one that comes with the program, or ``api.contract_file``."""

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from worker.areas import AREAS
from worker.config.toml_file import parse_toml, read_text
from worker.core.area import ColumnType, ResourceArea
from worker.core.contract import AreaContract, Contract
from worker.errors import ConfigurationError

DEFAULT_FILE: Final = "pts.toml"
_KEY: Final = "api.contract_file"
_MADE_OF_LEAVES: Final = frozenset({ColumnType.TEXT, ColumnType.JSON})
_CONTRACTS: Final = TypeAdapter(dict[str, AreaContract])


def default_contract_text() -> str:
    """The contract that comes with the program, as TOML with comments."""
    return resources.files("worker.areas").joinpath(DEFAULT_FILE).read_text(encoding="utf-8")


def contract_text(path: Path | None) -> str:
    """The text of the contract in force.

    Raises:
        ConfigurationError: the file cannot be read, or others than its owner can change it.
    """
    if path is None:
        return default_contract_text()
    return read_text(path, key=_KEY, name=f"{_KEY}: {path}")


def read_contract(text: str, *, name: str = _KEY) -> Contract:
    """Read a contract.

    Args:
        name: what the text is called in messages.

    Raises:
        ConfigurationError: with every fault and its place.
    """
    tables = parse_toml(text, name=name)
    try:
        document = json.dumps(tables, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}: holds a date, a time, nan or inf; write texts") from None
    try:
        contract = _CONTRACTS.validate_json(document, strict=True)
    except ValidationError as error:
        faults = error.errors(include_input=False)
        raise _error(name, [_problem(fault, tables) for fault in faults]) from None
    if problems := [*_misfits(contract)]:
        raise _error(name, problems)
    return contract


def _error(name: str, problems: list[str]) -> ConfigurationError:
    faults = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
    return ConfigurationError(
        "\n  - ".join([f"{name}: the contract with PTS has {faults}:", *problems]),
        problems=problems,
        hint="without api.contract_file `pts-worker contract show` prints a complete one",
    )


def load_contract(path: Path | None) -> Contract:
    """The contract in force.

    Args:
        path: ``api.contract_file``; None for the one that comes with the program.

    Raises:
        ConfigurationError: it cannot be read, or has faults.
    """
    return read_contract(contract_text(path), name=_KEY if path is None else f"{_KEY}: {path}")


def _problem(fault: Any, tables: Mapping[str, Any]) -> str:
    """One fault with its place, without the value."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        message = "there is no such key"
    is_key = fault["type"] in {"extra_forbidden", "missing"}
    return f"{_place(fault['loc'], tables, is_key=is_key)}: {message}"


def _place(parts: tuple[str | int, ...], tables: Any, *, is_key: bool) -> str:
    """The keys among the parts of a place; pydantic also names its own models there.

    Args:
        is_key: the last part is a key, be it there or not.
    """
    place, here = "", tables
    for number, part in enumerate(parts):
        is_last = is_key and number == len(parts) - 1
        if isinstance(part, int):
            place += f"[{part}]"
            here = here[part] if isinstance(here, list) and part < len(here) else None
        elif isinstance(here, dict) and (part in here or is_last):
            place += f".{part}" if place else part
            here = here.get(part)
    return place or "the file"


def _misfits(contract: Contract) -> Iterator[str]:
    """What the areas of the program do not know."""
    areas = {area.name: area for area in AREAS}
    for name, declared in contract.items():
        if name not in areas:
            yield f"{name}: there is no such area; known are {', '.join(areas)}"
        else:
            yield from _misfits_of(areas[name], declared)


def _misfits_of(area: ResourceArea, declared: AreaContract) -> Iterator[str]:
    columns = {column.name: column for column in area.columns if not column.never_of}
    for name, source in declared.columns.items():
        place = f"{area.name}.columns.{name}"
        if name not in columns:
            known = ", ".join(columns)
            yield f"{place}: there is no such column; keep the field in `extra`, or use {known}"
        elif isinstance(source, dict) and columns[name].type not in _MADE_OF_LEAVES:
            yield f"{place}: has the type {columns[name].type}, and cannot be made of leaves"
