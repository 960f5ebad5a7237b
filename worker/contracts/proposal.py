"""Proposes an area's contract for the shape of answers.

Columns are found by name: case, underscores and nesting aside. What differs from the contract in
force is marked as a proposal; what could say that records are missing is never ignored, but left
for a person to declare.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from worker.contracts.shape import Leaf, Shape, lists_of
from worker.contracts.text import toml_value
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.contract import EACH, HEADER, AreaContract, Leaves
from worker.core.paths import UNNAMED, parse_path
from worker.errors import DataContractError

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``name_of`` gives them."""
REFUSED: Final = "not declared, so refused"

_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_KINDS: Final = {
    ColumnType.TEXT: frozenset({"string", "url", "integer", "null"}),
    ColumnType.INTEGER: frozenset({"integer", "number", "null"}),
    ColumnType.BOOLEAN: frozenset({"boolean", "null"}),
    ColumnType.TIME: frozenset({"string", "null"}),
    ColumnType.JSON: frozenset({"string", "integer", "number", "boolean", "null"}),
}
_SPEAKS_OF_MORE: Final = re.compile(
    "next|more|page|paging|offset|total|count|skip|limit|cursor|continu|token|trunc|partial|remain"
    "|last|size|complete|start|index|error|status|success|fail"
)
_SAYS_NOTHING: Final = {"string", "null", "nothing"}
"""Kinds of fields that may say nothing: an address, a number or a flag may speak of more."""
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
_SENT_BACK: Final = ("token", "page", "offset")
_ENDS: Final = {"page": ("more", "pages"), "offset": ("more",)}
"""What else tells the last page, by style."""
_OF_RECORDS: Final = ("id", "person", "required", "volatile", "columns", "values", "extra")
_PUNCTUATION: Final = re.compile(r"[^a-z0-9.]+")
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")
_PICK: Final = re.compile(r"\[[^\]]*\]")


def plain(path: str) -> str:
    """A path for comparing names: without case and punctuation, but with its dots."""
    return _PUNCTUATION.sub("", path.lower())


def name_of(path: str) -> str:
    """The last name of a path, for comparing."""
    return plain(path).rpartition(".")[2]


class Draft:
    """One area's part of a contract.

    Attributes:
        contract: the result; None if nothing could be concluded, so that the one in force stands.
        facts: what was seen, in a line each.
        table: the keys of the contract.
        notes: comments by key; a guess begins with ``proposal``.
        sendable: where a request may have a field of this name: ``query`` or ``body``.
        shape: the fields of the answers.
        becomes: what becomes of a field, by its path.
        empty: columns that no field is mapped to.
    """

    def __init__(self, *facts: str, **table: Any) -> None:
        self.contract: AreaContract | None = None
        self.facts = [*facts]
        self.table = table
        self.notes = defaultdict[str, list[str]](list)
        self.sendable = dict[str, str]()
        self.shape: Shape = {}
        self.becomes = dict[str, str]()
        self.empty: tuple[str, ...] = ()

    def propose(self, key: str, text: str) -> None:
        """Say why what stands at a key is a guess."""
        self.notes[key].append(f"proposal: {text}")

    def rows(self) -> list[dict[str, Any]]:
        """Each field of the answers, its kinds, in how many records it stands, and its end."""
        nameless = "no name that can be shown"
        return [
            {
                "field": path.removeprefix("[]."),
                "kinds": "|".join(sorted(leaf.kinds)),
                "records": leaf.records or None,
                "becomes": nameless if UNNAMED in path else self.becomes.get(path, ""),
            }
            for path, leaf in self.shape.items()
        ]


def propose(
    area: ResourceArea,
    known: AreaContract,
    draft: Draft,
    shape: Shape,
    *,
    is_asked_by_it: bool = False,
) -> None:
    """Complete a draft by the shape of answers.

    Args:
        known: the contract in force.
        draft: what is known of the request.
        is_asked_by_it: the answers are to requests by the contract in force, so that what it
            declares around the records stands wherever they have it.

    Raises:
        DataContractError: no list of objects, or several, could be that of the records.
    """
    lists = lists_of(shape)
    if len(lists) != 1:
        named = " and ".join(one or "the answer itself" for one in lists) or "none"
        raise DataContractError(
            f"{area.name}: one list of objects must be that of the records; found: {named}"
        )
    in_force, before = known.model_dump(mode="json"), f"{lists[0]}[]"
    draft.shape, draft.table["records"] = shape, lists[0]
    shown = {path: leaf for path, leaf in shape.items() if UNNAMED not in path}
    around = {path: leaf for path, leaf in shown.items() if not path.startswith(before)}
    fields = {path: leaf for path, leaf in shown.items() if path.startswith(f"{before}.")}
    if fields:
        _Records(draft, known, fields, f"{before}.").declare(area, in_force)
    else:
        draft.table |= {key: in_force[key] for key in _OF_RECORDS}
        draft.propose("id", "no record was seen: from here on as in force")
    if is_asked_by_it:
        _keep(draft, known, in_force, around)
    if "paging" not in draft.table:
        _declare_paging(draft, around)
    for path, leaf in around.items():
        if path not in draft.becomes:
            draft.becomes[path] = _declare_around(draft, path, leaf)
    for key, value in draft.table.items():
        if value != in_force[key] and key not in draft.notes:
            draft.notes[key].append("proposal")
    try:
        draft.contract = AreaContract.model_validate_json(json.dumps(draft.table))
    except ValidationError as error:
        keys = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        raise DataContractError(
            f"{area.name}: no contract can be made of what is said of {', '.join(keys) or 'it'}"
        ) from None


