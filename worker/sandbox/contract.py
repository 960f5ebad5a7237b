"""The contract by which PTS asks and answers here, read with code of the sandbox's own.

The keys are explained in ``worker/areas/pts.toml``, which is in force unless another file is named.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from worker.sandbox.restrictions import AREAS, COLUMNS

DEFAULT: Final = Path(__file__).parents[1] / "areas/pts.toml"
OFF_ID: Final = "{off_id}"
"""The placeholder for the person's identifier in the body."""
HEADER: Final = "header:"
"""Before the name of a response header, where a path could stand."""
EACH: Final = "each"
"""The key that names the array whose elements have the leaves."""

Paths: TypeAlias = str | list[str]
Source: TypeAlias = Paths | dict[str, Paths]
ContractSource: TypeAlias = Path | str | Mapping[str, Any]
"""A file, or what stands in one."""


class Paging(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How pages follow one another; which keys count depends on the style."""

    style: Literal["none", "link", "next_link", "token", "page", "offset", "reference"]
    field: str = ""
    send_as: str = ""
    send_in: Literal["body", "query"] = "body"
    first: int = 1
    pages: str = ""
    more: str = ""


class AreaContract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract of one area."""

    path: str
    query: dict[str, str] = {}
    headers: dict[str, str] = {}
    body: dict[str, Any] = msgspec.field(default_factory=lambda: {"offId": OFF_ID})
    records: str = ""
    no_records: Literal["failure", "empty"] = "failure"
    empty_status: tuple[int, ...] = ()
    expect: dict[str, Any] = {}
    answer_person: tuple[str, ...] = ()
    paging: Paging | Literal["none"] = "none"
    total: str = ""
    ignore: tuple[str, ...] = ()
    id: str = "id"
    person: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    volatile: tuple[str, ...] = ()
    naive_times: Literal["failure", "UTC", "Europe/Oslo"] = "failure"
    columns: dict[str, Source]
    values: dict[str, dict[str, str]] = {}
    extra: dict[str, Source] = {}

    @property
    def pages(self) -> Paging:
        """The paging, also where there is none."""
        return Paging(style="none") if isinstance(self.paging, str) else self.paging


Contract: TypeAlias = dict[str, AreaContract]
"""By area."""


def first_of(source: Source) -> str:
    """The path that is written: the first; empty for what is made of leaves."""
    if isinstance(source, dict):
        return ""
    return source if isinstance(source, str) else source[0]


def is_list(source: Source) -> bool:
    """Whether each element of an array has the leaves."""
    return isinstance(source, dict) and EACH in source


def read_contract(source: ContractSource) -> Contract:
    """Read a contract.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a contract.
    """
    if isinstance(source, Mapping):
        return _read("the contract", source)
    if not isinstance(source, str | Path):
        raise ValueError("contract must be a file, or what stands in one")  # noqa: TRY004
    try:
        tables = tomllib.loads(Path(source).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return _read(str(source), tables)


def _read(name: str, tables: Mapping[str, Any]) -> Contract:
    try:
        contract = msgspec.convert(tables, Contract)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from None
    if problem := next(_problems(contract), None):
        raise ValueError(f"{name}: {problem}")
    return contract


def _problems(contract: Contract) -> Iterator[str]:
    for area, declared in contract.items():
        if area not in AREAS:
            yield f"there is no area {area}; there are {' and '.join(AREAS)}"
        elif OFF_ID not in str(declared.body):
            yield f"{area}: the body does not hold {OFF_ID}"
        elif unknown := sorted(declared.columns.keys() - COLUMNS[area]):
            yield f"{area} has no column {unknown[0]}; it has {', '.join(sorted(COLUMNS[area]))}"
    if len({declared.path for declared in contract.values()}) < len(contract):
        yield "both areas have the same path"
