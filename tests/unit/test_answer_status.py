"""What the status says of an answer, and what a body says with status 200."""

import pytest

from tests.support.pts_answers import SAFETY, read, restriction
from worker.core.overrides import with_overrides
from worker.errors import ContractError, DeniedError, RejectedError, TransientError

pytestmark = pytest.mark.promise("1")


def test_404_as_declared():
    """404 is an empty area only where it was declared so, and never as a web page."""
    empty = with_overrides(SAFETY, {"not_found_means": "empty"})
    for key_path in ("id", None):
        page = read(b"", status=404, area=empty, key_path=key_path)
        assert (page.records, page.item_count, page.key_path) == ((), 0, key_path or "")
    with pytest.raises(RejectedError) as caught:
        read(b"", status=404)
    assert (caught.value.status, "not_found_means" in caught.value.hint) == (404, True)
    with pytest.raises(RejectedError):
        read(b"", status=404, area=empty, headers={"content-type": ("text/html",)})


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (RejectedError, [400, 409]),
        (DeniedError, [401, 403]),
        (TransientError, [429, 500, 503]),
        (ContractError, [201, 202, 203, 204, 206, 301, 302, 304, 307]),
    ],
)
def test_other_statuses(kind, statuses):
    """Whatever body comes with it, another status than 200 gives no record, but an error."""
    for status in statuses:
        with pytest.raises(kind, match=f"status {status}") as caught:
            read([restriction()], status=status)
        assert (type(caught.value), caught.value.status) == (kind, status)
        assert ("redirect" in str(caught.value)) == (300 <= status < 400)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": 400}, "status"),
        ({"statusCode": "500"}, "statuscode"),
        ({"status": "failed"}, "status"),
        ({"Ok": False}, "ok"),
        ({"timed_out": True}, "timedout"),
        ({"has_errors": "true"}, "haserrors"),
        ({"is_success": False}, "issuccess"),
        ({"isComplete": False}, "iscomplete"),
        ({"validation_errors": ["x"]}, "validationerrors"),
        ({"odata.error": {"code": "x"}}, "odataerror"),
        ({"_shards": {"total": 5, "failed": 1}}, "shards.failed"),
        ({"meta": {"error": "x"}}, "meta.error"),
        ({"feilmelding": "x"}, "feilmelding"),
    ],
    ids=str,
)
def test_failures_reported_with_status_200(body, field):
    """In any case, with underscores or prefixes, or in an object about the request."""
    with pytest.raises(ContractError, match="an error reported with status 200") as caught:
        read({"items": [], **body})
    assert caught.value.field == field


@pytest.mark.parametrize(
    "said", [{"message": "Ingen feil"}, {"meta": {"status": "partial"}}], ids=str
)
def test_what_is_declared_to_be_no_failure(said):
    """A harmless word on every answer must not end every night, so there is a key for it."""
    with pytest.raises(ContractError, match="if it is none, add it to areas"):
        read({"items": [], **said})
    ignoring = with_overrides(SAFETY, {"paging": {"ignore": [*said, "status"]}})
    assert read({"items": [], **said}, area=ignoring).records == ()


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [], "error": None, "errorCode": 0, "success": True, "status": 200},
        {"status": "200", "code": "N", "ok": None, "complete": True, "warnings": []},
        {"_shards": {"failed": 0}, "has_errors": "false", "message": "No restrictions"},
    ],
    ids=str,
)
def test_no_failure_in_the_body(body):
    """A status below 400, negative and empty values, and other words say that all is well."""
    page = read({"items": [], **body})
    assert (page.records, page.item_count) == ((), 0)