class _Records:
    """Maps the fields of one area's records.

    Args:
        known: the contract in force; its paths are names that a column is known by.
        fields: the leaves of records, by their path in an answer.
        before: what stands there before the path in a record.
    """

    def __init__(self, draft: Draft, known: AreaContract, fields: Shape, before: str) -> None:
        self._draft = draft
        self._known = known
        self._fields = {path.removeprefix(before): leaf for path, leaf in fields.items()}
        self._before = before
        self._spelt = {plain(name): name for path in self._fields for name in _NAME.findall(path)}

    def declare(self, area: ResourceArea, in_force: Mapping[str, Any]) -> None:
        """Declare id, person, columns and what belongs to these."""
        table = self._draft.table
        table["id"] = "+".join(self._found(self._known.id.split("+"), "id", _IDS)) or in_force["id"]
        table["person"] = self._found(self._known.person, "person", PERSON_NAMES)
        columns = {c.name: self._column(c) for c in area.columns if not c.never_of}
        self._draft.empty = tuple(name for name, source in columns.items() if not source)
        table["required"] = in_force["required"]
        for name in (name for name in in_force["required"] if not columns[name]):
            # Its former paths stay: without them, records without it would be published.
            columns[name] = in_force["columns"][name]
            self._draft.propose("required", f"no field is called {name}: all records are refused")
        in_order = (*in_force["columns"], *columns)  # so that what is the same shows no difference
        table["columns"] = {name: columns[name] for name in in_order if columns.get(name)}
        table["values"] = {n: one for n, one in in_force["values"].items() if columns.get(n)}
        extra = {n: self._found(one, f"extra {n}") for n, one in self._known.extra.items()}
        table["extra"] = {name: source for name, source in extra.items() if source}
        kept = {*table["columns"], *table["extra"]}
        table["volatile"] = [name for name in in_force["volatile"] if name in kept]
        for path, leaf in self._fields.items():
            if self._before + path not in self._draft.becomes:
                self._draft.becomes[self._before + path] = self._left_over(path, leaf)

    def _column(self, column: Column) -> Any:
        known = self._known.columns.get(column.name, ())
        names, kinds = [plain(column.name)], _KINDS[column.type]
        source = self._found(known, f"column {column.name}", names, kinds)
        for path in source if isinstance(source, list) else ():
            if column.type is ColumnType.TEXT and "integer" in self._kinds_of(path):
                text = f"{path} has numbers: say what each means in {column.name}"
                self._draft.propose("values", text)
        return source

    def _found(
        self,
        declared: Iterable[str] | Leaves,
        what: str,
        names: Iterable[str] = (),
        kinds: frozenset[str] = frozenset(),
    ) -> Any:
        """The declared paths that are there, else a field of one of the names; empty if none is.

        Args:
            what: what these fields become.
            kinds: those that fit; if there are none, all do.
        """
        if isinstance(declared, dict):
            return self._leaves(declared, what)
        respelt = [self._respelt(path) for path in declared]
        bare = (plain(_PICK.sub("", path)).replace(".", "") for path in respelt)
        paths = [path for path in respelt if self._has(path)] or self._called({*names, *bare})
        found = [path for path in paths if not kinds or kinds & self._kinds_of(path)]
        for path in found:
            field, *picks = (self._before + field for field in parse_path(path).fields)
            former = self._draft.becomes.get(field)
            self._draft.becomes[field] = f"{former}, {what}" if former else what
            self._draft.becomes |= dict.fromkeys(picks, "picks the element")
        return found

    def _leaves(self, source: Leaves, what: str) -> dict[str, list[str]]:
        """A column that is made of leaves, perhaps of each element of a list."""
        array = self._respelt(source[EACH][0]) if EACH in source else ""
        before = f"{array}[0]." if array else ""
        made = {EACH: [array]} if array else {}
        for leaf, paths in source.items():
            inside = [self._respelt(before + path) for path in paths if leaf != EACH]
            found = self._found([path for path in inside if not array or self._has(path)], what)
            if found:
                made[leaf] = [path.removeprefix(before) for path in found]
        return made if made.keys() - {EACH} else {}

    def _called(self, names: set[str]) -> list[str]:
        """The least nested field of one of the names: another may be a parent's."""
        called = (path for path in self._fields if names.intersection(_names_of(path)))
        return sorted(called, key=lambda path: path.count("."))[:1]

    def _respelt(self, declared: str) -> str:
        """A declared path in the answers' spelling."""
        return _NAME.sub(lambda name: self._spelt.get(plain(name[0]), name[0]), declared)

    def _has(self, path: str) -> bool:
        return all(field in self._fields for field in parse_path(path).fields)

    def _kinds_of(self, path: str) -> frozenset[str]:
        return self._fields[parse_path(path).general].kinds

    def _left_over(self, path: str, leaf: Leaf) -> str:
        """What becomes of a field that no column takes; ``extra`` could, in a line of its notes."""
        if path.endswith("[]"):
            return "a list of values: it cannot be kept"
        array, _, inside = path.rpartition("[].")
        name = re.sub(r"\W+", "_", path).strip("_").lower()
        if "[]" not in array and "object" not in leaf.kinds:
            value = {EACH: array, name: inside} if array else path
            self._draft.notes["extra"].append(f"{name} = {toml_value(value)}")
        return "candidate for extra"


