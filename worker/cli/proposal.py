"""Proposes an area's contract for answers, be they live or made up by a document.

Columns are found by name: case, underscores and nesting aside. Nothing is proposed for ``ignore``:
what a field around the records can say, a person knows.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from worker.cli.toml_text import toml_line, toml_value
from worker.core.answer import TELLING, VALUES_MAX, parse
from worker.core.area import ResourceArea
from worker.core.contract import EACH, HEADER, AreaContract, SourceText, fields_of
from worker.core.paths import UNNAMED, leaves, safe_path
from worker.errors import AreaError, ContractError, DataContractError
from worker.http.response import HttpResponse

PERSON_NAMES: Final = ("offid", "nationalid", "personidentifier", "nationalidentitynumber")
"""By which fields that hold a person's identifier are known, as ``names_of`` gives them."""
NOT_SEEN: Final = "not seen"
_OK: Final = 200
_FIELDS_MAX: Final = 2_000
_ADDRESSES: Final = ("https://", "http://", "/")
_IDS: Final = ("id", "restrictionid", "accessrestrictionid", "identifier", "guid", "uuid")
_KINDS: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
_EMPTY: Final = {type(None): "null", dict: "empty object", list: "empty list"}
_ROLES: Final = {
    "link": ("header", "headerlink", "style"),
    "next_link": ("url", "next(link|url|page)?|href", "field"),
    "reference": ("integer", "pagingreference", "field"),
    "token": ("string", "next|(next)?cursor|(next|nextpage|continuation)?token", "field send_as"),
    "page": ("integer", "page(number)?|currentpage", "field send_as pages more"),
    "offset": ("integer", "offset|skip|startindex", "field send_as more"),
    "more": ("boolean", "(has)?more|hasnext(page)?", ""),
    "pages": ("integer", "totalpages|pagecount|pages", ""),
    "total": ("integer|header", "total(count|elements|records|items)?|headerxtotalcount", ""),
    "expect": ("boolean", "(is)?success|succeeded|ok", ""),
    "answer_person": ("string", "|".join(PERSON_NAMES), ""),
}
"""What a field around the records may be: by its kinds, and by a name as ``names_of`` gives it.
For a style of paging, the surest first, also what is declared of it."""
_NAME: Final = re.compile(r"(?<!=)\b[^\W\d][^.\[\]=+]*")


class Field(NamedTuple):
    """A field's kinds, JSON's or ``url`` or ``header``, and how many records or answers have it."""

    kinds: str
    records: int


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
                kinds[name].add("url" if is_address else (_KINDS | _EMPTY)[type(value)])
                seen.add((name, path.partition("]")[0]))  # to the number of the record
                if len(kinds) > _FIELDS_MAX:
                    raise DataContractError(f"fields with more than {_FIELDS_MAX:,} names")
        except ContractError:
            kinds[UNNAMED].add("nested too deeply")
        counts.update(name for name, _ in seen)
    return {path: Field("|".join(sorted(kinds[path])), counts[path]) for path in kinds}


