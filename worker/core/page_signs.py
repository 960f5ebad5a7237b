"""Signs in a response that there is more than the records in it, in any common spelling.

The response format of PTS is not documented, so a name is judged by the words in it. It is a sign
only if every word of it is known here to be about records and pages: ``totalCount`` counts records,
``totalTimeMs`` and ``X-Hop-Count`` do not. One header that is not about records, on every response,
must not stop a night.
"""

import re
from functools import lru_cache
from itertools import dropwhile
from typing import Any, Final

_NOT_PLAIN: Final = re.compile(r"[^a-z0-9]")
_WORD: Final = re.compile(r"[A-ZÆØÅ]+(?![a-zæøå])|[A-ZÆØÅ]?[a-zæøå]+")
_RANGE: Final = re.compile(
    r"\s*(?:[A-Za-z]+\s+)?[0-9]{1,9}(?:\s*-\s*[0-9]{1,9})?\s*(?:/|of|av)\s*([0-9]{1,9})\s*"
)
_NUMBER: Final = re.compile(r"\s*([0-9]{1,18})(?:\.0{1,9})?\s*")
_NUMBER_MAX: Final = 999_999_999
_NAME_LENGTH_MAX: Final = 200
_FLAGS: Final = {"true": True, "1": True, "yes": True, "ja": True} | dict.fromkeys(
    ("false", "0", "no", "nei"), False
)
_ECHOES: Final = frozenset({"_count"})
"""Names, unchanged, that repeat what was requested (FHIR's ``_count`` is the size of a page)."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREFIXES: Final = _words("x nhn pts ms amz goog odata hydra opensearch iot wp")
_FILLERS: Final = _words("is er has har are there the")
_RECORDS: Final = _words("records items elements results entries hits matches elementer poster")
_RECORD: Final = _words("record item element result entry hit match rader rows row list search")
_COUNTS: Final = _words("total totalt totalte count antall treff found matched")
_PAGES: Final = _words("pages sider")
_PAGE: Final = _words("page side")
_PAGING: Final = _words("paging pagination")
_A_PAGE: Final = ("page",)
_OF_PAGES: Final = _PAGES | _PAGE
_OF_RECORDS: Final = _RECORDS | _RECORD | _OF_PAGES
_RANGES: Final = _words("range showing shown viser")
_BESIDE_RANGES: Final = _RANGES | _FILLERS | _RECORDS | _RECORD | _PAGE | {"of"}

_CONTINUES: Final = _words(
    "next neste continue continues continuation fortsettelse cursor more flere skip skipped offset"
    " partial truncated avkortet incomplete ufullstendig remaining marker scroll bookmark dropped"
    " omitted limited"
)
_BESIDE_CONTINUES: Final = (
    _CONTINUES | _FILLERS | _OF_RECORDS | _COUNTS | _PAGING
    | _words("link links lenke url uri href path token key id batch set chunk block start index")
    | _words("number position state partition available exist exists data response end after range")
)  # fmt: skip
_CONTINUES_IN_HEADERS: Final = _CONTINUES - _words("offset skip skipped remaining continue")
_CONTINUES_EXACTLY: Final = frozenset(
    {
        "after", "search after", "page after", "page token", "page state", "paging state",
        "page key", "resume token", "last key", "last evaluated key", "limit reached",
        "limit exceeded", "size limit exceeded", "paging", "pagination", "paging headers",
    }
)  # fmt: skip

_ENDS: Final = _words(
    "last siste final end eof complete completed komplett fullstendig done finished ferdig"
    " exhausted"
)
_BESIDE_ENDS: Final = _ENDS | _FILLERS | _OF_RECORDS | _words("of reached data set response")

_BESIDE_COUNTS: Final = _FILLERS | _RECORD | _PAGING | _words("number num of all")
_COUNTS_RECORDS: Final = _COUNTS | _RECORDS
_COUNTS_PAGES: Final = _words("count total totalt antall last siste max")

_OTHER_SUBJECTS: Final = _words(
    "shards rate ratelimit ratelimits limits quota quotas throttle throttling statistics statistikk"
    " stats timing timings metrics usage cache debug performance profile request params parameters"
)

_VOCABULARY: Final = (
    _FILLERS | _OF_RECORDS | _COUNTS | _PAGING | _CONTINUES | _ENDS
    | _words("num number link url token key size")
)  # fmt: skip
_COMPOUNDS: Final = {a + b: (a, b) for a in _VOCABULARY for b in _VOCABULARY}


def plain(name: str) -> str:
    """A field's name in lower case, letters and digits only: ``next_link`` is ``nextLink``."""
    return _NOT_PLAIN.sub("", name.lower())


