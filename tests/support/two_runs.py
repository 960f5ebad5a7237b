"""A store after two runs over the sandbox, and the persons in it."""

from tests.support.program import Installation, Sandbox
from tests.support.pseudonyms import pseudonym_of

FAILING = 3
"""The line of the roster, from 0, whose patient-safety area fails in the second run."""
FAULT = {"action": "status", "status": 500, "area": "patient-safety", "persons": [FAILING]}


def failing(served: Sandbox) -> str:
    """The identifier of the person whose area failed."""
    return served.lines()[FAILING].split(",")[0]


def identifier(served: Sandbox, local_ref: str) -> str:
    """The identifier on the roster's line with this reference."""
    return next(line.split(",")[0] for line in served.lines() if f",{local_ref}," in line)


def pseudonym(served: Sandbox, off_id: str) -> str:
    """A person's key in the sandbox's store."""
    key = (served.folder / "pseudonym.key").read_bytes()
    return pseudonym_of(key, off_id)


def changed(worker: Installation) -> str:
    """The reference of a person with a restriction that has an ended version."""
    found: str = worker.store.one(
        "SELECT local_ref FROM report_patient_safety_history WHERE valid_to IS NOT NULL "
        "ORDER BY local_ref LIMIT 1"
    )
    return found