class Proposal:
    """What is proposed for one area.

    Attributes:
        table: the keys of the contract; at first those in force.
        facts: what was seen, in a line each.
        rows: the fields of the answers; each with its kinds, records, and what becomes of it.
        marks: what to say of a key or column: that it was not seen.
        candidates: lines of ``extra`` that would keep the fields that nothing takes.
        contract: the result; None if nothing could be concluded, so that the one in force stands.
    """

    def __init__(self, area: ResourceArea, known: AreaContract) -> None:
        self._area, self._known = area, known
        self.table = known.model_dump(mode="json")
        self.facts, self.candidates, self.marks = list[str](), list[str](), dict[str, str]()
        self.rows = list[dict[str, Any]]()
        self.contract: AreaContract | None = None

    def read(self, answers: Iterable[Any], headers: Mapping[str, Field]) -> None:
        """Conclude from answers, and from the headers that came with them."""
        fields = {**fields_in(answers), **headers}
        lists = sorted({path.partition("[]")[0] for path in fields if "[]." in path})
        try:
            if len(lists) == 1:
                self.table["records"] = lists[0]
                self._declare_records(fields)
                self._declare_around({path: fields[path] for path in fields if "[]" not in path})
                self.contract = AreaContract.model_validate_json(json.dumps(self.table))
            else:
                found = " and ".join(path or "the answer itself" for path in lists) or "none"
                self.facts.append(f"one list must be that of the records; with objects: {found}")
        except ValidationError as error:
            keys = ", ".join(sorted({str(*fault["loc"][:1]) for fault in error.errors()}))
            self.facts.append(f"no contract can be made with this {keys}")
        self._tell(fields)

    def _declare_records(self, fields: Iterable[str]) -> None:
        """Declare id, person and columns. What is not found stays: another person may have it."""
        table, known, before = self.table, self._known, f"{self.table['records']}[]."
        inside = (path.removeprefix(before) for path in fields if path.startswith(before))
        paths = sorted(inside, key=lambda path: (path.count("."), path))
        names = [column.name for column in self._area.columns if not column.never_of]
        found = {name: _source(paths, known.columns.get(name, ()), [plain(name)]) for name in names}
        table["columns"] |= {name: source for name, source in found.items() if source}
        # Of what is nested, an id is another object's, as the document's.
        ids = tuple(known.id.split("+"))
        found["id"] = _source([p for p in paths if "." not in p or p in ids], ids, _IDS)
        found["person"] = _source(paths, known.person, PERSON_NAMES)
        table["id"] = "+".join(found["id"]) or known.id
        table["person"] = found["person"] or table["person"]
        self.marks |= {name: NOT_SEEN for name, source in found.items() if not source}

    def _declare_around(self, around: Mapping[str, Field]) -> None:
        """Declare what stands around the records, or leave it out, so that it is refused.

        What is in force stands if all of it was seen; what it ignores, around the same list only.
        """
        table, known, declared = self.table, self._known, _declared(self._known)
        if table["records"] != known.records:
            table["ignore"], declared = [], declared - {*known.ignore}
        if not known.places - {*known.ignore} <= {*around}:
            table |= {"ignore": [], "answer_person": [], "expect": {}, "total": "", "paging": None}
            declared = frozenset()
        declared |= {table["records"], UNNAMED}
        new = {path: one.kinds.split("|") for path, one in around.items() if path not in declared}
        roles = [
            (role, path)
            for path, kinds in new.items()
            for role, (kind, names, _) in _ROLES.items()
            if {*kinds} & {*kind.split("|")} and re.search(rf"\b({names})\b", names_of(path))
        ]
        table["paging"] = table["paging"] or _paging(dict(roles))
        table["total"] = table["total"] or dict(roles).get("total", "")
        table["expect"] |= {path: True for role, path in roles if role == "expect"}
        table["answer_person"] += [path for role, path in roles if role == "answer_person"]
        self.marks |= {key: NOT_SEEN for key in ("paging", "total") if not table[key]}

    def _tell(self, fields: Mapping[str, Field]) -> None:
        """Say of each field what becomes of it."""
        contract, before = self.contract or self._known, f"{self.table['records']}[]."
        sources: dict[str, SourceText] = {**contract.columns, **contract.extra}
        sources |= {"id": tuple(contract.id.split("+")), "person": contract.person}
        uses = {before + path: key for key, source in sources.items() for path in fields_of(source)}
        declared, known = _declared(contract), _declared(self._known)
        uses |= {path: "declared" if path in known else "proposed" for path in declared}
        uses |= {contract.records: "the records", UNNAMED: "no name that can be shown"}
        for path, field in fields.items():
            use = uses.get(path) or self._unused(path, field)
            self.rows.append({"field": path.removeprefix("[]."), **field._asdict(), "becomes": use})

    def _unused(self, path: str, field: Field) -> str:
        """What becomes of a field that nothing takes: ``extra`` could, in one list at most."""
        place, before, inside = path.partition(f"{self.table['records']}[].")
        array, _, leaf = inside.rpartition("[].")
        if place or not before:
            return "not declared, so refused"
        if inside.endswith("[]") or "[]" in array or "empty" in field.kinds:
            return "left out"
        name = re.sub(r"\W+", "_", inside).strip("_").lower()
        self.candidates.append(toml_line(name, {EACH: array, name: leaf} if array else inside))
        return "candidate for extra"


def plain(text: str) -> str:
    """A name or path for comparing: without case and punctuation."""
    return re.sub("[^a-z0-9]", "", text.lower())


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


def _declared(contract: AreaContract) -> frozenset[str]:
    """The leaves around the records, and the headers, that a contract declares."""
    return contract.places | {HEADER + name for name in contract.known_headers}


def _paging(found: Mapping[str, str]) -> dict[str, str] | None:
    """The style of paging that the fields around the records suggest."""
    for style, (_, _, named) in _ROLES.items():
        if named and style in found:
            parts = {**found, "style": style, "field": found[style]}
            parts["send_as"] = found[style].rpartition(".")[2]
            return {part: parts[part] for part in ("style", *named.split()) if part in parts}
    return None


def learned(area: ResourceArea, known: AreaContract, responses: Sequence[HttpResponse]) -> Proposal:
    """What live answers suggest. Of a refusal, it shows only the names of the fields."""
    proposal, documents = Proposal(area, known), defaultdict[int, list[Any]](list)
    for response in responses:
        with suppress(AreaError):
            documents[response.status].append(parse(response.body))
    for status, read in sorted(documents.items()):
        names = "" if status == _OK else f" with {', '.join(sorted(fields_in(read)))}"
        proposal.facts.append(f"status {status}: {len(read)} in JSON{names}")
    if _OK in documents:
        answered = [response.headers for response in responses if response.status == _OK]
        told = Counter(HEADER + name for headers in answered for name in TELLING if name in headers)
        proposal.read(documents[_OK], {name: Field("header", told[name]) for name in told})
    else:
        asked = f"POST {known.path} with {toml_value(known.body)}"
        remedy = "check path, query, headers and body, and that these persons exist there"
        proposal.facts.append(f"everybody was refused {asked}: {remedy}")
    return proposal
