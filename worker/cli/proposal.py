"""Proposes an area's contract for answers, be they live or made up by a document.

Columns are found by name: case, underscores and nesting aside. What differs from the contract in
force is marked as a proposal; what could say that records are missing is never ignored, but left
for a person to declare.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from pydantic import ValidationError

from worker.cli.toml_text import toml_line
from worker.core.area import ResourceArea
from worker.core.contract import EACH, HEADER, AreaContract, SourceText, fields_of
from worker.core.paths import UNNAMED, leaves, parse_path, safe_path
from worker.errors import DataContractError

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``name_of`` gives them."""
REFUSED: Final = "not declared, so refused"

_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_EMPTY: Final = {dict: "object", list: "nothing", type(None): "null"}
_SAYS_NOTHING: Final = {"string", "null", "nothing"}
"""Kinds of fields that may say nothing: an address, a number or a flag may speak of more. So may a
text, unless paging or a total tells already where the records end."""
_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "next_link": ("url", "next nextlink nexturl nextpage href"),
    "reference": ("integer", "pagingreference"),
    "token": ("string", "next cursor token nexttoken nextpagetoken nextcursor continuationtoken"),
    "page": ("integer", "page pagenumber currentpage"),
    "offset": ("integer", "offset skip startindex"),
    "more": ("boolean", "hasmore hasnext hasnextpage more"),
    "pages": ("integer", "totalpages pagecount pages"),
    "total": ("integer", "total totalcount totalelements totalrecords totalitems"),
    "expect": ("boolean", "success issuccess succeeded ok"),
    "answer_person": ("string", " ".join(PERSON_NAMES)),
}
"""What a field around the records may be: its kind, and its names as ``name_of`` gives them."""
_STYLES: Final = ("next_link", "reference", "token", "page", "offset")
_ENDS: Final = {"page": ("more", "pages"), "offset": ("more",)}
"""What else tells the last page, by style."""
_COUNT: Final = "x-total-count"
_PUNCTUATION: Final = re.compile(r"[^a-z0-9.]+")
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")
_PICK: Final = re.compile(r"\[[^\]]*\]")


class Leaf(NamedTuple):
    """What is known of one leaf.

    Attributes:
        kinds: JSON's kinds; ``url`` for a text that is an address, and ``nothing`` for the elements
            of a list that was always empty.
        records: in how many records it stands, or around how many lists.
    """

    kinds: frozenset[str]
    records: int


Shape: TypeAlias = Mapping[str, Leaf]
"""Leaves by their path, with ``[]`` for an element of a list; never a value."""


def plain(path: str) -> str:
    """A path for comparing names: without case and punctuation, but with its dots."""
    return _PUNCTUATION.sub("", path.lower())


def name_of(path: str) -> str:
    """The last name of a path, for comparing."""
    return plain(path).rpartition(".")[2]


def shape_of(answers: Iterable[Any]) -> Shape:
    """The shape of these answers.

    A path that does not look like one is ``?``: it may hold an identifier.

    Raises:
        ContractError: one is nested too deeply.
    """
    kinds, counts = defaultdict[str, set[str]](set), Counter[str]()
    for answer in answers:
        seen = set[tuple[str, str]]()
        for path, value in leaves(answer):
            name = safe_path(path + ("[]" if value == [] else ""))
            kinds[name].add(_kind_of(value))
            seen.add((path.partition("]")[0], name))
        counts.update(name for _, name in seen)
    return {name: Leaf(frozenset(kinds[name]), counts[name]) for name in kinds}


def _kind_of(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("https://", "http://", "/")):
        return "url"
    return (_KINDS | _EMPTY)[type(value)]


def _list_of_records(area: str, shape: Shape) -> str:
    """The outermost list of objects; one that was always empty counts if there is no other."""
    full = {path.partition("[]")[0] for path in shape if "[]." in path}
    empty = {path.partition("[]")[0] for path in shape if "nothing" in shape[path].kinds}
    found = sorted(full or empty)
    if len(found) != 1:
        named = " and ".join(one or "the answer itself" for one in found) or "none"
        raise DataContractError(f"{area}: one list must be that of the records; found: {named}")
    return found[0]


