"""Proposes an area's contract for answers, be they live or described by a document.

Columns are found by name: case, underscores and nesting aside. Nothing is proposed for ``ignore``:
only a person knows whether a field around the records can mean that records are missing.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from worker.cli.toml_text import Note, toml_line, toml_value
from worker.core.answer import TELLING, VALUES_MAX, parse
from worker.core.area import Column, ColumnType, ResourceArea
from worker.core.contract import EACH, HEADER, AreaContract, SourceText, fields_of
from worker.core.display import counted
from worker.core.paths import UNNAMED, find, leaves, parse_path, safe_path
from worker.errors import AreaError, ContractError, DataContractError
from worker.http.response import HttpResponse

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``names_of`` gives them."""
FIELDS_MAX: Final = 2_000
KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_OK: Final = 200
_EMPTY_STATUS: Final = {204: "no content", 404: "not found"}
_ADDRESSES: Final = ("https://", "http://", "/")
_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_EMPTY: Final = {type(None): "null", dict: "empty object", list: "empty list"}
_ROLES: Final = {
    "link": ("header headerlink", "style"),
    "next_link": ("url next(link|ur[il]|page|href)?|string next(link|ur[il]|href)", "field"),
    "reference": ("integer pagingreference", "field send_as"),
    "token": (
        "string (next|(next)?cursor|(next|page|nextpage|continuation)?token)",
        "field send_as",
    ),
    "page": ("integer (page(number|index)?|currentpage)", "field send_as pages more"),
    "offset": ("integer (offset|skip|startindex)", "field send_as more"),
    "more": ("boolean ((has)?more|hasnext(page)?)", ""),
    "pages": ("integer (totalpages|pagecount|pages)", ""),
    "total": ("integer total(count|elements|records|items)?|header headerxtotalcount", ""),
    "expect": ("boolean ((is)?success|succeeded|ok)", ""),
    "answer_person": (f"string ({'|'.join(PERSON_NAMES)})", ""),
}
"""What a field around the records may be, by its kind and name. For a style of paging, the surest
first, also what is declared of it."""
_AROUND: Final = ("expect", "answer_person", "paging", "total", "ignore")
_SIZE: Final = re.compile("(page)?size|limit|take|top|(max)?(count|results)|perpage")
_NAMES_A_PERSON: Final = re.compile("name|navn|e?mail|epost|phone|telefon|user|hpr|author|employee")
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")


class Field(NamedTuple):
    """A field's kinds, JSON's or ``url`` or ``header``, and how many records or answers have it.

    Attributes:
        codes: the values that a document declares, each with its name or "".
    """

    kinds: str
    records: int = 1
    codes: Mapping[str, str] = {}


def fields_in(answers: Iterable[Any]) -> dict[str, Field]:
    """The fields of these answers by path: ``[]`` is an element, ``?`` may hold an identifier.

    Raises:
        DataContractError: they have more than a contract is made of.
    """
    kinds, counts = defaultdict[str, set[str]](set), Counter[str]()
    for answer in answers:
        seen = set[tuple[str, str]]()
        try:
            for path, value in islice(leaves(answer), VALUES_MAX):
                name = path and safe_path(path)
                is_address = isinstance(value, str) and value.startswith(_ADDRESSES)
                kinds[name].add("url" if is_address else (KINDS | _EMPTY)[type(value)])
                seen.add((name, path.partition("]")[0]))  # to the number of the record
                if len(kinds) > FIELDS_MAX:
                    raise DataContractError(f"fields with more than {FIELDS_MAX:,} names")
        except ContractError:
            kinds[UNNAMED].add("nested too deeply")
        counts.update(name for name, _ in seen)
    return {path: Field("|".join(sorted(kinds[path])), counts[path]) for path in kinds}


