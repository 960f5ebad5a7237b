"""Reads the contract with PTS: the default one, or ``api.contract_file``."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from worker.config.settings import message_of
from worker.config.sources import parse_toml, read_text
from worker.core.area import AREAS, ColumnType
from worker.core.contract import STYLES, AreaContract, Contract
from worker.core.display import counted
from worker.errors import ConfigurationError

_KEY: Final = "api.contract_file"
_MADE_OF_LEAVES: Final = frozenset({ColumnType.TEXT, ColumnType.JSON})
_OTHER_FORMAT: Final = re.compile(r"\A\s*\{|^(openapi|swagger)\s*:", re.MULTILINE)
_CONTRACTS: Final = TypeAdapter(dict[str, AreaContract])


def default_contract_text() -> str:
    """The default contract, as TOML with comments."""
    return resources.files("worker").joinpath("areas/pts.toml").read_text(encoding="utf-8")


def load_contract(path: Path | None) -> Contract:
    """The contract in force.

    Args:
        path: ``api.contract_file``. None for the default contract.

    Raises:
        ConfigurationError: the file cannot be read, is writable by others, or has errors.
    """
    if path is None:
        return read_contract(default_contract_text())
    return read_contract(read_text(path, key=_KEY), name=f"{_KEY}: {path}")


def read_contract(text: str, *, name: str = _KEY) -> Contract:
    """Read a contract.

    Args:
        name: the text's name in messages.

    Raises:
        ConfigurationError: with all errors and their positions.
    """
    if _OTHER_FORMAT.search(text):
        raise ConfigurationError(
            f"{name}: is an OpenAPI document, or JSON, and not a contract (TOML)",
            hint="`pts-worker contract from-openapi FILE --out pts.toml` proposes a contract",
        )
    tables = parse_toml(text, name=name)
    # As JSON, because strict models accept a list for a tuple only in JSON mode.
    try:
        document = json.dumps(tables, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            f"{name}: contains a date, a time, nan or inf (use strings), or is nested too deeply"
        ) from None
    areas = [area.name for area in AREAS]
    unknown = f"there is no such area; the areas are {', '.join(areas)}"
    problems = [f"{area}: {unknown}" for area in tables if area not in areas]
    try:
        contract = _CONTRACTS.validate_json(document, strict=True)
        problems += _misfits(contract)
        if not problems:
            return contract
    except ValidationError as error:
        details = error.errors(include_input=False)
        problems += [_problem(detail, tables) for detail in details if detail["loc"][0] in areas]
    raise ConfigurationError(
        f"{name}: the contract with PTS has {counted(len(problems), 'error')}:",
        problems=problems,
        hint="without api.contract_file `pts-worker contract show` prints a complete one",
    )


def _problem(detail: Any, tables: Mapping[str, Any]) -> str:
    """One error with its position, without the value."""
    problem = message_of(detail)
    if detail["type"] == "extra_forbidden":
        table = STYLES.get(detail["loc"][-2], AreaContract)
        problem = f"there is no such key; the keys are {', '.join(table.model_fields)}"
    elif detail["type"] == "missing":
        problem = f"the key {detail['loc'][-1]} is missing"
    elif detail["type"].startswith("union_tag"):  # pydantic's text contains the value
        problem = f"style must be one of {', '.join(STYLES)}"
    return f"{_place(detail['loc'], tables)}: {problem}"


def _place(parts: tuple[str | int, ...], tables: Any) -> str:
    """The keys and positions among the parts, without the names of pydantic's models."""
    place, here = "", tables
    for part in parts:
        if isinstance(part, int):
            place += f"[{part}]"
        elif isinstance(here, dict) and part in here:
            place += f".{part}" if place else part
            here = here[part]
    return place


def _misfits(contract: Contract) -> Iterator[str]:
    """Errors about areas and columns that the program does not have."""
    for area in (area for area in AREAS if area.name in contract):
        declared = contract[area.name]
        types = {column.name: column.type for column in area.columns if not column.derived_from}
        for column, source in declared.columns.items():
            place, names = f"{area.name}.columns.{column}", ", ".join(types)
            if column not in types:
                yield f"{place}: there is no such column; keep the field in `extra`, or use {names}"
            # Leaves become a JSON text, which is neither a number nor a time.
            elif isinstance(source, dict) and types[column] not in _MADE_OF_LEAVES:
                yield f"{place}: has the type {types[column]}, and cannot be made of leaves"
            elif column in {*declared.required, *area.effect.deciding} & set(declared.volatile):
                # Its change alone must create a version, or a removal could go unnoticed.
                yield f"{area.name}.volatile: remove {column}; its changes must create versions"