def is_echo(name: str) -> bool:
    """Whether a field of this name repeats a parameter of the request."""
    return name in _ECHOES


def is_other_subject(name: str) -> bool:
    """Whether an object of this name is not about records: ``_shards``, ``rateLimit``."""
    return not _OTHER_SUBJECTS.isdisjoint(_split(name))


def is_cursor(name: str) -> bool:
    """Whether a name is that of a cursor, which some servers send on the last page as well."""
    return "cursor" in _split(name)


def continues(name: str) -> bool:
    """Whether a field's name speaks of a continuation."""
    return _is_continuation(_split(name), _CONTINUES)


@lru_cache(maxsize=256)
def paging_headers(names: tuple[str, ...]) -> tuple[str, ...]:
    """The headers, of these in lower case, that could say that there is more."""
    return tuple(
        name
        for name in names
        if name in {"link", "content-range"}
        or continues_in_header(name)
        or _is_end(_split(name))
        or _counts(_split(name)) is not None
        or _is_range(_split(name))
        or _split(name) == _A_PAGE
    )


def continues_in_header(name: str) -> bool:
    """Whether a header's name, in lower case, speaks of a continuation."""
    words = _split(name)
    strong = _CONTINUES_IN_HEADERS if _OF_RECORDS.isdisjoint(words) else _CONTINUES
    return _is_continuation(words, strong)


def claimed(name: str, value: Any) -> tuple[int, int]:
    """How many records and pages there are, by a field or header; 0 if it does not say.

    A range or place (``0-24/80``, ``1 of 3``) claims all of what it is a part of.
    """
    words = _split(name)
    counts = _counts(words)
    if isinstance(value, str) and (counts is not None or _is_range(words) or words == _A_PAGE):
        part = _RANGE.fullmatch(value)
        if part:
            return (0, int(part[1])) if words == _A_PAGE else (int(part[1]), 0)
    number = natural_number(value)
    if number is None or counts is None or is_echo(name):
        return 0, 0
    return (0, number) if counts == "pages" else (number, 0)


def denies_the_end(name: str, value: Any) -> bool:
    """Whether a field or header says that this is not the last page: ``last: false``."""
    return says_no(value) and _is_end(_split(name))


def says_no(value: Any) -> bool:
    """Whether a value is ``false`` or ``no``; a number does not say no."""
    return flag(value) is False and natural_number(value) is None


def flag(value: Any) -> bool | None:
    """A boolean, also as text or number; None if it is neither true nor false."""
    return _FLAGS.get(str(value)[:16].strip().lower()) if isinstance(value, str | int) else None


def natural_number(value: Any) -> int | None:
    """A number of records or pages, also as text or ``3.0``; None if it is not one.

    Messages show such numbers, so a number of eleven digits, which could be an identifier, is not
    accepted.
    """
    if isinstance(value, str) and (text := _NUMBER.fullmatch(value)):
        value = int(text[1])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _NUMBER_MAX:
        return None
    return value


@lru_cache(maxsize=1024)
def _split(name: str) -> tuple[str, ...]:
    """The words of a name in lower case, without digits, of ``pagecount`` as well."""
    words = [
        part for word in _WORD.findall(name[:_NAME_LENGTH_MAX]) for part in _parts(word.lower())
    ]
    return tuple(dropwhile(_PREFIXES.__contains__, words))


def _parts(word: str) -> tuple[str, ...]:
    return (word,) if word in _VOCABULARY else _COMPOUNDS.get(word, (word,))


def _is_continuation(words: tuple[str, ...], strong: frozenset[str]) -> bool:
    if " ".join(word for word in words if word not in _FILLERS) in _CONTINUES_EXACTLY:
        return True
    return not strong.isdisjoint(words) and _BESIDE_CONTINUES.issuperset(words)


def _is_end(words: tuple[str, ...]) -> bool:
    return not _ENDS.isdisjoint(words) and _BESIDE_ENDS.issuperset(words)


def _counts(words: tuple[str, ...]) -> str | None:
    """``records`` or ``pages`` if a name counts them."""
    about = {word for word in words if word not in _BESIDE_COUNTS}
    if not _OF_PAGES.isdisjoint(about):
        several, beside = not _PAGES.isdisjoint(about), about - _OF_PAGES
        is_limit = several and "max" in beside
        counts = (several or bool(beside)) and _COUNTS_PAGES.issuperset(beside)
        return "pages" if counts and not is_limit else None
    if words == ("of",) or about == {"total", "size"}:
        return "records"
    return "records" if about and _COUNTS_RECORDS.issuperset(about) else None


def _is_range(words: tuple[str, ...]) -> bool:
    return not _RANGES.isdisjoint(words) and _BESIDE_RANGES.issuperset(words)