class Proposal:
    """A proposal for one area.

    Args:
        is_complete: whether the fields are all that there are, as a document has them: a declared
            column without a field is removed then. Other answers may have more.

    Attributes:
        table: the keys of the contract; at first those in force.
        sendable: fields of query and body by name, with their place and schema, if a document
            shows them.
        facts: what was seen, in a line each.
        operations: the operations of a document that could be meant, the likeliest first.
        rows: the fields of the answers; each with its kinds, records, and what becomes of it.
        notes: the open points.
        marks: a remark on the line of a column.
        candidates: lines of ``extra`` that would keep the fields that nothing takes.
        contract: the result; None if nothing could be concluded, so that the one in force stands.
    """

    def __init__(
        self, area: ResourceArea, known: AreaContract, *, is_complete: bool = False
    ) -> None:
        self._area, self._known, self._is_complete = area, known, is_complete
        self._source = "the document" if is_complete else "these answers"
        self.table = known.model_dump(mode="json")
        self.sendable = dict[str, tuple[str, Mapping[str, Any]]]()
        self.facts, self.candidates, self.marks = list[str](), list[str](), dict[str, str]()
        self.rows, self.notes = list[dict[str, Any]](), list[Note]()
        self.operations = list[dict[str, Any]]()
        self.contract: AreaContract | None = None
        self._fields, self._has_records = dict[str, Field](), False

    def note(self, key: str, text: str, question: str = "") -> None:
        """Add an open point at a key, perhaps with a question to NHN that closes it."""
        self.notes.append(Note(key, text, question))

    def read(self, fields: Mapping[str, Field], headers: Mapping[str, Field]) -> None:
        """Conclude from the fields of answers, and from the headers that came with them."""
        records = self._list_of_records(fields)
        if records is not None:
            self.table["records"] = records
            before = f"{records}[]."
            inside = [path for path in fields if path.startswith(before)]
            self._declare_records({path.removeprefix(before): fields[path] for path in inside})
            around = {p.partition("[]")[0]: fields[p] for p in fields if p not in inside}
            around.pop(records, None)
            self._declare_around({**around, **headers})
        self._fields, self._has_records = {**fields, **headers}, records is not None

    def conclude(self) -> "Proposal":
        """Make the contract from the table, if the records were found."""
        try:
            if self._has_records:
                self.contract = AreaContract.model_validate_json(json.dumps(self.table))
        except ValidationError as error:
            for key in sorted({str(*fault["loc"][:1]) for fault in error.errors()}):
                self.note(key or "records", "no contract can be made with this value")
        self._tell(self._fields)
        return self

    def _list_of_records(self, fields: Iterable[str]) -> str | None:
        """The declared list; else the one whose elements have the most names of a restriction."""
        inside = defaultdict[str, set[str]](set)
        for path in fields:
            place, brackets, rest = path.partition("[].")
            if brackets:
                inside[place].update(names_of(rest).split())
        columns = (plain(column.name) for column in self._area.columns)
        names = {*_IDS, *PERSON_NAMES, *columns}
        most = max((len(inside[place] & names) for place in inside), default=0)
        best = [place for place in inside if len(inside[place] & names) == most]
        declared = [place for place in inside if plain(place) == plain(self._known.records)]
        if declared or len(best) == 1:
            return (declared or best)[0]
        lists = " and ".join(place or "the answer itself" for place in inside) or "none"
        text = f"one list of objects must be that of the records; in {self._source}: {lists}"
        if inside:
            text += (
                ". Set `records`, name this file in api.contract_file, and run the command again"
            )
        self.note("records", text, "Where in an answer is the list of restrictions?")
        return None

    def _declare_records(self, fields: Mapping[str, Field]) -> None:
        """Declare id, person and columns."""
        table, known = self.table, self._known
        paths = sorted(fields, key=lambda path: (path.count("."), path))
        columns = {column.name: column for column in self._area.columns if not column.never_of}
        sources = {
            name: _source(paths, known.columns.get(name, ()), [plain(name)]) for name in columns
        }
        table["columns"] |= {name: source for name, source in sources.items() if source}
        for name, source in sources.items():
            general = [] if isinstance(source, dict) else [parse_path(p).general for p in source]
            seen = [path for path in general if path in fields]
            if seen and columns[name].type is ColumnType.TEXT:
                self._declare_codes(columns[name], seen[0], fields[seen[0]])
        self._miss([name for name in known.columns if not sources.get(name)])
        # Of what is nested, an id is another object's, as the document's.
        ids = tuple(known.id.split("+"))
        id_paths = _source([p for p in paths if "." not in p or p in ids], ids, _IDS)
        table["id"] = "+".join(id_paths) or known.id
        if not id_paths:
            text = f"no field in {self._source} is known as the id of a record"
            self.note("id", text, "Which field is the id of a restriction?")
        table["person"] = [*_source(paths, known.person, PERSON_NAMES)]
        having = sum(fields[path].records for path in table["person"] if path in fields)
        total = max((field.records for field in fields.values()), default=0)
        if having < total:
            text = f"{having} of {counted(total, 'record')} name the person: the others fail"
            none = "no field names the person: answers about another person are not noticed with []"
            question = "Does each record name its person, and in which field?"
            self.note("person", text if having else none, question)

    def _miss(self, names: Sequence[str]) -> None:
        """Note the declared columns without a field; a document's lack removes them."""
        self.marks |= dict.fromkeys(names, "not seen")
        required = [name for name in names if name in self._known.required]
        if required:
            text = f"no field in {self._source} is {_words(required)}"
            self.note("required", text, f"Which field of a record is its {_words(required)}?")
        if names and not self._is_complete:
            self.facts.append(f"declared, and in no answer: {_words(names)}")
        lost = [name for name in names if name not in required] if self._is_complete else []
        if lost:
            text = (
                f"the document has no field for {_words(lost)}; if one has another name, declare it"
            )
            self.note("columns", text)
        for key in ("columns", "values"):
            self.table[key] = {k: v for k, v in self.table[key].items() if k not in lost}
        self.table["volatile"] = [name for name in self.table["volatile"] if name not in lost]

    def _declare_codes(self, column: Column, path: str, field: Field) -> None:
        """Declare what the values of a text column mean, as far as the document names them."""
        name, effect = column.name, self._area.effect
        is_code = name == effect.code
        codes = [c for _, group in effect.groups for c in group] if is_code else [*column.codes]
        prefixes = tuple(prefix for _, prefix in effect.prefixes if is_code)
        values = {sent: _spelt(is_, codes, prefixes) for sent, is_ in field.codes.items()}
        known = self.table["values"].get(name, {})
        question = f"Which values can {path} have, and what does each mean?"
        odd = [c for c in values.values() if c and codes and c not in codes]
        odd = [code for code in odd if not code.startswith(prefixes or "?")]
        if "integer" in field.kinds and not ({*values} <= {*known} if values else known):
            told = ", ".join(sent if is_ == "" else f"{sent} {is_}" for sent, is_ in values.items())
            text = (
                f"{name} is sent as a number: check the names. In {self._source}: {told or 'none'}"
            )
            self.note("values", text, question if "" in values.values() or not values else "")
        if odd:
            text = f"the worker does not know the {name} {_words(odd)}: each counts as unknown"
            self.note("values", text, question)
        if named := {sent: is_ for sent, is_ in values.items() if is_ not in {"", sent}}:
            self.table["values"][name] = {**named, **known}

    def _declare_around(self, around: Mapping[str, Field]) -> None:
        """Declare what stands around the records, or leave it out, so that it is refused.

        What is in force stands if all of it was seen; what it ignores, around the same list only.
        """
        table, known = self.table, self._known
        before, spelt = dict(table), {plain(path): path for path in around}
        is_same_list = plain(table["records"]) == plain(known.records)
        if all(plain(place) in spelt for place in known.places - {*known.ignore}):
            self._respell({place: spelt.get(plain(place), place) for place in known.places})
            ignored = [] if not is_same_list else table["ignore"]
            is_kept = [p in around or not self._is_complete or HEADER in p for p in ignored]
            table["ignore"] = [p for p, keep in zip(ignored, is_kept, strict=True) if keep]
        else:
            table |= {"ignore": [], "answer_person": [], "expect": {}, "total": "", "paging": None}
        new = [path for path in around if path not in _declared(table)]
        roles = [(role, path) for path in new for role in _roles(path, around[path])]
        by_role = dict(reversed(roles))
        table["paging"] = table["paging"] or self._paging(by_role)
        table["total"] = table["total"] or by_role.get("total", "")
        table["expect"] |= {path: True for role, path in roles if role == "expect"}
        table["answer_person"] += [path for role, path in roles if role == "answer_person"]
        for key in _AROUND:
            if before[key] and not table[key]:
                self.note(key, f"what is in force is not in {self._source}")
        if refused := [p for p in new if self._is_refused(p, around[p])]:
            text = f"an answer with {_words(refused)} is refused: add those that can never mean"
            question = f"Can {_words(refused)} mean that records are missing, or follow?"
            self.note("ignore", f"{text} that records are missing", question)

    def _respell(self, spelt: Mapping[str, str]) -> None:
        """Give the places around the records the case that the answers have."""
        table, paging = self.table, self.table["paging"] or {}
        places = {name: spelt.get(place, place) for name, place in paging.items()}
        table["paging"] = {
            name: places[name] if name in {"field", "pages", "more"} else value
            for name, value in paging.items()
        } or None
        table["total"] = spelt.get(table["total"], table["total"])
        table["expect"] = {spelt.get(place, place): is_ for place, is_ in table["expect"].items()}
        for key in ("answer_person", "ignore"):
            table[key] = [spelt.get(place, place) for place in table[key]]

    def _is_refused(self, path: str, field: Field) -> bool:
        is_empty = {*field.kinds.split("|")} <= {"null", "empty object"}
        is_parent = f"{self.table['records']}.".startswith(f"{path}.")
        return path not in {*_declared(self.table), UNNAMED} and not (is_empty and is_parent)

    def _paging(self, roles: Mapping[str, str]) -> dict[str, Any] | None:
        """The style of paging that the fields of answers and requests suggest."""
        for style, (pattern, declared) in _ROLES.items():
            field = roles.get(style, "")
            kind = pattern.partition(" ")[0]
            asks = [
                name for name in self.sendable if re.fullmatch(pattern, f"{kind} {plain(name)}")
            ]
            is_counted = style in {"page", "offset"} and asks
            if not declared or not (field or is_counted):
                continue
            last = field.rpartition(".")[2]
            send_as = next(
                (name for name in asks if plain(name) == plain(last)), *asks[:1] or [last]
            )
            parts = {**roles, "style": style, "field": field, "send_as": send_as}
            parts = {part: parts[part] for part in ("style", *declared.split()) if parts.get(part)}
            return parts | self._asking(style, send_as) if "send_as" in parts else parts
        if sizes := [name for name in self.sendable if _SIZE.fullmatch(plain(name))]:
            text = (
                f"a request can have {_words(sizes)}, and nothing shows how the next page is asked"
            )
            self.note("paging", text, "How do we ask for the records that do not fit one answer?")
        return None

    def _asking(self, style: str, send_as: str) -> dict[str, Any]:
        """How a request asks for a page."""
        place, schema = self.sendable.get(send_as, ("", {}))
        if not place:
            text = f"no request is shown that asks for the next page: {send_as!r} is a guess"
            self.note("paging", text, "How do we ask for the next page, and where is it sent?")
        first = schema.get("default", schema.get("minimum", 1)) if style == "page" else 1
        return ({"send_in": place} if place else {}) | ({"first": 0} if first == 0 else {})

    def _tell(self, fields: Mapping[str, Field]) -> None:
        """Say of each field what becomes of it."""
        contract, before = self.contract or self._known, f"{self.table['records']}[]."
        sources: dict[str, SourceText] = {**contract.columns, **contract.extra}
        sources |= {"id": tuple(contract.id.split("+")), "person": contract.person}
        uses = {before + path: key for key, source in sources.items() for path in fields_of(source)}
        known = _declared(self._known.model_dump(mode="json"))
        declared = _declared(contract.model_dump(mode="json"))
        uses |= {path: "declared" if path in known else "proposed" for path in declared}
        uses |= {contract.records: "the records", UNNAMED: "no name that can be shown"}
        for path, field in fields.items():
            use = uses.get(path) or self._unused(path, field)
            row = {"field": path.removeprefix("[]."), "kinds": field.kinds}
            self.rows.append({**row, "records": field.records, "becomes": use})

    def _unused(self, path: str, field: Field) -> str:
        """What becomes of a field that nothing takes: ``extra`` could, in one list at most."""
        place, before, inside = path.partition(f"{self.table['records']}[].")
        array, _, leaf = inside.rpartition("[].")
        if place or not before:
            return "not declared, so refused"
        if inside.endswith("[]") or "[]" in array or "empty" in field.kinds:
            return "left out"
        name = re.sub(r"\W+", "_", inside).strip("_").lower()
        line = toml_line(name, {EACH: array, name: leaf} if array else inside)
        if _NAMES_A_PERSON.search(plain(inside)):
            self.candidates.append(f"{line}  # may name an employee or a patient: do not keep it")
            return "may name a person: leave it out"
        self.candidates.append(line)
        return "candidate for extra"


