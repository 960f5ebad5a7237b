"""Which record key path each area uses, for the length of a run."""

from worker.core.model import AreaFailure, AreaRead, CompleteArea, FailureKind


class KeyBook:
    """The record key path of each area: the first that served is the one that must go on serving.

    An answer whose records are keyed otherwise would look as if every restriction had been removed
    and new ones added; it is a failure of that area, never a removal.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def path(self, area: str) -> str | None:
        """The path to use, or ``None`` while no record of the area has been seen."""
        return self._known.get(area)

    def admit(self, read: CompleteArea) -> AreaRead:
        """The read itself, or a failure if its key path is not the area's."""
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
