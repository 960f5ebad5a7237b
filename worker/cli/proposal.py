"""Proposes an area's contract for answers, be they live or described by a document.

Columns are found by name: case, underscores and nesting aside. Nothing is proposed for ``ignore``:
only a person knows whether a field around the records can mean that records are missing.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from worker.cli.fields import (
    PERSON_NAMES,
    ROLES,
    Field,
    Parameter,
    fields_in,
    names_of,
    plain,
    roles_of,
    source_of,
)
from worker.cli.toml_text import toml_line, toml_value
from worker.core.answer import TELLING, parse
from worker.core.area import ColumnType, ResourceArea
from worker.core.contract import EACH, HEADER, OFF_ID, UUID, AreaContract
from worker.core.display import counted
from worker.core.paths import UNNAMED, find, leaves, parse_path
from worker.errors import AreaError
from worker.http.response import HttpResponse

_OK: Final = 200
_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_AROUND: Final = ("expect", "answer_person", "paging", "total", "ignore")
_SIZE: Final = re.compile("(page)?size|limit|take|top|(max)?(count|results)|perpage")
_NAMES_A_PERSON: Final = re.compile("name|navn|e?mail|epost|phone|telefon|user|hpr|author|employee")
_OWN_HEADERS: Final = frozenset({"authorization", "dpop", "content-type", "accept"})
_VALUE: Final = "Which value should we send as {}?"
_EMPTY: Final = "What is the answer for a person without restrictions, and for an unknown person?"
_QUESTIONS: Final = {
    "path": "Is {} the operation to use, and until when?",
    "query": _VALUE,
    "headers": _VALUE,
    "body": _VALUE,
    "records": "Where in an answer is the list of restrictions?",
    "no_records": _EMPTY,
    "empty_status": _EMPTY,
    "paging": "How do we ask for the records that do not fit one answer?",
    "ignore": "Can {} mean that records are missing, or follow?",
    "id": "Which field is the id of a restriction?",
    "person": "Does each record name its person, and in which field?",
    "required": "Which field of a record is {}?",
    "values": "Which values can {} have, and what does each mean?",
}
"""To NHN, by the key of the contract that it is about."""


class Note(NamedTuple):
    """An open point."""

    key: str  # or table of the contract that it is about
    text: str
    question: str  # to NHN, if only they can close it


class Proposal:
    """A proposal for one area.

    Args:
        is_complete: the fields are all that there are, as in a document: a declared column without
            one is removed. Live answers about other persons may have more.
    """

    def __init__(
        self, area: ResourceArea, known: AreaContract, *, is_complete: bool = False
    ) -> None:
        self._area, self._known, self._is_complete = area, known, is_complete
        self._source = "the document" if is_complete else "these answers"
        # The keys of the contract; at first those in force.
        self.table = known.model_dump(mode="json")
        self.parameters = list[Parameter]()  # of a request, if a document shows it
        # For people: operations that could be meant, remarks, and the fields of answers.
        self.operations, self.facts = list[dict[str, Any]](), list[str]()
        self.rows = list[dict[str, Any]]()
        self.notes = list[Note]()
        self.candidates = list[str]()  # lines of ``extra`` for fields that nothing takes
        self.contract: AreaContract | None = None  # None: the one in force stands

    def note(self, key: str, text: str, about: Iterable[str] | None = None) -> None:
        """Add an open point at a key; a question to NHN if it says what to ask about."""
        question = "" if about is None else _QUESTIONS[key].format(", ".join(about))
        self.notes.append(Note(key, text, question))

    def read(
        self,
        fields: Mapping[str, Field],
        headers: Mapping[str, Field],
        statuses: Collection[int] = (),
        answers: Iterable[Any] = (),
    ) -> None:
        """Conclude from the fields of answers and the headers and statuses that came with them.

        Args:
            answers: live ones, of which some may lack the list of records.
        """
        for path, field in {**fields, **headers}.items():
            row = {"field": path.removeprefix("[]."), "kinds": field.kinds}
            self.rows.append({**row, "records": field.records})
        records = self._list_of_records(fields)
        if records is None:
            return
        self.table["records"] = records
        before = f"{records}[]."
        inside = {p.removeprefix(before): f for p, f in fields.items() if p.startswith(before)}
        outside = {p: f for p, f in fields.items() if not p.startswith(before)}
        around = {p.partition("[]")[0]: f for p, f in outside.items() if p != records}
        self._declare_records(inside)
        self._declare_around({**around, **headers})
        self._declare_parameters()
        without = [one for one in answers if records and find(one, parse_path(records)) is None]
        self._declare_empty(statuses, len(without))
        try:
            self.contract = AreaContract.model_validate_json(json.dumps(self.table))
            self._keep(inside, self.contract.record_paths)
        except ValidationError as error:
            for key in sorted({str(*fault["loc"][:1]) for fault in error.errors()}):
                self.note(key or "records", "no contract can be made with this value")

    def send_person(self, fields: Mapping[str, Field]) -> None:
        """Declare in which field of the body the person's identifier goes."""
        persons = [path for path in fields if {*PERSON_NAMES} & {*names_of(path).split()}]
        if {path for path, _ in leaves(self.table["body"])} <= {*fields}:
            return
        if persons:
            body: Any = OFF_ID
            for name in reversed(min(persons, key=lambda path: path.count(".")).split(".")):
                body = {name: body}
            self.table["body"] = body
        else:
            text = "no field in the document takes the person's identifier"
            self.note("body", text, ["the person's identifier"])

    def _declare_empty(self, statuses: Collection[int], without: int) -> None:
        """Declare how an answer without records looks."""
        known = self.table["empty_status"]
        if without and self._known.no_records == "failure":
            self.table["no_records"] = "empty"
            text = f"{counted(without, 'answer')} without the list: does it mean no records?"
            self.note("no_records", text, [])
        if self._is_complete:
            self.table["empty_status"] = [one for one in statuses if one in {204, *known}]
            self._lose("empty_status", [str(one) for one in known if one not in statuses])
        for status in sorted({204, 404}.intersection(statuses) - {*self.table["empty_status"]}):
            if not self._is_complete:
                text = f"answers with {status}: declare it only if it means no records"
                self.note("empty_status", text, [])

    def _lose(self, key: str, names: Sequence[str]) -> None:
        """Note what is in force, and not in what was read."""
        if names:
            self.note(key, f"in force, and not in {self._source}: {', '.join(names)}")

    def _list_of_records(self, fields: Iterable[str]) -> str | None:
        """The declared list; else the one whose elements have the most names of a restriction."""
        inside = defaultdict[str, set[str]](set)
        for path in fields:
            place, brackets, rest = path.partition("[].")
            if brackets:
                inside[place].update(names_of(rest).split())
        names = {*_IDS, *PERSON_NAMES, *(plain(column.name) for column in self._area.columns)}
        most = max((len(inside[place] & names) for place in inside), default=0)
        best = [place for place in inside if len(inside[place] & names) == most]
        declared = [place for place in inside if plain(place) == plain(self._known.records)]
        if declared or len(best) == 1:
            return (declared or best)[0]
        lists = " and ".join(place or "the answer itself" for place in inside) or "none"
        text = f"one list of objects must be that of the records; in {self._source}: {lists}"
        remedy = "; set `records`, name this file in api.contract_file, and run this again"
        self.note("records", text + (remedy if inside else ""), [])
        return None

    def _declare_records(self, fields: Mapping[str, Field]) -> None:
        """Declare id, person and columns."""
        table, known = self.table, self._known
        paths = sorted(fields, key=lambda path: (path.count("."), path))
        names = [column.name for column in self._area.columns if not column.never_of]
        sources = {n: source_of(paths, known.columns.get(n, ()), [plain(n)]) for n in names}
        table["columns"] |= {name: source for name, source in sources.items() if source}
        for column in (one for one in self._area.columns if one.type is ColumnType.TEXT):
            source = sources[column.name]
            general = [] if isinstance(source, dict) else [parse_path(p).general for p in source]
            for path in [path for path in general if path in fields][:1]:
                self._declare_codes(column.name, column.codes, path, fields[path])
        self._declare_missing([name for name in known.columns if not sources.get(name)])
        # Of what is nested, an id is another object's, as the document's.
        ids = tuple(known.id.split("+"))
        id_paths = source_of([p for p in paths if "." not in p or p in ids], ids, _IDS)
        table["id"] = "+".join(id_paths) or known.id
        if not id_paths:
            self.note("id", f"no field in {self._source} is known as the id of a record", [])
        table["person"] = [*source_of(paths, known.person, PERSON_NAMES)]
        having = sum(fields[path].records for path in table["person"] if path in fields)
        total = max((field.records for field in fields.values()), default=0)
        if having < total:
            text = f"{having} of {counted(total, 'record')} name the person: the others fail"
            none = "no field names the person: an answer about another person is not noticed"
            self.note("person", text if having else none, [])

    def _declare_missing(self, names: Sequence[str]) -> None:
        """Note the declared columns without a field; a document's lack removes them."""
        required = [name for name in names if name in self._known.required]
        others = [name for name in names if name not in required]
        if required:
            text = f"no field in {self._source} is {', '.join(required)}"
            self.note("required", text, required)
        if others and not self._is_complete:
            self.facts.append(f"in no answer: {', '.join(others)}")
        elif others:
            self._lose("columns", others)
            for key in ("columns", "values"):
                self.table[key] = {k: v for k, v in self.table[key].items() if k not in others}
            self.table["volatile"] = [k for k in self.table["volatile"] if k not in others]

    def _declare_codes(self, name: str, codes: Sequence[str], path: str, field: Field) -> None:
        """Declare what the values of a text column mean, as far as the document names them."""
        effect, prefixes = self._area.effect, tuple[str, ...]()
        if name == effect.code:
            codes = [code for _, group in effect.groups for code in group]
            prefixes = tuple(prefix for _, prefix in effect.prefixes)
        spelt, known = {plain(code): code for code in codes}, self.table["values"].get(name, {})
        values = {sent: spelt.get(plain(code), code) for sent, code in field.codes.items()}
        is_open = not {*values} <= {*known} if values else not known
        if "integer" in field.kinds and is_open:
            told = ", ".join(f"{sent} {code}".strip() for sent, code in values.items()) or "none"
            text = f"{name} is sent as a number: check the names. In {self._source}: {told}"
            self.note("values", text, None if values and all(values.values()) else [path])
        odd = [code for code in values.values() if code and codes and code not in codes]
        if odd := [code for code in odd if not (prefixes and code.startswith(prefixes))]:
            text = f"reports have no group for the {name} {', '.join(odd)}"
            self.note("values", text, [path])
        if named := {sent: code for sent, code in values.items() if code not in {"", sent}}:
            self.table["values"][name] = named | known

    def _declare_around(self, around: Mapping[str, Field]) -> None:
        """Declare what stands around the records, or leave it out, so that it is refused.

        What is in force stands if all of it was seen; what it ignores, around the same list only.
        """
        table, known, before = self.table, self._known, dict(self.table)
        if known.places - {*known.ignore} <= {*around}:
            ignored = table["ignore"] if plain(table["records"]) == plain(known.records) else []
            is_kept = {*around} if self._is_complete else {*ignored}
            table["ignore"] = [path for path in ignored if HEADER in path or path in is_kept]
        else:
            table |= {"ignore": [], "answer_person": [], "expect": {}, "total": "", "paging": None}
        new = {path: field for path, field in around.items() if path not in _declared(table)}
        roles = [(role, path) for path, field in new.items() for role in roles_of(path, field)]
        by_role = dict(reversed(roles))
        table["paging"] = table["paging"] or self._paging(by_role)
        table["total"] = table["total"] or by_role.get("total", "")
        table["expect"] |= {path: True for role, path in roles if role == "expect"}
        table["answer_person"] += [path for role, path in roles if role == "answer_person"]
        for key in _AROUND:
            self._lose(key, [toml_value(before[key])] if before[key] and not table[key] else [])
        refused = [path for path, field in new.items() if self._is_refused(path, field)]
        if refused:
            text = f"an answer with {', '.join(refused)} is refused: add those that can never mean"
            self.note("ignore", f"{text} that records are missing", refused)

    def _is_refused(self, path: str, field: Field) -> bool:
        is_empty = {*field.kinds.split("|")} <= {"null", "empty object"}
        is_parent = f"{self.table['records']}.".startswith(f"{path}.")
        return path not in {*_declared(self.table), UNNAMED} and not (is_empty and is_parent)

    def _paging(self, roles: Mapping[str, str]) -> dict[str, Any] | None:
        """The style of paging that the fields of answers and requests suggest."""
        for style, (pattern, declared) in ROLES.items():
            field, kind = roles.get(style, ""), pattern.partition(" ")[0]
            last = field.rpartition(".")[2]
            asks = [p for p in self.parameters if re.fullmatch(pattern, f"{kind} {plain(p.name)}")]
            asks.sort(key=lambda parameter: plain(parameter.name) != plain(last))
            if declared and (field or (asks and style in {"page", "offset"})):
                parts = {**roles, "style": style, "field": field, "send_as": last}
                parts |= self._asking(style, last, asks) if "send_as" in declared else {}
                names = ("style", "send_in", "first", *declared.split())
                return {name: parts[name] for name in names if parts.get(name) not in {None, ""}}
        if sizes := [one.name for one in self.parameters if _SIZE.fullmatch(plain(one.name))]:
            text = f"a request can have {', '.join(sizes)}, but nothing asks for the next page"
            self.note("paging", text, [])
        return None

    def _asking(self, style: str, name: str, asks: Sequence[Parameter]) -> dict[str, Any]:
        """How a request asks for a page: as the document says, or the contract in force."""
        known = (self._known.model_dump(mode="json")["paging"] or {}) if not asks else {}
        if known.get("style") == style:
            return {key: known[key] for key in ("send_as", "send_in", "first") if key in known}
        if not asks:
            text = f"no request is shown that asks for the next page: {name!r} is a guess"
            self.note("paging", text, [])
            return {}
        first = asks[0].about.get("default", asks[0].about.get("minimum"))
        asking = {"send_as": asks[0].name, "send_in": asks[0].place}
        return asking | ({"first": 0} if style == "page" and first == 0 else {})

    def _declare_parameters(self) -> None:
        """Declare the values that a document has for the parameters that must be sent."""
        paged = str((self.table["paging"] or {}).get("send_as"))
        for key in ("query", "headers", "body") if self._is_complete else ():
            table, given = self.table[key], [one for one in self.parameters if one.place == key]
            spelt = {one.name.lower() for one in given}
            lost = [name for name in table if key != "body" and name.lower() not in spelt]
            self._lose(key, lost)
            self.table[key] = table = {k: v for k, v in table.items() if k not in lost}
            optional = [one.name for one in given if not self._declare_parameter(one, table, paged)]
            if optional:
                self.facts.append(f"{key}: optional, not sent: {', '.join(optional)}")

    def _declare_parameter(self, parameter: Parameter, table: dict[str, Any], paged: str) -> bool:
        """Declare a parameter, unless it is optional."""
        name, value, choice = parameter.name, parameter.value(), parameter.about.get("enum")
        if name == paged or name.lower() in _OWN_HEADERS:
            return True
        if name.lower() in map(str.lower, table):
            if value is not None and isinstance(choice, list) and table.get(name) not in choice:
                table[name] = value
            return True
        if value == UUID or (parameter.is_required and value is not None):
            table[name] = value
        elif parameter.is_required:
            text = f"{name!r} is required, and the document has no value{parameter.hint()}"
            self.note(parameter.place, text, [repr(name)])
        return parameter.is_required or name in table

    def _keep(self, fields: Mapping[str, Field], declared: frozenset[str]) -> None:
        """Offer the fields that nothing takes for ``extra``, which holds one list at most."""
        for path, field in fields.items():
            array, _, leaf = path.rpartition("[].")
            is_container = path.endswith("[]") or "[]" in array or "empty" in field.kinds
            if path not in declared and not is_container and UNNAMED not in path:
                name = re.sub(r"\W+", "_", path).strip("_").lower()
                is_personal = _NAMES_A_PERSON.search(plain(path))
                remark = "  # may name an employee or a patient: do not keep it"
                line = toml_line(name, {EACH: array, name: leaf} if array else path)
                self.candidates.append(line + remark if is_personal else line)


