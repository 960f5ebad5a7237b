"""PTS and the roster for the stateful tests: who has which restrictions, and what PTS answers."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.support.model.values import AREAS, PRIVACY, SAFETY
from worker.core.model import FailureKind
from worker.ports import HttpResponse
from worker.pts.retrying_client import SendingStats, Sent

PERSONS = tuple(f"{number:02}058812345" for number in range(1, 5))
BASE_URL = "https://pts.example"

Doc = Mapping[str, Any]
Place = tuple[str, str]
"""An identifier and an area."""

TROUBLES = {
    "transient": FailureKind.TRANSIENT,
    "rejected": FailureKind.REJECTED,
    "refused": FailureKind.REFUSED,
    "no json": FailureKind.TRANSIENT,
    "another person": FailureKind.CONTRACT,
    "changed type": FailureKind.CONTRACT,
    "more elsewhere": FailureKind.PAGING,
    "contradicts": FailureKind.UNSTABLE,
}
"""What can be wrong with an answer, and the kind of failure that it must be."""

CONTRADICTS = "contradicts"
"""Nothing on a kept connection, and the truth on one that carries a single request."""

_OBJECTS = {SAFETY: "patientSafetyObject", PRIVACY: "patientPrivacyObject"}
_STATUS = {"transient": 503, "rejected": 400, "refused": 403}
_BODY = {
    "no json": b'[{"id": "x"',
    "another person": b'[{"id":"x","confidentialityCode":"N","privacyType":"B",'
    b'"patientSafetyObject":{"person":{"offId":"31129955555"}},'
    b'"patientPrivacyObject":{"person":{"offId":"31129955555"}}}]',
    "changed type": b'[{"id":"x","confidentialityCode":7,"privacyType":7}]',
}


@dataclass(kw_only=True)
class Source:
    """The world that the worker reads.

    Attributes:
        names_person: records say whose they are.
        records: by person and area, then by the restriction's name, what is in it.
        troubles: what is wrong with the answers of an area of a person.
    """

    names_person: bool = False
    records: dict[Place, dict[str, Doc]] = field(default_factory=dict)
    troubles: dict[Place, str] = field(default_factory=dict)
    stats: SendingStats = field(default_factory=SendingStats)

    def documents(self, off_id: str, area: str) -> dict[str, dict[str, Any]]:
        """What PTS has of a person's area, by the restriction's name."""
        whose = {_OBJECTS[area]: {"person": {"offId": off_id}}} if self.names_person else {}
        return {
            name: {**doc, **whose, "id": name}
            for name, doc in self.records.get((off_id, area), {}).items()
        }

    async def send(
        self,
        url: str,
        *,
        headers: Callable[[], Mapping[str, str]],
        body: bytes,
        is_single_use: bool = False,
        is_probe: bool = False,
    ) -> Sent:
        """Answer a search, as ``RetryingClient`` hands it on after its retries."""
        parts = urlsplit(url)
        area = next(area for area in AREAS if parts.path.endswith(f"{area}/_search"))
        off_id = json.loads(body)["offId"]
        trouble = self.troubles.get((off_id, area), "")
        if trouble == CONTRADICTS and is_single_use:
            trouble = ""
        self.stats.requests += 1
        return Sent(self._answer(off_id, area, trouble), 1)

    def _answer(self, off_id: str, area: str, trouble: str) -> HttpResponse:
        kind = {"content-type": ("application/json",)}
        if trouble in _STATUS:
            return HttpResponse(status=_STATUS[trouble], headers=kind, body=b"")
        if trouble in _BODY:
            return HttpResponse(status=200, headers=kind, body=_BODY[trouble])
        if trouble == CONTRADICTS:
            return HttpResponse(status=200, headers=kind, body=b"[]")
        if trouble:
            kind["link"] = ('<https://elsewhere.example/?page=1>; rel="next"',)
        docs = list(self.documents(off_id, area).values())
        return HttpResponse(status=200, headers=kind, body=json.dumps(docs).encode())
