"""Proposes an area's contract for a shape: which field is which column, by name.

What is sure is declared; what is a guess is marked as one (``# proposal``); what could say that
records are missing is never ignored, but left for a person to declare.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from worker.contracts.shape import Shape, lists_of
from worker.core.area import ColumnType, ResourceArea
from worker.core.contract import EACH, AreaContract
from worker.core.paths import parse_path
from worker.core.value import Value
from worker.errors import DataContractError

PROPOSAL: Final = "proposal"
_NO_NAME: Final = "?"
_PUNCTUATION: Final = re.compile(r"[^a-z0-9.]+")
_SPEAKS_OF_MORE: Final = re.compile(
    "next|more|page|paging|offset|total|count|skip|limit|cursor|continu|token|trunc|partial|remain"
    "|last|size|complete|start|index|error|status|success|fail"
)
PERSONS: Final = frozenset({"offid", "nationalid", "personidentifier", "nationalidentitynumber"})
_TOTALS: Final = frozenset({"total", "totalcount", "totalelements", "totalrecords", "totalitems"})
_TOKENS: Final = frozenset(
    {"next", "nexttoken", "nextpagetoken", "nextcursor", "cursor", "continuationtoken", "token"}
)
_LINKS: Final = frozenset({"next", "nextlink", "nexturl", "nextpage", "href"})
_PAGES: Final = frozenset({"page", "pagenumber", "currentpage"})
_OFFSETS: Final = frozenset({"offset", "skip", "startindex"})
_MORE: Final = frozenset({"hasmore", "hasnext", "hasnextpage", "more"})
_LAST_PAGES: Final = frozenset({"totalpages", "pagecount", "pages"})
_SUCCESS: Final = frozenset({"success", "issuccess", "succeeded", "ok"})
_CURRENT: Final = frozenset({"current", "iscurrent"})
_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_FITTING: Final[Mapping[ColumnType, frozenset[str]]] = {
    ColumnType.TEXT: frozenset({"string", "url", "integer"}),
    ColumnType.INTEGER: frozenset({"integer", "number"}),
    ColumnType.BOOLEAN: frozenset({"boolean"}),
    ColumnType.TIME: frozenset({"string"}),
    ColumnType.JSON: frozenset({"string", "integer", "number", "boolean"}),
}


class Asked(NamedTuple):
    """What is known of the request.

    Attributes:
        table: the keys ``path``, ``query``, ``headers``, ``body`` and the like.
        notes: proposals about it, by key.
        fields: names that a continuation may be sent back as, in the body and in the query.
    """

    table: Mapping[str, Any]
    notes: Mapping[str, list[str]]
    fields: Mapping[str, str]


class Row(NamedTuple):
    """A field, its kinds, in how many records, and what becomes of it."""

    field: str
    kinds: str
    records: int
    becomes: str


class Proposal(Value, frozen=True, kw_only=True):
    """A proposed contract.

    Attributes:
        notes: comments by key; empty for the area.
        empty: columns that no field is mapped to.
        left: fields that nothing is made of, so that answers with them may be refused.
    """

    contract: AreaContract
    notes: Mapping[str, list[str]]
    rows: tuple[Row, ...]
    empty: tuple[str, ...]
    left: tuple[str, ...]


def propose(area: ResourceArea, known: AreaContract, asked: Asked, shape: Shape) -> Proposal:
    """The contract of answers of this shape.

    Args:
        known: the contract in force, whose paths are names that a column is known by.

    Raises:
        DataContractError: no list of objects, or several, could be that of the records.
    """
    lists = lists_of(shape)
    if len(lists) != 1:
        named = " and ".join(one or "the answer itself" for one in lists) or "none"
        raise DataContractError(
            f"{area.name}: one list of objects must be that of the records; found: {named}"
        )
    return _Mapper(area, known, asked, shape, lists[0]).proposal()


def _checked(area: str, table: Mapping[str, Any]) -> AreaContract:
    try:
        return AreaContract.model_validate_json(json.dumps(table))
    except ValidationError as error:
        keys = sorted({str(fault["loc"][0]) for fault in error.errors() if fault["loc"]})
        raise DataContractError(
            f"{area}: no contract can be made of what is said of {', '.join(keys) or 'it'}"
        ) from None


def plain(path: str) -> str:
    """A path for comparing names: without case and punctuation, but with its dots."""
    return _PUNCTUATION.sub("", path.lower())


def _tail(path: str) -> str:
    return plain(path).rpartition(".")[2]


def _is_called(path: str, alias: str) -> bool:
    """Whether a path's last names, joined, are the alias."""
    parts = plain(path).split(".")
    return any("".join(parts[start:]) == alias for start in range(len(parts)))


