"""``keys rotate``: replaces the configured client key with a new one."""

from datetime import timedelta
from pathlib import Path

from worker.cli.base import Cli
from worker.cli.output import print_json
from worker.cli.showing import instant
from worker.errors import ExitCode, StoppedError, UsageError
from worker.helseid.key_files import pending_file
from worker.use_cases.rotate_keys import FINISH, KeyRotation, Kind, Step, rotate_key

_SELF_SERVICE = "https://selvbetjening.nhn.no (test: https://selvbetjening.test.nhn.no)"


def rotate(
    cli: Cli,
    *,
    key: Path | None,
    kind: Kind,
    by_hand: bool,
    finish: bool,
    wait: timedelta,
) -> int:
    """Run ``pts-worker keys rotate``."""
    if by_hand and finish:
        raise UsageError("--by-hand begins and --finish ends: give one of them")
    if key is not None:
        cli.given.set("helseid.private_jwk_file", str(key), flag="--key")
    app = cli.load("helseid")
    step: Step = "by_hand" if by_hand else "finish" if finish else "all"
    try:
        done = cli.run(lambda: rotate_key(app, kind=kind, step=step, wait_s=wait.total_seconds()))
    except (SystemExit, KeyboardInterrupt):
        pending = pending_file(app.path(app.settings.helseid.private_jwk_file or ""))
        if not pending.exists():
            raise
        raise StoppedError(
            f"stopped; the rotation is not finished: the new key is in {pending}",
            hint=f"to finish it, run `pts-worker keys rotate` again, or `{FINISH}` if the new key "
            "is registered; the key in use is unchanged",
        ) from None
    cli.emit(done, lambda: _print(done))
    return ExitCode.OK


def _print(done: KeyRotation) -> None:
    if done.pending_file is not None:
        print(f"new key: {done.pending_file}; {done.file} is unchanged")
        print(f"public key, to be registered at {_SELF_SERVICE}:", flush=True)
        print_json(done.public_jwk)
        print(f"then: {FINISH}")
        return
    until = f"; it expires {instant(done.expires_at)}" if done.expires_at else ""
    print(f"{done.file}: {done.alg}, kid {done.kid}, accepted by HelseID{until}")
    print(
        f"{done.former_file}: the key before, kid {done.former_kid}. When no run uses it any "
        "more, remove it in self-service and here"
    )
