"""The worker with a store that keeps nothing: ``python -m bench.nothing sync …``.

What falls away: the look-up of settled persons, every batch, and the publication. What stays real:
the roster, HelseID, signing, reading and hashing of answers, the pipeline with its streams and
writer task, and the lease and schema check on the configured database, a few statements a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.cli import run_sync
from worker.core.guard import GuardLimits
from worker.core.model import Person, PersonRead, RunKind
from worker.core.run import FailureCount, Pass, PersonDraft, Publication, RunHandle, RunProgress
from worker.errors import ExitCode, WithheldError
from worker.ports import Runtime
from worker.store.runs.lease import Lease
from worker.store.schema.columns import TOTALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Nothing:
    """A ``RunStore`` that keeps nothing; a run ends as if it had been published."""

    handle: RunHandle
    lease: Lease
    runtime: Runtime
    counted: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOTALS, 0))

    async def drafts(
        self,
        _persons: Sequence[Person],
        *,
        pass_number: int,  # noqa: ARG002 - the store fixes the names
    ) -> Mapping[str, PersonDraft]:
        """None."""
        return {}

    async def mark_not_sent(self, _person_keys: Sequence[str]) -> None:
        """Nobody is known."""

    async def selected_areas(
        self, _person_keys: Sequence[str]
    ) -> Mapping[str, frozenset[str]] | None:
        """Everyone."""
        return None

    async def count_due(self, _pass: Pass) -> int:
        """Nobody."""
        return 0

    async def failures(self) -> Sequence[FailureCount]:
        """None."""
        return ()

    async def write_reads(
        self,
        batch: Sequence[PersonRead],
        *,
        pass_number: int = 1,  # noqa: ARG002 - the store fixes the names
    ) -> frozenset[str]:
        """Count them."""
        self.counted["persons_complete"] += len(batch)
        return frozenset()

    async def renew(self) -> None:
        """The lease is not held for long enough."""

    async def publish(
        self,
        _limits: GuardLimits,
        *,
        is_full_roster: bool,  # noqa: ARG002 - the store fixes the names
        progress: RunProgress,
    ) -> Publication:
        """Say that it was."""
        totals = {**self.counted, "requests": progress.requests, "retries": progress.retries}
        return Publication(published_at=self.runtime.now(), totals=totals, exit_code=ExitCode.OK)

    async def withhold(self, _error: WithheldError) -> None:
        """Nothing is kept, so nothing is undone."""

    async def interrupt(
        self, _exit_code: ExitCode, _reason: str, _progress: RunProgress, **_more: Any
    ) -> None:
        """Nothing is left open."""


async def open_nothing(lease: Lease, *, areas: tuple[str, ...], **_options: Any) -> Nothing:
    """In the place of ``open_run_store``."""
    runtime = lease.database.runtime
    handle = RunHandle(
        run_id=1, attempt=1, kind=RunKind.SYNC, areas=areas, started_at=runtime.now()
    )
    return Nothing(handle=handle, lease=lease, runtime=runtime)


def main() -> None:
    """Run the program as it is, but for that."""
    run_sync.open_run_store = open_nothing  # type: ignore[assignment, attr-defined]
    from worker.__main__ import main as program  # noqa: PLC0415 - after the replacement

    program()


if __name__ == "__main__":
    main()
