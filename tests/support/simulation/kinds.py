"""The kinds of trouble that a campaign must meet, by the names under which they are counted."""

from collections import Counter
from typing import Final

from worker.sandbox.world import Action

KINDS: Final[dict[str, tuple[str, ...]]] = {
    "HTTP fault of the sandbox": tuple(f"http {action}" for action in Action),
    "slow reply": ("http slow",),
    "lost request": ("http request lost",),
    "lost reply": ("http reply lost",),
    "token expired between attempts": ("http expired_token", "tokens revoked"),
    "database error at the n-th call": tuple(
        f"database {flavour}" for flavour in ("locked", "io", "full", "lost")
    ),
    "commit done, its reply lost": ("database done-lost (commit)", "database done-io (commit)"),
    "extra answer": ("http extra answer",),
    "two reads that contradict each other": ("reads contradict",),
    "H-numbers not sent": ("H-numbers not sent",),
    "certain persons fail for some nights": ("certain persons for some nights",),
    "crash": ("crash",),
    "paused past the lease": ("paused past the lease",),
    "clock jump ahead": ("clock jump ahead",),
    "clock jump back": ("clock jump back",),
    "night of 25 hours": ("night of 25 hours",),
    "night of 23 hours": ("night of 23 hours",),
    "roster edited between runs": ("roster edited",),
}


def unmet(faults: Counter[str]) -> list[str]:
    """The kinds that never struck."""
    return [kind for kind, names in KINDS.items() if not any(faults[name] for name in names)]