def _names_of(path: str) -> Iterator[str]:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
    parts = plain(path).split(".")
    return ("".join(parts[start:]) for start in range(len(parts)) if "[]" not in path)


def _keep(draft: Draft, known: AreaContract, in_force: Mapping[str, Any], around: Shape) -> None:
    """Declare around the records what the contract in force declares there, if it was seen."""
    seen = {path.removesuffix("[]") for path in around}

    def stands(place: str) -> bool:
        return place.startswith(HEADER) or place in seen

    table = draft.table
    for key in ("ignore", "answer_person"):
        table[key] = [place for place in in_force[key] if stands(place)]
    table["expect"] = {place: one for place, one in in_force["expect"].items() if stands(place)}
    if stands(known.total):
        table["total"] = known.total
    fields = {getattr(known.paging, name, "") for name in ("field", "pages", "more")} - {""}
    if known.paging is not None and all(map(stands, fields)):
        table["paging"] = in_force["paging"]
    kept = {*table["ignore"], *table["answer_person"], *table["expect"], table.get("total")}
    kept |= fields if "paging" in table else set()
    draft.becomes |= {path: "as in force" for path in around if path.removesuffix("[]") in kept}


def _has_role(role: str, path: str, leaf: Leaf) -> bool:
    kind, names = _ROLES[role]
    if role == "reference" and "null" in leaf.kinds:  # it ends with 0, and nothing else
        return False
    return name_of(path) in names.split() and kind in leaf.kinds and "[]" not in path


def _declare_paging(draft: Draft, around: Shape) -> None:
    """Declare the style of paging that the fields around the records suggest."""
    found = {
        role: path for role in _ROLES for path in around if _has_role(role, path, around[path])
    }
    style = next((style for style in _STYLES if style in found), None)
    if style is None:
        return
    field = found[style]
    parts = {"field": field} | {part: found[part] for part in _ENDS.get(style, ()) if part in found}
    draft.becomes |= dict.fromkeys(parts.values(), "paging")
    draft.table["paging"] = {"style": style, **parts}
    if style in _SENT_BACK:
        names = {name_of(field), *_ROLES[style][1].split()}
        known = [pair for pair in draft.sendable.items() if plain(pair[0]) in names]
        name, place = (*known, (parse_path(field).segments[-1].name, "body"))[0]
        draft.table["paging"] |= {"send_as": name, "send_in": place}
    draft.propose("paging", f"{field} looks like the style {style}; ask NHN")


def _declare_around(draft: Draft, path: str, leaf: Leaf) -> str:
    """Declare a field around the records, and say what becomes of it."""
    table = draft.table
    if _has_role("answer_person", path, leaf):
        table.setdefault("answer_person", []).append(path)
        return "the person of the answer"
    if _has_role("total", path, leaf) and "total" not in table:
        table["total"] = path
        return "total"
    if _has_role("expect", path, leaf):
        table.setdefault("expect", {})[path] = True
        return "expected to be true"
    is_plain = leaf.kinds <= _SAYS_NOTHING and "[]" not in path.removesuffix("[]")
    if not is_plain or _SPEAKS_OF_MORE.search(name_of(path)):
        return REFUSED
    table.setdefault("ignore", []).append(path.removesuffix("[]"))
    return "ignored while it is empty" if path.endswith("[]") else "ignored"