def plain(text: str) -> str:
    """A name or path for comparing: without case and punctuation."""
    return re.sub("[^a-z0-9]", "", text.lower())


def _spelt(name: str, codes: Iterable[str], prefixes: Iterable[str]) -> str:
    """A code in the case in which the worker knows it: ``NornFfl`` is ``NORN_FFL``."""
    spelt = {plain(code): code for code in codes}
    for prefix in prefixes:
        if plain(name).startswith(plain(prefix)) and plain(name) != plain(prefix):
            spelt[plain(name)] = f"{prefix}_{plain(name)[len(prefix) :].upper()}"
    return spelt.get(plain(name), name)


def _source(paths: Sequence[str], declared: SourceText, names: Iterable[str]) -> Any:
    """What is declared, in the spelling of these paths, if it is there; else one of these names.

    Empty if neither is. The least nested path counts, which is first: another may be a parent's.
    """
    spelt = {plain(name): name for path in paths for name in _NAME.findall(path)}

    def respelt(path: str) -> str:
        return _NAME.sub(lambda name: spelt.get(plain(name[0]), name[0]), path)

    if isinstance(declared, dict):
        leaves_of = {leaf: tuple(map(respelt, each)) for leaf, each in declared.items()}
        return leaves_of if fields_of(leaves_of).intersection(paths) else ()
    found = [*map(respelt, declared)]
    if any(fields_of((path,)).issubset(paths) for path in found):
        return found
    wanted = {*names, *map(plain, declared)}
    return [path for path in paths if wanted.intersection(names_of(path).split())][:1]


