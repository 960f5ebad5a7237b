"""By which codes, levels and causes the facts count a restriction, as SQL for both databases.

Facts stay for ever, so that no text of PTS's may stand in them: what does not look like a code, and
a cause that PTS does not document, is counted as ``OTHER``. It is so in SQL, before persons are
counted: who has two unknown codes is one person with another code.
"""

import string
from typing import Final

from worker.areas.codes import codes
from worker.core.area import ResourceArea
from worker.store.runs.cohorts import OTHER

_CAUSES: Final = ("", *sorted(one.code for one in codes() if one.system == "cause"))
_DIGITS_MAX: Final = 4
_CHARACTERS_MAX: Final = 32


def code_columns(area: ResourceArea) -> str:
    """The columns ``code``, ``level`` and ``cause`` of a row ``v`` of the area's versions.

    One that the area does not have is empty. A code has at most 32 letters, digits, points, hyphens
    and low lines, the first a letter, with at most four digits.
    """
    effect = area.effect
    code, level, cause = map(_text, (effect.code, effect.level, effect.cause))
    known = ", ".join(f"'{one}'" for one in _CAUSES)
    return (
        f"{_as_code(code)} AS code, {_as_code(level)} AS level, "
        f"CASE WHEN {cause} IN ({known}) THEN {cause} ELSE '{OTHER}' END AS cause"
    )


def _text(column: str) -> str:
    return f"COALESCE(v.{column}, '')" if column else "''"


def _as_code(text: str) -> str:
    if text == "''":
        return text
    without_digits = text
    for digit in string.digits:
        without_digits = f"replace({without_digits}, '{digit}', '')"
    return (
        f"CASE WHEN length({text}) <= {_CHARACTERS_MAX} "
        f"AND ltrim(substr({text}, 1, 1), '{string.ascii_letters}') = '' "
        f"AND ltrim({text}, '{string.ascii_letters}{string.digits}_.-') = '' "
        f"AND length({text}) - length({without_digits}) <= {_DIGITS_MAX} "
        f"THEN {text} ELSE '{OTHER}' END"
    )
