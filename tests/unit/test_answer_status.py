"""What the status says of an answer, and what a body says with status 200."""

import pytest

from tests.support.pts_answers import (
    SAFETY,
    read,
    restriction,
)
from worker.core.overrides import with_overrides
from worker.errors import ContractError, DeniedError, RejectedError, TransientError


def test_404_as_declared():
    """404 is an empty area only where it was declared so, and never as a web page."""
    empty = with_overrides(SAFETY, {"not_found_means": "empty"})
    for key_path in ("id", None):
        page = read(b"", status=404, area=empty, key_path=key_path)
        assert ((), 0, key_path or "") == (page.records, page.item_count, page.key_path)
    with pytest.raises(RejectedError) as caught:
        read(b"", status=404)
    assert (caught.value.status, "not_found_means" in caught.value.hint) == (404, True)
    with pytest.raises(RejectedError):
        read(b"", status=404, area=empty, headers={"content-type": ("text/html",)})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RejectedError),
        (401, DeniedError),
        (403, DeniedError),
        (409, RejectedError),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
        (201, ContractError),
        (202, ContractError),
        (203, ContractError),
        (204, ContractError),
        (206, ContractError),
        (301, ContractError),
        (302, ContractError),
        (304, ContractError),
        (307, ContractError),
    ],
)
def test_other_statuses(status, kind):
    """Whatever body comes with it, another status than 200 gives no record, but an error."""
    with pytest.raises(kind, match=f"status {status}") as caught:
        read([restriction()], status=status)
    assert (kind, status) == (type(caught.value), caught.value.status)
    assert (300 <= status < 400) == ("redirect" in str(caught.value))


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"status": 400}, "status"),
        ({"statusCode": "500"}, "statuscode"),
        ({"httpStatus": "503"}, "httpstatus"),
        ({"status": "Error"}, "status"),
        ({"status": "failed"}, "status"),
        ({"code": "FAILURE"}, "code"),
        ({"status": "fail"}, "status"),
        ({"Ok": False}, "ok"),
        ({"timed_out": True}, "timedout"),
        ({"has_errors": "true"}, "haserrors"),
        ({"is_success": False}, "issuccess"),
        ({"success": "false"}, "success"),
        ({"succeeded": 0}, "succeeded"),
        ({"status_code": 503}, "statuscode"),
        ({"validation_errors": ["x"]}, "validationerrors"),
        ({"@error": {"code": "x"}}, "error"),
        ({"odata.error": {"code": "x"}}, "odataerror"),
        ({"_shards": {"total": 5, "failed": 1}}, "shards.failed"),
        ({"meta": {"error": "x"}}, "meta.error"),
        ({"metadata": {"errors": ["x"]}}, "metadata.errors"),
        ({"outcome": "error"}, "outcome"),
        ({"resultCode": "ERROR"}, "resultcode"),
        ({"feilmelding": "x"}, "feilmelding"),
        ({"degraded": True}, "degraded"),
    ],
    ids=str,
)
def test_failures_reported_with_status_200(body, field):
    """In any case, with underscores or prefixes, or in an object about the request."""
    with pytest.raises(ContractError, match="an error reported with status 200") as caught:
        read({"items": [], **body})
    assert field == caught.value.field


@pytest.mark.promise("1")
@pytest.mark.parametrize(
    "said",
    [{"message": "Ingen feil"}, {"warnings": ["old"]}, {"meta": {"status": "partial"}}, {"ok": 0}],
    ids=str,
)
def test_what_is_declared_to_be_no_failure(said):
    """A harmless word on every answer must not end every night, so there is a key for it."""
    with pytest.raises(ContractError, match="if it is none, add it to areas"):
        read({"items": [], **said})
    names = [*said, "status"]
    ignoring = with_overrides(SAFETY, {"paging": {"ignore": names}})
    assert read({"items": [], **said}, area=ignoring).records == ()


@pytest.mark.parametrize(
    "body",
    [
        {"errors": "0"},
        {"warnings": "no"},
        {"has_errors": "false"},
        {"_shards": {"failed": 0}},
        {"errors": [], "error": None, "errorCode": 0, "success": True, "status": 200},
        {"status": 399},
        {"status": "200"},
        {"code": "N"},
        {"ok": None},
        {"resourceType": "Bundle"},
        {"note": "OperationOutcome"},
        {"complete": True},
        {"warnings": []},
        {"failed": 0},
        {"message": "No restrictions"},
        {"status": "complete"},
    ],
)
def test_no_failure_in_the_body(body):
    """A status below 400, negative and empty values, and other words say that all is well."""
    page = read({"items": [], **body})
    assert (page.records, page.item_count) == ((), 0)