@dataclass(slots=True)
class Draft:
    """One area's part of a contract.

    Attributes:
        known: the contract in force.
        table: the keys of the contract; at first those in force.
        facts: what was seen, in a line each.
        notes: comments by key; a guess begins with ``proposal``.
        rows: the fields of the answers; each with its kinds, records, and what becomes of it.
        contract: the result; None if nothing could be concluded, so that the one in force stands.
    """

    known: AreaContract
    table: dict[str, Any] = field(init=False)
    facts: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: list[dict[str, Any]] = field(default_factory=list)
    contract: AreaContract | None = None

    def __post_init__(self) -> None:
        self.table = self.known.model_dump(mode="json")

    def propose(self, key: str, text: str) -> None:
        """Say why what stands at a key is a guess."""
        self.notes[key].append(f"proposal: {text}")


def propose(area: ResourceArea, draft: Draft, shape: Shape, headers: Container[str] = ()) -> None:
    """Complete a draft by the shape of answers, and by the names of their headers.

    Raises:
        DataContractError: no contract can be made of it.
    """
    draft.table["records"] = records = _list_of_records(area.name, shape)
    shown = {path: leaf for path, leaf in shape.items() if UNNAMED not in path}
    fields = [
        path.removeprefix(f"{records}[].") for path in shown if path.startswith(f"{records}[].")
    ]
    if fields:
        around = {path: shown[path] for path in shown if not path.startswith(f"{records}[]")}
        _declare_records(draft, area, _Fields(fields))
        _declare_around(draft, around, headers)
        draft.contract = _validated(area.name, draft)
    else:
        draft.facts.append("no record was seen: the contract in force stands")
    draft.rows = [*_rows(draft, draft.contract or draft.known, shape)]


def _validated(area: str, draft: Draft) -> AreaContract:
    """The contract, with a mark at each key that is another than in force."""
    for key, value in draft.known.model_dump(mode="json").items():
        if value != draft.table[key] and key not in draft.notes:
            draft.notes[key].append("proposal")
    try:
        return AreaContract.model_validate_json(json.dumps(draft.table))
    except ValidationError as error:
        keys = ", ".join(sorted({str(*fault["loc"][:1]) for fault in error.errors()}))
        raise DataContractError(f"{area}: no contract can be made with this {keys}") from None


class _Fields:
    """The fields of one area's records, to be found by declared paths and by names."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = sorted(paths, key=lambda path: (path.count("."), path))
        self._spelt = {plain(name): name for path in self._paths for name in _NAME.findall(path)}

    def source(self, declared: SourceText, names: Iterable[str] = ()) -> Any:
        """What is declared, in the answers' spelling, if it is there; else a field of these names.

        Empty if neither is.
        """
        if isinstance(declared, dict):
            found: dict[str, Any] = {
                leaf: [*map(self._respelt, paths)] for leaf, paths in declared.items()
            }
            return found if fields_of(found).intersection(self._paths) else {}
        respelt = [*map(self._respelt, declared)]
        if any(fields_of((path,)).issubset(self._paths) for path in respelt):
            return respelt
        bare = (plain(_PICK.sub("", path)).replace(".", "") for path in respelt)
        return self._called({*names, *bare})

    def _respelt(self, declared: str) -> str:
        """A declared path in the answers' spelling."""
        return _NAME.sub(lambda name: self._spelt.get(plain(name[0]), name[0]), declared)

    def _called(self, names: set[str]) -> list[str]:
        """The least nested field of one of the names: another may be a parent's."""
        called = (path for path in self._paths if names.intersection(_names_of(path)))
        return [*islice(called, 1)]


def _names_of(path: str) -> Iterator[str]:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
    parts = plain(path).split(".")
    return ("".join(parts[start:]) for start in range(len(parts)) if "[]" not in path)


def _declare_records(draft: Draft, area: ResourceArea, fields: _Fields) -> None:
    """Declare id, person and columns. What is not found stays: another person may have it."""
    table, known = draft.table, draft.known
    table["id"] = "+".join(fields.source(tuple(known.id.split("+")), _IDS)) or known.id
    table["person"] = fields.source(known.person, PERSON_NAMES) or table["person"]
    names = [column.name for column in area.columns if not column.never_of]
    found = {name: fields.source(known.columns.get(name, ()), [plain(name)]) for name in names}
    table["columns"] |= {name: source for name, source in found.items() if source}
    if missing := [name for name in names if not found[name]]:
        draft.facts.append(f"columns without a field: {', '.join(missing)}")
    for name in {*missing}.intersection(known.required):
        draft.propose("required", f"no field is called {name}: all records are refused")


