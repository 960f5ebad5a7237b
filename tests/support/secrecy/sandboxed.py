"""The project's own sandbox with each of its faults, read into the database of a bad night."""

from typing import Any, Final

from tests.support.program import sandbox
from tests.support.secrecy.bad_answers import CANARY
from tests.support.secrecy.canaries import Place
from tests.support.secrecy.nights import Night
from tests.support.session import Session
from tests.support.standin import PRIVACY, SAFETY
from worker.sandbox.faults import Action

SEED: Final = "70007"
"""Of nobody else's persons."""

OF_HELSEID: Final[tuple[dict[str, Any], ...]] = (
    {"action": Action.BEARER_TOKEN_TYPE, "area": "token"},
    {"action": Action.MALFORMED_TOKEN, "area": "token"},
    {"action": Action.TOKEN_LIFETIME, "area": "token"},
    {"action": Action.NONCE_FOREVER, "area": "token"},
    {"action": Action.NONCE_WITHOUT_HEADER, "area": "token"},
    {"action": Action.WRONG_ISSUER, "area": "discovery"},
    {"action": Action.STATUS, "area": "discovery", "status": 404, "body": CANARY},
)
_MORE: Final[dict[Action, dict[str, Any]]] = {
    Action.STATUS: {"status": 500, "body": CANARY},
    Action.SLOW: {"slow_s": 2.0},
    Action.CLOCK_SKEW: {"skew_s": -7200.0},
}
OF_PTS: Final = tuple(
    sorted(set(Action) - {fault["action"] for fault in OF_HELSEID[:3]} - {Action.WRONG_ISSUER})
)


def sandboxed(night: Night, running: Session) -> None:
    """Read its persons with every fault of PTS on, each striking one; then those of HelseID."""
    folder = night.worker.folder
    count = 2 * len(OF_PTS)
    with sandbox(
        folder / "sandbox", "--persons", f"{count}", "--seed", SEED, "--log-level", "DEBUG"
    ) as made:
        lines = made.lines()
        night.others |= {line.partition(",")[0] for line in lines}
        worker = made.install(folder / "sandboxed", night.worker.database_url)
        worker.configure(
            log={"level": "DEBUG"},
            privacy=night.worker.settings["privacy"]
            | {"pseudonym_key_file": str(night.worker.folder / "pseudonym.key")},
            roster={"path": str(worker.folder / "roster.csv")},
            sync={"request_timeout_s": 1.5, "retry_attempts": 2},
        )
        call = f"backfill --roster {worker.folder / 'roster.csv'} --config {worker.config}"
        made.control(
            faults=[
                {"action": action, "area": (SAFETY, PRIVACY)[n % 2], "persons": [2 * n]}
                | _MORE.get(action, {})
                for n, action in enumerate(OF_PTS)
            ]
        )
        night.keep("(sandbox) backfill", running.call(call))
        night.struck = dict(zip(OF_PTS, made.control()["faults_struck"], strict=True))
        for fault in OF_HELSEID:
            made.control(faults=[fault])
            line = f"(sandbox {fault['action']}) backfill"
            night.keep(line, running.call(f"{call} --deadline 1s"))
            night.struck[fault["action"]] = made.control()["faults_struck"][0]
    night.places.append(Place(kind="output", name="sandbox", data=made.running.out.read_bytes()))