def _declared(table: Mapping[str, Any]) -> set[str]:
    """The leaves around the records, and the headers, that the keys of a contract declare."""
    paging = table["paging"] or {}
    names = {table["total"], *(paging.get(name, "") for name in ("field", "pages", "more"))}
    names |= {*table["expect"], *table["answer_person"], *table["ignore"]} - {""}
    names |= {HEADER + "link"} if paging.get("style") == "link" else set()
    return {name.lower() if name.startswith(HEADER) else name for name in names - {""}}


def learned(area: ResourceArea, known: AreaContract, responses: Sequence[HttpResponse]) -> Proposal:
    """What live answers suggest. Of a refusal, it shows only the names of the fields."""
    proposal, documents = Proposal(area, known), defaultdict[int, list[Any]](list)
    statuses = Counter(response.status for response in responses)
    for response in responses:
        with suppress(AreaError):
            documents[response.status].append(parse(response.body))
    for status, number in sorted(statuses.items()):
        names = "" if status == _OK else ", ".join(sorted(fields_in(documents[status])))
        proposal.facts.append(f"status {status}: {number}{names and f' with {names}'}")
    if not documents[_OK]:
        asked = f"POST {known.path} with {toml_value(known.body)}"
        remedy = "check path, query, headers and body, and that these persons exist there"
        proposal.note("path", f"every request is refused: {asked}; {remedy}")
        return proposal
    answered = [response.headers for response in responses if response.status == _OK]
    told = Counter(HEADER + name for headers in answered for name in TELLING if name in headers)
    headers = {name: Field("header", told[name]) for name in told}
    proposal.read(fields_in(documents[_OK]), headers, statuses, documents[_OK])
    return proposal
