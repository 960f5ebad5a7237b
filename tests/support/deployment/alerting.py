"""Evaluates alert rules as Prometheus does: as much of its language as our rules use.

A nightly test gives the same cases to Prometheus' own program.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_METRIC: Final = r"pts_worker_\w+(?:\{[^}]*\})?"
_HOURS: Final = {"h": 1, "d": 24}


def firing(rule: Mapping[str, Any], numbers: Mapping[str, int], now: int) -> bool:
    """Whether a rule fires at a time, on numbers that have not changed since the time 0."""
    count, unit = re.fullmatch(r"(\d+)([hd])", rule.get("for", "0h")).groups()  # type: ignore[union-attr]
    waited = 3600 * int(count) * _HOURS[unit]
    expression = " ".join(rule["expr"].split())
    # Time alone changes, and no rule of ours ends by it while it waits.
    return all(now >= waited and _runs(expression, numbers, at) for at in (now - waited, now))


def _runs(expression: str, numbers: Mapping[str, int], now: int) -> set[str]:
    """The values of the label ``run`` for which an expression has a result; "": without one."""
    if " unless " in expression:
        left, right = expression.split(" unless ")
        return _runs(left, numbers, now) - _runs(right.removeprefix("on (run) "), numbers, now)
    if expression.startswith("("):
        parts = expression.strip("()").split(" or ")
        return set().union(*(_runs(part, numbers, now) for part in parts))
    return {run for run in ("", "sync", "backfill") if _is_true(expression, run, numbers, now)}


def _is_true(expression: str, run: str, numbers: Mapping[str, int], now: int) -> bool:
    """Whether a comparison holds for one value of the label, or a number exists."""

    def value(match: re.Match[str]) -> str:
        name = match[0].removeprefix("max(").removesuffix(")")
        is_whole = match[0] != name  # an aggregate has no label
        values = [
            number
            for series, number in numbers.items()
            if series == name or ("{" not in name and series.startswith(f"{name}{{"))
            if is_whole or run == (re.findall(r'run="(\w+)"', series) or [""])[0]
        ]
        return str(max(values)) if values and is_whole <= (run == "") else "None"

    if match := re.fullmatch(rf"absent\(({_METRIC})\)", expression):
        return run == "" and match[1] not in numbers
    text = re.sub(rf"max\({_METRIC}\)|{_METRIC}", value, expression).replace("time()", str(now))
    if "None" in text:
        return False
    return text.isdecimal() or bool(eval(text, {"__builtins__": {}}))  # noqa: S307 - our rules
