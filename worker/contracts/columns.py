"""Finds our columns among the fields of records, by name: case, underscores and nesting aside."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from worker.contracts.draft import PERSON_NAMES, Draft, plain
from worker.contracts.shape import Shape
from worker.contracts.text import toml_value
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.contract import EACH, AreaContract, Leaves
from worker.core.paths import parse_path

_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_KINDS: Final = {
    ColumnType.TEXT: frozenset({"string", "url", "integer", "null"}),
    ColumnType.INTEGER: frozenset({"integer", "number", "null"}),
    ColumnType.BOOLEAN: frozenset({"boolean", "null"}),
    ColumnType.TIME: frozenset({"string", "null"}),
    ColumnType.JSON: frozenset({"string", "integer", "number", "boolean", "null"}),
}
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")
_PICK: Final = re.compile(r"\[[^\]]*\]")


class Mapper:
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

    def declare(self, area: ResourceArea) -> None:
        """Declare id, person, columns and what belongs to these."""
        table, known = self._draft.table, self._known.model_dump(mode="json")
        ids = self._found(self._known.id.split("+"), "id", _IDS)
        table["id"] = "+".join(ids) or known["id"]
        if not ids or table["id"] != known["id"]:
            self._draft.propose("id", f"{table['id']} is there, unique and lasting in each record")
        table["person"] = self._found(self._known.person, "person", PERSON_NAMES)
        columns = {c.name: self._column(c) for c in area.columns if not c.never_of}
        self._draft.empty = tuple(name for name, source in columns.items() if not source)
        table["required"] = known["required"]
        for name in (name for name in known["required"] if not columns[name]):
            # Its former paths stay: without them, records without it would be published.
            columns[name] = known["columns"][name]
            self._draft.propose("required", f"no field is called {name}: all records are refused")
        in_order = (*known["columns"], *columns)  # so that what is the same shows no difference
        table["columns"] = {name: columns[name] for name in in_order if columns.get(name)}
        table["values"] = {n: one for n, one in known["values"].items() if columns.get(n)}
        extra = {n: self._found(one, f"extra {n}") for n, one in self._known.extra.items()}
        table["extra"] = {name: source for name, source in extra.items() if source}
        kept = {*table["columns"], *table["extra"]}
        table["volatile"] = [name for name in known["volatile"] if name in kept]
        self._note_candidates()

    def _column(self, column: Column) -> Any:
        known = self._known.columns.get(column.name, ())
        names, kinds = [plain(column.name)], _KINDS[column.type]
        source = self._found(known, f"column {column.name}", names, kinds)
        for path in source if isinstance(source, list) else ():
            if column.type is ColumnType.TEXT and "integer" in self._kinds_of(path):
                text = f"{path} has numbers: say what each means in {column.name}"
                self._draft.propose("values", text)
        return source

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
        paths = [path for path in respelt if self._has(path)] or self._called({*names, *bare}, what)
        found = [path for path in paths if not kinds or kinds & self._kinds_of(path)]
        for path in found:
            field, *picks = (self._before + field for field in parse_path(path).fields)
            former = self._draft.becomes.get(field)
            self._draft.becomes[field] = f"{former}, {what}" if former else what
            self._draft.becomes |= dict.fromkeys(picks, "picks the element")
        return found

    def _called(self, names: set[str], what: str) -> list[str]:
        """The least nested field of one of the names: another may be a parent's."""
        called = [path for path in self._fields if names.intersection(_names_of(path))]
        first, *others = sorted(called, key=lambda path: path.count(".")) or [""]
        if others or "." in first:
            unlike = f", and not {', '.join(others[:3])}" if others else ""
            self._draft.propose("columns", f"{first} is {what}{unlike}")
        return [first] if first else []

    def _respelt(self, declared: str) -> str:
        """A declared path in the answers' spelling."""
        return _NAME.sub(lambda name: self._spelt.get(plain(name[0]), name[0]), declared)

    def _has(self, path: str) -> bool:
        return all(field in self._fields for field in parse_path(path).fields)

    def _kinds_of(self, path: str) -> frozenset[str]:
        return self._fields[parse_path(path).general].kinds

    def _note_candidates(self) -> None:
        """What no column takes, as lines that ``extra`` could have."""
        for path in self._fields:
            if self._before + path not in self._draft.becomes:
                self._draft.becomes[self._before + path] = "candidate for extra"
                array, _, leaf = path.rpartition("[].")
                name = re.sub(r"\W+", "_", path).strip("_").lower()
                value = {EACH: array, name: leaf} if array else path
                if path.endswith("[]"):
                    self._draft.becomes[self._before + path] = "a list of values: it cannot be kept"
                elif "[]" not in array + leaf and "object" not in self._fields[path].kinds:
                    self._draft.notes["extra"].append(f"{name} = {toml_value(value)}")


def _names_of(path: str) -> Iterator[str]:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
    parts = plain(path).split(".")
    return ("".join(parts[start:]) for start in range(len(parts)) if "[]" not in path)
