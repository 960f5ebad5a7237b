"""The stand-in for PTS against our OpenAPI document, over a real socket, with real tokens."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
import yaml
from hypothesis import HealthCheck, settings

from tests.support.contracts import contract
from tests.support.sandbox_caller import OFF_IDS, Caller, calling

pytestmark = pytest.mark.nightly

DOCUMENT = Path(__file__).parents[3] / "docs/openapi/pts-read.yaml"
PERSONS = 60

schema = schemathesis.openapi.from_path(DOCUMENT)


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    """A client with a token, of a sandbox that serves the module."""
    with calling() as made:
        yield made.sign_in()


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """The session that schemathesis calls with."""
    with requests.Session() as made:
        made.trust_env = False
        yield made


def conforms(path: str) -> Any:
    """A test that answers of this path are as the document says.

    One function for each: pytest gives all cases of ``schema.parametrize`` the function's own id.
    """

    @schema.include(path=path).parametrize()
    @settings(
        max_examples=12,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    def test(case: "schemathesis.Case[Any]", caller: Caller, session: requests.Session) -> None:
        """Whatever is sent, status, media type, headers and body are as the document says."""
        assert path == case.path
        caller.sandbox.control(contract=OLD if path == SAFETY_OLD else contract())
        meta = case.meta
        if meta is not None and meta.generation.mode.is_positive and isinstance(case.body, dict):
            # The document admits every person, filter and version; the sandbox synthetic persons
            # and what its contract has.
            case.body = {"offId": OFF_IDS[int(str(case.body["offId"])) % PERSONS]}
            if "api-version" in case.headers:
                case.headers["api-version"] = "0.4"
        url = caller.base_url + case.path
        case.call_and_validate(
            base_url=caller.base_url, session=session, headers=caller.headers(url)
        )

    return test


SAFETY, SAFETY_OLD, PRIVACY = PATHS = (
    "/v0.5/access-restrictions/patient-safety/_search",
    "/access-restrictions/patient-safety/_search",
    "/access-restrictions/patient-privacy/_search",
)

OLD = contract()
OLD["patient-safety"] |= {"path": SAFETY_OLD, "headers": {"api-version": "0.4"}}

test_patient_safety = conforms(SAFETY)
test_patient_safety_under_its_old_path = conforms(SAFETY_OLD)
test_patient_privacy = conforms(PRIVACY)


def test_every_path_is_tried():
    """The tests above call all that the document names."""
    assert set(PATHS) == set(yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))["paths"])


def test_the_examples_reached_restrictions(caller: Caller):
    """The persons that the test asks for have restrictions in both areas."""
    caller.sandbox.control(contract=contract())
    found = [len(caller.search(off_id).json()) for off_id in OFF_IDS[:PERSONS]]
    assert sum(found) > PERSONS / 2
    private = [
        caller.search(o, "/access-restrictions/patient-privacy/_search") for o in OFF_IDS[:PERSONS]
    ]
    assert any(answer.json() for answer in private)
