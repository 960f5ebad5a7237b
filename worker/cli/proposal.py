"""Proposes the contract of an area from live answers, or from the example of a document.

A field is matched to a column by name, ignoring case, underscores and nesting. Nothing is proposed
for ``ignore``, because only a person can decide that a field never means that records are missing.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from worker.cli.fields import (
    LINKS,
    PERSON_NAMES,
    Field,
    Parameter,
    divided,
    fields_in,
    known_codes,
    names_in_lists,
    names_of,
    persons_of,
    plain,
    roles_of,
    source_of,
)
from worker.cli.toml_text import toml_line
from worker.config.settings import message_of
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.contract import EACH, HEADER, OFF_ID, STYLES, WORKER_HEADERS, AreaContract
from worker.core.display import counted, listed
from worker.core.effect import group_of
from worker.core.paths import UNNAMED, find, leaves, parse_path
from worker.masking import masked

_REMARK_MAX: Final = 200
_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_NEXT: Final = re.compile(r"(?<=_links\.)next(?=\.)")
_SIZE: Final = re.compile("(page)?size|limit|take|top|(max)?(count|results)|perpage")
_WORD: Final = re.compile("(?<=[a-z])(?=[A-Z])")
_NAMES_A_PERSON: Final = re.compile("name|navn|e?mail|epost|phone|telefon|user|hpr|author|employee")
_OWN_HEADERS: Final = WORKER_HEADERS | {"content-type", "accept"}
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
    "paging": "How do we request the records that do not fit in one answer?",
    "ignore": "Can {} mean that records are missing, or follow?",
    "id": "Which field is the id of a restriction?",
    "person": "Does each record name its person, and in which field?",
    "required": "Which field of a record is {}?",
    "values": "Which values can {} have, and what does each mean?",
}
"""The question to NHN for an open point, by key of the contract."""


class Note(NamedTuple):
    """An open point."""

    key: str  # the key or table of the contract
    text: str
    question: str  # to NHN, if only NHN can close it


class Proposal:
    """A proposal for one area.

    Args:
        is_complete: the fields are complete, as in a document, so a declared column without a
            field is removed. Live answers about other persons may have more fields.

    Attributes:
        table: the keys of the proposed contract, initially those in force.
        contract: the proposed contract. None if there is no list of records.
        parameters: the parameters of a request that a document declares.
        candidates: lines of ``extra`` for fields of records that no column uses.
        operations, facts, fields: rows and lines of the output.
    """

    def __init__(
        self, area: ResourceArea, in_force: AreaContract, *, is_complete: bool = False
    ) -> None:
        self._area, self._in_force, self._is_complete = area, in_force, is_complete
        self._source = "the document" if is_complete else "these answers"
        self.table = in_force.model_dump(mode="json")
        self.contract: AreaContract | None = None
        self.parameters, self.notes = list[Parameter](), list[Note]()
        self.operations, self.fields = list[dict[str, str]](), list[dict[str, Any]]()
        self.facts, self.candidates = list[str](), list[str]()

    def note(self, key: str, text: str, subjects: Sequence[str] | None = None) -> None:
        """Add an open point at a key, and a question to NHN if it has subjects."""
        question = "" if subjects is None else _QUESTIONS[key].format(listed(subjects))
        self.notes.append(Note(key, text, question))

    def read(
        self, answers: Sequence[Any], headers: Mapping[str, Field], statuses: Iterable[int] = ()
    ) -> None:
        """Propose a contract from answers with their headers and statuses.

        Args:
            answers: live answers, with or without a list of records, or a document's example.
        """
        fields = fields_in(answers)
        for path, field in {**fields, **headers}.items():
            row = {"field": path.removeprefix("[]."), "kinds": field.kinds}
            self.fields.append({**row, "occurrences": field.occurrences})
        records = self._list_of_records(names_in_lists(fields))
        if records is None:
            return
        self.table["records"] = records
        inside, around = divided(fields, records)
        around = {**headers, **around}
        self._declare_records(inside)
        self._declare_around(around)
        if self._is_complete:
            self._declare_parameters()  # after paging, which has its own parameter
        self._declare_empty(records, answers, {*statuses})
        try:
            self.contract = AreaContract.model_validate_json(json.dumps(self.table))
        except ValidationError as failure:
            for error in failure.errors():
                text = f"no contract can be made with this value: {message_of(error)}"
                key = error["loc"][0] if error["loc"] else "records"
                self.note(str(key), text)
        else:
            self._note_refusals(self.contract, around)
            self._list_candidates(self.contract, inside)

    def declare_identifier(self, fields: Mapping[str, Field]) -> None:
        """Declare the field of the body that takes the person's identifier."""
        # The body in force is kept if the document has all of its fields.
        in_force = {path for path, _ in leaves(self.table["body"])}
        if in_force.issubset(fields):
            return
        persons = [path for path in fields if names_of(path).intersection(PERSON_NAMES)]
        body_fields = [parameter for parameter in self.parameters if parameter.place == "body"]
        required = [parameter.name for parameter in body_fields if parameter.is_required]
        if not persons and len(required) == 1:
            persons, text = required, f"{required[0]!r} is the only required field"
            self.note("body", f"{text}: check that it takes the person's identifier", required)
        if not persons:
            text = "no field in the document takes the person's identifier"
            self.note("body", text, ["the person's identifier"])
            return
        body: Any = OFF_ID
        for name in reversed(min(persons, key=lambda path: path.count(".")).split(".")):
            body = {name: body}
        self.table["body"] = body

    def _list_of_records(self, lists: Mapping[str, set[str]]) -> str | None:
        """The declared list, or the list with the most field names of a restriction."""
        names = {*_IDS, *PERSON_NAMES, *(plain(column.name) for column in self._area.columns)}
        most = max((len(inside & names) for inside in lists.values()), default=0)
        best = [path for path, inside in lists.items() if len(inside & names) == most]
        declared = [path for path in lists if plain(path) == plain(self._in_force.records)]
        if declared or len(best) == 1:
            return (declared or best)[0]
        paths = " and ".join(path or "the answer itself" for path in lists) or "none"
        text = f"one list of objects must be the list of records; in {self._source}: {paths}"
        remedy = "; set `records`, name this file in api.contract_file, and run this again"
        self.note("records", text + (remedy if lists else ""), [])
        return None

    def _declare_records(self, fields: Mapping[str, Field]) -> None:
        """Declare columns, id and person."""
        table, in_force = self.table, self._in_force
        paths = sorted(fields, key=lambda path: (path.count("."), path))
        missing = list[str]()
        for column in self._area.columns:
            names = [] if column.derived_from else [plain(column.name)]
            if source := source_of(paths, in_force.columns.get(column.name, ()), names):
                table["columns"][column.name] = source
            elif column.name in in_force.columns:
                missing.append(column.name)
            general = [] if isinstance(source, dict) else [parse_path(p).general for p in source]
            path = next((path for path in general if path in fields), None)
            if path is None:
                continue
            if self._is_complete and not fields[path].is_scalar:
                self.note("columns", f"the document has no simple type for {path}")
            if column.type is ColumnType.TEXT:
                self._declare_codes(column, path, fields[path])
        self._declare_missing(missing)
        # A nested id belongs to another object, unless it is declared.
        ids = tuple(in_force.id.split("+"))
        id_paths = source_of([path for path in paths if "." not in path or path in ids], ids, _IDS)
        table["id"] = "+".join(id_paths) or in_force.id
        if not id_paths:
            self.note("id", f"no field in {self._source} looks like the id of a record", [])
        table["person"] = persons_of(paths, in_force.person)
        identified = sum(fields[path].occurrences for path in table["person"] if path in fields)
        total = max((field.occurrences for field in fields.values()), default=0)
        if identified < total:
            text = "no field names the person: an answer about another person is not noticed"
            if identified:
                text = (
                    f"{identified} of {counted(total, 'record')} name the person: the others fail"
                )
            self.note("person", text, [])

    def _declare_missing(self, names: Sequence[str]) -> None:
        """Note the declared columns without a field. For a document, remove them."""
        if required := [name for name in names if name in self._in_force.required]:
            self.note("required", f"no field in {self._source} is {', '.join(required)}", required)
        optional = [name for name in names if name not in required]
        if not self._is_complete:
            if optional:
                self.facts.append(f"in no answer: {', '.join(optional)}")
            return
        for name in optional:
            del self.table["columns"][name]
            self.table["values"].pop(name, None)
            self.table["volatile"] = [kept for kept in self.table["volatile"] if kept != name]

    def _declare_codes(self, column: Column, path: str, field: Field) -> None:
        """Declare names for the values of a text column, from the document."""
        declared = self.table["values"].get(column.name, {})
        codes = known_codes(column.name)
        values = {value: self._code(column, name, codes) for value, name in field.codes.items()}
        # Without values in the document, a declaration of any values is enough.
        is_declared = declared.keys() >= values.keys() if values else bool(declared)
        if "integer" in field.kinds and not is_declared:
            names = ", ".join(f"{value} {name}".strip() for value, name in values.items()) or "none"
            text = f"{column.name} is sent as a number: check the names. In {self._source}: {names}"
            has_all_names = values and all(values.values())
            self.note("values", text, None if has_all_names else [path])
        elif values and not codes and not is_declared:
            text = f"no values of {column.name} are known. Stored as sent: {', '.join(values)}"
            self.note("values", text, [path])
        values |= declared
        # A column whose codes have no names in reports cannot have an unknown one.
        names_to_check = [name for name in values.values() if name] if codes else []
        unknown = [
            name
            for name in names_to_check
            if name not in codes and not self._has_group(column, name)
        ]
        if unknown:
            text = f"reports have no name or group for the {column.name} {', '.join(unknown)}"
            self.note("values", text, [path])
        if named := {value: name for value, name in values.items() if name not in {"", value}}:
            self.table["values"][column.name] = named

    def _code(self, column: Column, name: str, codes: Sequence[str]) -> str:
        """The code that a document calls by this name, or else the name itself."""
        spellings = {plain(code): code for code in codes}
        code = _WORD.sub("_", name).upper()  # in .NET, NORN_EPO is called NornEpo
        return spellings.get(plain(name)) or (code if self._has_group(column, code) else name)

    def _has_group(self, column: Column, name: str) -> bool:
        """Whether the rules of the area have a group for this value of its column of codes."""
        effect = self._area.effect
        return column.name == effect.code and bool(group_of(effect, name))

    def _declare_around(self, around: Mapping[str, Field]) -> None:
        """Declare the fields around the records that have a role.

        The worker refuses an answer with any other field around its records. Declarations whose
        field exists are kept, and ``ignore`` if the list has the same path.
        """
        table, in_force = self.table, self._in_force
        # In another envelope, a field of the same name can mean that records are missing.
        is_moved = plain(table["records"]) != plain(in_force.records)
        kept = {*around} if self._is_complete else {*around, *in_force.ignore}
        table["ignore"] = [path for path in in_force.ignore if path in kept and not is_moved]
        roles = defaultdict[str, list[str]](list)
        # The least nested field wins: a deeper one may describe only a part of the answer.
        for path, field in sorted(around.items(), key=lambda item: item[0].count(".")):
            if path not in table["ignore"]:
                for role in roles_of(path, field):
                    roles[role].append(path)
        expect = dict.fromkeys(roles["expect"], True) | in_force.expect
        table["expect"] = {path: value for path, value in expect.items() if path in around}
        persons = dict.fromkeys([*in_force.answer_person, *roles["answer_person"]])
        table["answer_person"] = [path for path in persons if path in around]
        if in_force.total not in around:
            table["total"] = next(iter(roles["total"]), "")
        # The paging in force is kept only if all of its fields exist.
        paging_paths = in_force.signs_of_records - {in_force.records, in_force.total}
        if any(path.partition("[")[0] not in around for path in paging_paths):
            table["paging"] = None
        first = {role: paths[0] for role, paths in roles.items() if paths}
        table["paging"] = table["paging"] or self._paging(first)

    def _paging(self, roles: Mapping[str, str]) -> dict[str, Any] | None:
        """The style of paging that the fields of answers and requests suggest."""
        parameters = [parameter for parameter in self.parameters if parameter.place != "headers"]
        for style, model in STYLES.items():
            keys, field = model.model_fields, roles.get(style)
            matching = [parameter for parameter in parameters if style in parameter.roles]
            if field or (matching and style in {"page", "offset"}):
                request = self._request(style, field or "", matching) if "send_as" in keys else {}
                paging = {**request, **roles, "style": style, "field": field}
                return {key: paging[key] for key in keys if paging.get(key) is not None}
        names = [parameter.name for parameter in parameters]
        if sizes := [name for name in names if _SIZE.fullmatch(plain(name))]:
            text = f"a request can have {listed(sizes)}, but no parameter asks for the next page"
            self.note("paging", text, [])
        return None

    def _request(self, style: str, field: str, matching: Sequence[Parameter]) -> dict[str, Any]:
        """The keys that a request for a page needs, from the document or the contract in force."""
        in_force, name = self._in_force.paging, field.rpartition(".")[2]
        same_name_first = sorted(matching, key=lambda each: plain(each.name) != plain(name))
        if same_name_first:
            parameter = same_name_first[0]
            first = parameter.schema.get("default", parameter.schema.get("minimum"))
            request = {"send_as": parameter.name, "send_in": parameter.place}
            return request | ({"first": 0} if first == 0 else {})
        if in_force and in_force.style == style:
            return in_force.model_dump(include={"send_as", "send_in", "first"})
        self.note("paging", f"no known request asks for the next page: {name!r} is a guess", [])
        return {"send_as": name}

    def _declare_parameters(self) -> None:
        """Declare the values that a document has for the parameters that must be sent."""
        set_by_worker = {*_OWN_HEADERS, str((self.table["paging"] or {}).get("send_as")).lower()}
        for place in ("query", "headers", "body"):
            before = {name.lower(): value for name, value in self.table[place].items()}
            after, optional = dict[str, Any](), list[str]()
            for parameter in self.parameters:
                name = parameter.name
                if parameter.place != place or name.lower() in set_by_worker:
                    continue
                if (value := parameter.value(before.get(name.lower()))) is not None:
                    after[name] = value
                elif parameter.is_required:
                    remark = masked(json.dumps(parameter.remarks)[:_REMARK_MAX])
                    text = f"{name!r} is required, and the document has no value: {remark}"
                    self.note(place, text, [repr(name)])
                else:
                    optional.append(name)
            self.table[place] = {**self.table[place], **after} if place == "body" else after
            if optional:
                self.facts.append(f"{place}: optional, not sent: {', '.join(optional)}")

    def _declare_empty(self, records: str, answers: Sequence[Any], statuses: set[int]) -> None:
        """Declare the form of an answer without records."""
        lists = [find(answer, parse_path(records)) for answer in answers] if records else []
        # With "empty", a list that is null or absent means no records.
        if None in lists and self._in_force.no_records == "failure":
            self.table["no_records"] = "empty"
            answers_without = counted(lists.count(None), "answer")
            self.note("no_records", f"{answers_without} without the list: are they empty?", [])
        declared = {*self._in_force.empty_status}
        if self._is_complete:
            self.table["empty_status"] = sorted(statuses & {204, *declared})
            return
        for status in sorted(statuses & {204, 404} - declared):
            text = f"answers with {status}: declare it only if it means no records"
            self.note("empty_status", text, [])

    def _note_refusals(self, contract: AreaContract, around: Mapping[str, Field]) -> None:
        """Note the fields around the records that the contract does not declare."""
        lists = {place.partition("[")[0] for place in contract.places if "[" in place}
        declared = {UNNAMED, *(HEADER + name for name in contract.known_headers)}
        declared |= lists | contract.places
        refused, unnamed = dict[str, None](), list[str]()
        # Only later pages have a link to the page before, and `learn` reads first pages.
        links = [] if self._is_complete else [path for path in around if _NEXT.search(path)]
        around = {**around, **{_NEXT.sub("prev", path): around[path] for path in links}}
        for path, field in around.items():
            is_empty = {*field.kinds.split("|")} <= {"null", "empty object"}
            # The list, or an object that contains it, may be null.
            is_null = is_empty and f"{contract.records}.".startswith(f"{path}.")
            is_link = field.kinds == LINKS and path not in lists
            if (path in declared and not is_link) or is_null:
                continue
            if is_link:
                text = f"{path} is a list of links, and no style of paging finds a link in a list"
                self.note("paging", f"{text}: an answer with a link in it is refused", [])
            elif self._is_complete and field.kinds == "empty object":
                unnamed.append(path)
            else:
                parent = path.rpartition(".")[0]
                is_used = any(place.startswith(f"{parent}.") for place in declared)
                # In an answer, an object of the document may be null: then it is a field itself.
                if parent and self._is_complete and not is_used:
                    refused[parent] = None
                refused[path] = None
        if unnamed:
            text = f"the document does not name the fields in {', '.join(unnamed)}: only answers do"
            self.note("ignore", f"{text}. Run `pts-worker contract learn`")
        if refused:
            text = f"an answer with {', '.join(refused)} is refused"
            remedy = "add to `ignore` those that can never mean that records are missing"
            self.note("ignore", f"{text}: {remedy}", [*refused])

    def _list_candidates(self, contract: AreaContract, fields: Mapping[str, Field]) -> None:
        """List the simple fields that no column uses as candidates for ``extra``."""
        for path, field in fields.items():
            array, _, leaf = path.rpartition("[].")
            # A source can have one list with ``each``, so a list within a list cannot be an extra.
            is_list = path.endswith("[]") or "[]" in array
            is_simple = field.is_scalar and "empty" not in field.kinds and not is_list
            if is_simple and path not in contract.record_paths and UNNAMED not in path:
                name = re.sub(r"\W+", "_", path).strip("_").lower()
                is_personal = _NAMES_A_PERSON.search(plain(path))
                remark = "  # may name an employee or a patient: do not keep it"
                line = toml_line(name, {EACH: array, name: leaf} if array else path)
                self.candidates.append(line + remark if is_personal else line)
