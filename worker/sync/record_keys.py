"""The record key path of each area during a run."""

from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind


class KeyBook:
    """Keeps the first record key path that worked for each area.

    With another key path every restriction would look removed and added again, so a read that
    uses one is a failure of that area, never a removal.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def path(self, area: str) -> str | None:
        """The path to use, or ``None`` if no record of the area has been seen."""
        return self._known.get(area)

    def admit(self, read: CompleteArea) -> AreaRead:
        """Return the read, or a failure if its key path is not the area's."""
        path = read.proof.key_path
        if not path:
            return read
        known = self._known.setdefault(read.area, path)
        if known == path:
            return read
        return AreaFailure(
            area=read.area,
            kind=FailureKind.CONTRACT,
            reason=f"records are keyed by {path}, the area has used {known}",
            attempts=1,
            failed_at=read.proof.read_at,
            status=200,
        )