class _Mapper:
    def __init__(
        self, area: ResourceArea, known: AreaContract, asked: Asked, shape: Shape, records: str
    ) -> None:
        self._area = area
        self._known = known
        self._asked = asked
        self._shape = shape
        self._before = f"{records}[]."
        named = {path: leaf for path, leaf in shape.items() if _NO_NAME not in path}
        self._fields = {
            path.removeprefix(self._before): leaf
            for path, leaf in named.items()
            if path.startswith(self._before)
        }
        self._around = {
            path: leaf for path, leaf in named.items() if not path.startswith(f"{records}[]")
        }
        self._fate = dict.fromkeys(shape.keys() - named.keys(), "no name that can be shown")
        self._notes = {key: [*notes] for key, notes in asked.notes.items()}
        self._table: dict[str, Any] = {**asked.table, "records": records}
        self._left: list[str] = []

    def proposal(self) -> Proposal:
        if not self._fields:
            self._keep_known()
            return self._result(self._known.columns)
        self._map_id()
        persons = self._nearest(
            [path for path in self._fields if _tail(path) in PERSONS and "[]" not in path],
            self._known.person,
            "person",
        )
        self._table["person"] = persons
        for path in persons:
            self._fate[self._before + path] = "person"
        columns = self._columns()
        self._table |= {"columns": columns}
        self._table["required"] = list(self._known.required)
        for name in self._known.required:
            if name not in columns:
                # Its former paths stay: without them, records without it would be published.
                self._table["columns"] = {name: self._known.columns[name], **self._table["columns"]}
                self._propose("required", f"no field is called {name}: all records are refused")
        known = self._known.values.items()
        self._table["values"] = {n: one for n, one in known if n in self._table["columns"]}
        self._map_around()
        self._note_candidates()
        return self._result(columns)

    def _keep_known(self) -> None:
        """Nobody had a record, so that nothing is known of records."""
        known = self._known.model_dump(mode="json")
        names = ("id", "person", "required", "volatile", "columns", "values", "extra")
        self._table |= {name: known[name] for name in names}
        self._propose("id", "no record was seen: from here on as in force")
        self._map_around()

    def _result(self, columns: Mapping[str, Any]) -> Proposal:
        wanted = (column.name for column in self._area.columns if not column.never_of)
        rows = (
            Row(
                path.removeprefix("[]."),
                "|".join(sorted(leaf.kinds)),
                leaf.records,
                self._fate.get(path, "not declared"),
            )
            for path, leaf in self._shape.items()
        )
        return Proposal(
            contract=_checked(self._area.name, self._table),
            notes=self._notes,
            rows=tuple(rows),
            empty=tuple(name for name in wanted if name not in columns),
            left=tuple(self._left),
        )

    def _propose(self, key: str, text: str) -> None:
        self._notes.setdefault(key, []).append(f"{PROPOSAL}: {text}")

    def _map_id(self) -> None:
        flat = [path for path in self._fields if "[]" not in path]
        ranked = sorted(
            (_IDS.index(_tail(path)), path.count("."), path)
            for path in flat
            if _tail(path) in _IDS and not path.count(".") > (_tail(path) != "id")
        )
        if not ranked:
            self._propose("id", "no field looks like a record's id; name the one that is")
            return
        _, _, path = ranked[0]
        self._table["id"] = path
        self._fate[self._before + path] = "id"
        if plain(path) != "id":
            self._propose("id", f"{path} is unique among a person's records, and lasts")

    def _columns(self) -> dict[str, Any]:
        found = dict[str, Any]()
        for column in self._area.columns:
            if column.never_of:
                continue
            source = self._known.columns.get(column.name, (column.name,))
            aliases = {plain(column.name), *_aliases(source)}
            paths = [*self._paths(column.name, column.type, aliases)]
            if paths:
                found[column.name] = paths
            elif isinstance(source, dict) and (made := self._made_of_leaves(column.name, source)):
                found[column.name] = made
        return found

    def _paths(self, name: str, kind: ColumnType, aliases: Iterable[str]) -> Iterator[str]:
        source = self._known.columns.get(name, ())
        called = [p for p in self._fields if any(_is_called(p, alias) for alias in aliases)]
        for path in self._nearest(called, () if isinstance(source, dict) else source, name):
            leaf = self._fields[path]
            text = self._picked(name, path)
            if text is None:
                continue
            if not leaf.kinds & _FITTING[kind]:
                kinds = "|".join(sorted(leaf.kinds))
                self._propose("columns", f"{path} is {kinds}, and {name} is a {kind}: not mapped")
                continue
            if kind is ColumnType.TEXT and "integer" in leaf.kinds:
                self._propose("values", f"{path} has numbers: say what each means in {name}")
            self._becomes(path, f"column {name}")
            yield text

    def _nearest(self, paths: list[str], known: Iterable[str], name: str) -> list[str]:
        """Those that the contract in force declares; else the one that is nested least.

        Another one's may be a parent's, and say something else.
        """
        declared = [parse_path(path).general for path in known]
        if found := [path for path in declared if path in paths]:
            return found
        ranked = sorted(paths, key=lambda path: path.count("."))
        if ranked[1:]:
            key = "person" if name == "person" else "columns"
            self._propose(key, f"{ranked[0]} is {name}, and {', '.join(ranked[1:4])} is not")
        return ranked[:1]

    def _becomes(self, path: str, what: str) -> None:
        place = self._before + path
        self._fate[place] = f"{self._fate[place]}, {what}" if place in self._fate else what

    def _picked(self, name: str, path: str) -> str | None:
        """The path into the one element of each list that counts; None if none does for sure."""
        parts = path.split("[]")
        text = parts[0]
        for index, part in enumerate(parts[1:], start=1):
            array = "[]".join(parts[:index])
            flags = (
                other.removeprefix(f"{array}[].")
                for other, leaf in self._fields.items()
                if other.startswith(f"{array}[].") and "boolean" in leaf.kinds
            )
            flag = next((one for one in flags if plain(one) in _CURRENT), None)
            if flag is not None:
                self._fate[f"{self._before}{array}[].{flag}"] = "picks the rule in force"
                text += f"[{flag}=true]{part}"
            elif _first_counts(self._known.columns.get(name, ())):
                text += f"[0]{part}"
            else:
                return None
        return text

    def _made_of_leaves(self, name: str, source: Mapping[str, Any]) -> dict[str, Any]:
        each = source.get(EACH)
        lists = {path.partition("[].")[0] for path in self._fields if "[]." in path}
        wanted = _aliases(each) if each else frozenset()
        array = next((one for one in sorted(lists) if any(_is_called(one, a) for a in wanted)), "")
        if each and not array:
            return {}
        made = dict[str, Any]()
        for leaf, paths in source.items():
            for path in self._fields:
                own = path.removeprefix(f"{array}[].") if each else path
                is_inside = own != path if each else "[]" not in path
                if leaf != EACH and is_inside and any(_is_called(own, a) for a in _aliases(paths)):
                    made.setdefault(leaf, []).append(own)
                    self._becomes(path, f"column {name}")
        return {EACH: [array], **made} if each and made else made

    def _map_around(self) -> None:
        self._table |= {"paging": self._paging(), "expect": {}, "answer_person": [], "ignore": []}
        for path, leaf in self._around.items():
            if path in self._fate:
                continue
            tail = _tail(path)
            if tail in PERSONS and "[]" not in path:
                self._keep(path, "answer_person", "the person of the answer")
            elif tail in _TOTALS or plain(path).endswith("odata.count"):
                self._table["total"] = path
                self._fate[path] = "total"
                self._propose("total", f"{path} is the number of records over all pages")
            elif tail in _SUCCESS and "boolean" in leaf.kinds:
                self._table["expect"][path] = True
                self._fate[path] = "expected to be true"
                self._propose("expect", f"{path} is true where the answer is complete")
            elif path.endswith("[]") and path.count("[]") == 1 and not _SPEAKS_OF_MORE.search(tail):
                self._keep(path[:-2], "ignore", "ignored while it is empty")
                self._propose("ignore", f"{path[:-2]} says nothing; refused once it is not empty")
                self._fate[path] = "ignored while it is empty"
            elif _SPEAKS_OF_MORE.search(tail) or "[]" in path:
                self._left.append(path)
                self._propose("ignore", f"{path} is not declared, and answers with it are refused")
            else:
                self._keep(path, "ignore", "ignored")
                self._propose("ignore", f"{path} says nothing about missing records")

    def _keep(self, path: str, key: str, fate: str) -> None:
        self._table[key].append(path)
        self._fate[path] = fate

    def _paging(self) -> dict[str, Any] | str:
        """A style that the leaves around the records suggest."""
        called = self._around_called
        if (found := called(_LINKS, "url")) is not None:
            return self._paged(found, style="next_link", field=found)
        if (found := called(frozenset({"pagingreference"}), "integer")) is not None:
            return self._paged(found, style="reference", field=found)
        if (found := called(_TOKENS, "string")) is not None:
            return self._paged(found, style="token", field=found, **self._sent(found))
        for style, names in (("page", _PAGES), ("offset", _OFFSETS)):
            if (found := called(names, "integer")) is not None:
                more = {"more": called(_MORE, "boolean")}
                pages = {"pages": called(_LAST_PAGES, "integer")} if style == "page" else {}
                told = {key: path for key, path in {**more, **pages}.items() if path}
                self._fate |= dict.fromkeys(told.values(), "paging")
                sent = self._sent(found, *names)
                return self._paged(found, style=style, field=found, **sent, **told)
        if "link" in self._asked.fields:
            return self._paged("Link", style="link")
        return "none"

    def _around_called(self, names: frozenset[str], kind: str) -> str | None:
        for path, leaf in self._around.items():
            if _tail(path) in names and kind in leaf.kinds and "[]" not in path:
                return path
        return None

    def _paged(self, place: str, /, **paging: Any) -> dict[str, Any]:
        self._fate[place] = "paging"
        self._propose("paging", f"{place} looks like the style {paging['style']}; ask NHN")
        return paging

    def _sent(self, field: str, *others: str) -> dict[str, str]:
        """As what a continuation is sent back, and where."""
        own = _tail(field)
        for name, place in self._asked.fields.items():
            if plain(name) in {own, *others, own.removeprefix("next"), f"next{own}"}:
                return {"send_as": name, "send_in": place}
        return {"send_as": parse_path(field).segments[-1].name, "send_in": "body"}

    def _note_candidates(self) -> None:
        """Comments for what no column takes: further fields that `extra` could keep."""
        for path in self._fields:
            if self._before + path in self._fate:
                continue
            self._fate[self._before + path] = "candidate for extra"
            array, _, leaf = path.rpartition("[].")
            name = re.sub(r"\W+", "_", path.replace("[]", "")).lower()
            value = f'{{each = "{array}", {name} = "{leaf}"}}' if array else f'"{path}"'
            if "[]" in array or path.endswith("[]"):
                value = f'"{path}", which is a list'
            self._notes.setdefault("extra", []).append(f"{name} = {value}")


def _first_counts(source: Any) -> bool:
    return not isinstance(source, dict) and any("[0]" in path for path in source)


def _aliases(source: Any) -> frozenset[str]:
    """The names by which the contract in force knows a column, without dots."""
    if isinstance(source, Mapping):
        return frozenset()
    bare = (re.sub(r"\[[^\]]*\]", "", path) for path in source)
    return frozenset(plain(path).replace(".", "") for path in bare)