def _declare_around(draft: Draft, around: Shape, headers: Container[str]) -> None:
    """Declare what stands around the records, or leave it out, so that it is refused.

    What the contract in force declares around the same list stands if all of that was seen.
    """
    table, known = draft.table, draft.known
    places, seen = known.places, {path.removesuffix("[]") for path in around}
    if table["records"] != known.records or not places - {*known.ignore} <= seen:
        table |= {"ignore": [], "answer_person": [], "expect": {}, "total": "", "paging": None}
        places = frozenset()
    new = {path: leaf for path, leaf in around.items() if path.removesuffix("[]") not in places}
    roles = {path: _role_of(path, leaf) for path, leaf in new.items()}
    if not table["paging"] and "link" in headers:
        table["paging"] = {"style": "link"}
    elif not table["paging"]:
        _declare_paging(draft, {role: path for path, role in roles.items()})
    if not table["total"] and _COUNT in headers:
        table["total"] = f"{HEADER}{_COUNT}"
    for path, role in roles.items():
        if role == "answer_person":
            table[role].append(path)
        elif role == "expect":
            table[role][path] = True
        elif role == "total":
            table[role] = table[role] or path
    if table["paging"] or table["total"]:
        table["ignore"] += [path.removesuffix("[]") for path in roles if roles[path] == "ignore"]


def _role_of(path: str, leaf: Leaf) -> str:
    """What a field around the records may be, by its name and kinds; empty if nobody knows."""
    name, is_one = name_of(path), "[]" not in path
    for role, (kind, names) in _ROLES.items():
        if is_one and kind in leaf.kinds and name in names.split():
            return role
    is_plain = leaf.kinds <= _SAYS_NOTHING and "[]" not in path.removesuffix("[]")
    return "ignore" if is_plain else ""


def _declare_paging(draft: Draft, found: Mapping[str, str]) -> None:
    """Declare the style of paging that the fields around the records suggest."""
    style = next((style for style in _STYLES if style in found), None)
    if style is None:
        return
    field = found[style]
    parts = {"field": field} | {part: found[part] for part in _ENDS.get(style, ()) if part in found}
    draft.table["paging"] = {"style": style, **parts}
    if style in {"token", "page", "offset"}:
        name = parse_path(field).segments[-1].name
        draft.table["paging"] |= {"send_as": name, "send_in": "body"}


def _rows(draft: Draft, contract: AreaContract, shape: Shape) -> Iterator[dict[str, Any]]:
    """What becomes of each field; a note of ``extra`` has each that could be kept."""
    sources: dict[str, SourceText] = {
        "id": tuple(contract.id.split("+")),
        "person": contract.person,
    }
    sources |= {f"column {name}": source for name, source in contract.columns.items()}
    sources |= {f"extra {name}": source for name, source in contract.extra.items()}
    uses = {field: key for key, source in sources.items() for field in fields_of(source)}
    before = f"{draft.table['records']}[]"
    for path, leaf in shape.items():
        inside = path.removeprefix(f"{before}.")
        if UNNAMED in path:
            end = "no name that can be shown"
        elif not path.startswith(before):
            end = "declared" if path.removesuffix("[]") in contract.places else REFUSED
        else:
            end = uses.get(inside) or _candidate(draft, inside)
        found = {"kinds": "|".join(sorted(leaf.kinds)), "records": leaf.records, "becomes": end}
        yield {"field": path.removeprefix("[]."), **found}


def _candidate(draft: Draft, path: str) -> str:
    """What becomes of a field that no column takes; ``extra`` could, unless it is in two lists."""
    array, _, inside = path.rpartition("[].")
    if path.endswith("[]") or "[]" in array:
        return ""
    name = re.sub(r"\W+", "_", path).strip("_").lower()
    value = {EACH: array, name: inside} if array else path
    draft.notes["extra"].append(toml_line(name, value))
    return "candidate for extra"
