"""Reads the contract with PTS: the one that comes with the program, or ``api.contract_file``."""

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from worker.areas import AREAS
from worker.config.settings import message_of
from worker.config.sources import parse_toml, read_text
from worker.core.area import ColumnType
from worker.core.contract import AreaContract, Contract
from worker.core.display import counted
from worker.errors import ConfigurationError

_KEY: Final = "api.contract_file"
_MADE_OF_LEAVES: Final = frozenset({ColumnType.TEXT, ColumnType.JSON})
_CONTRACTS: Final = TypeAdapter(dict[str, AreaContract])


def default_contract_text() -> str:
    """The contract that comes with the program, as TOML with comments."""
    return resources.files("worker.areas").joinpath("pts.toml").read_text(encoding="utf-8")


def load_contract(path: Path | None) -> Contract:
    """The contract in force.

    Args:
        path: ``api.contract_file``; None for the one that comes with the program.

    Raises:
        ConfigurationError: it cannot be read, others than its owner can change it, or has faults.
    """
    if path is None:
        return read_contract(default_contract_text())
    return read_contract(read_text(path, key=_KEY), name=f"{_KEY}: {path}")


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
    problems: list[str] = []
    contract: Contract = {}
    try:
        contract = _CONTRACTS.validate_json(document, strict=True)
    except ValidationError as error:
        problems = [_problem(fault, tables) for fault in error.errors(include_input=False)]
    if problems := problems or [*_misfits(contract)]:
        faults = f"{name}: the contract with PTS has {counted(len(problems), 'fault')}:"
        raise ConfigurationError(
            "\n  - ".join([faults, *problems]),
            problems=problems,
            hint="without api.contract_file `pts-worker contract show` prints a complete one",
        )
    return contract


def _problem(fault: Any, tables: Mapping[str, Any]) -> str:
    """One fault with its place, without the value."""
    is_unknown = fault["type"] == "extra_forbidden"
    place = _place(fault["loc"], tables, is_key=is_unknown or fault["type"] == "missing")
    return f"{place}: {'there is no such key' if is_unknown else message_of(fault)}"


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
    for name in contract.keys() - areas.keys():
        yield f"{name}: there is no such area; known are {', '.join(areas)}"
    for name in contract.keys() & areas.keys():
        columns = {column.name: column for column in areas[name].columns if not column.never_of}
        for column, source in contract[name].columns.items():
            place = f"{name}.columns.{column}"
            if column not in columns:
                known = ", ".join(columns)
                yield f"{place}: there is no such column; keep the field in `extra`, or use {known}"
            elif isinstance(source, dict) and columns[column].type not in _MADE_OF_LEAVES:
                kind = columns[column].type
                yield f"{place}: has the type {kind}, and cannot be made of leaves"