def names_of(path: str) -> str:
    """The names of a field outside lists: its last name, that with the one before it, and so on."""
    parts = [] if "[]" in path else path.split(".")
    return " ".join(plain("".join(parts[start:])) for start in range(len(parts)))


def _words(names: Iterable[str]) -> str:
    return ", ".join(names)


def _roles(path: str, field: Field) -> Iterator[str]:
    """What a field around the records may be; one of an unknown kind, by its name alone."""
    kinds = field.kinds.split("|") if field.kinds else ["url", *KINDS.values()]
    texts = [f"{kind} {name}" for kind in kinds for name in names_of(path).split()]
    for role, (pattern, _) in _ROLES.items():
        if any(re.fullmatch(pattern, text) for text in texts):
            yield role


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
    for response in responses:
        with suppress(AreaError):
            documents[response.status].append(parse(response.body))
    for status, number in sorted(Counter(response.status for response in responses).items()):
        names = "" if status == _OK else ", ".join(sorted(fields_in(documents[status])))
        proposal.facts.append(f"status {status}: {number}{names and f' with {names}'}")
    if not documents[_OK]:
        asked = f"POST {known.path} with {toml_value(known.body)}"
        remedy = "check path, query, headers and body, and that these persons exist there"
        proposal.note("path", f"every request is refused: {asked}; {remedy}")
        return proposal
    answered = [response.headers for response in responses if response.status == _OK]
    told = Counter(HEADER + name for headers in answered for name in TELLING if name in headers)
    proposal.read(fields_in(documents[_OK]), {name: Field("header", told[name]) for name in told})
    _declare_empty(proposal, known, Counter(one.status for one in responses), documents[_OK])
    return proposal.conclude()


def _declare_empty(
    proposal: Proposal, known: AreaContract, statuses: Mapping[int, int], answers: Sequence[Any]
) -> None:
    """Declare how an answer without records looks, as far as these persons show it."""
    question = "What is the answer for a person without restrictions, and for an unknown person?"
    records = proposal.table["records"]
    without = [one for one in answers if records and find(one, parse_path(records)) is None]
    if without and known.no_records == "failure":
        proposal.table["no_records"] = "empty"
        text = f"{counted(len(without), 'answer')} without the list; check that it means no records"
        proposal.note("no_records", text, question)
    for status, name in _EMPTY_STATUS.items():
        if statuses.get(status) and status not in known.empty_status:
            text = f"{counted(statuses[status], 'answer')} with {status} ({name}): declare it only"
            proposal.note("empty_status", f"{text} if it means that there are no records", question)
