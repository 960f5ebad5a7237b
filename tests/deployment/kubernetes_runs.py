"""The manifests on a real API server, whose controllers see each exit code of a pod.

``make kubernetes-test``: needs kustomize and the programs of ``cluster.PROGRAMS``; four minutes.
Not a part of ``make test``: the name of this file keeps it out. There is no node: what a kubelet
would report is written by the test.
"""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.support.deployment.cluster import Cluster, Document, cluster
from tests.support.deployment.deployed import FOR_A_PERSON, OVER, RETRIED, VARIANTS, manifests
from tests.support.program import wait_for

pytestmark = pytest.mark.timeout(600)

PAST = timedelta(minutes=11)
"""A pod that ended so long ago is replaced at once: the longest pause is ten minutes."""


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Cluster]:
    """The server, with the namespaces of all overlays."""
    with cluster(tmp_path_factory.mktemp("cluster")) as made:
        for overlay in ("production", "test"):
            made.apply(manifests(overlay)["Namespace"])
        request.config.get_terminal_writer().line(f"Kubernetes {made.version}")
        yield made


@pytest.fixture
def sync(started: Cluster) -> Document:
    """The CronJob of the nightly run, as applied."""
    return started.apply(manifests("production")["pts-sync"])  # type: ignore[no-any-return]


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
def test_the_server_takes_each_variant(started: Cluster, variant: tuple[str, ...]) -> None:
    """By a dry run, then for real; strictly, and without a warning, also of Pod Security."""
    documents = manifests(*variant).values()
    for document in documents:
        started.apply(document, is_dry_run=True)
    for document in documents:
        started.apply(document)
    assert started.warned == []


@pytest.mark.parametrize("code", sorted(OVER | FOR_A_PERSON))
def test_what_no_pod_can_mend_ends_the_job(started: Cluster, sync: Document, code: int) -> None:
    """At once, and the message has the code: index 1 is over, index 2 needs a person."""
    job = started.job_from(sync, f"code-{code}")
    job.end_pod(code)
    rule = 1 if code in OVER else 2
    kind, reason, message = job.ended()
    assert (kind, reason) == ("Failed", "PodFailurePolicy")
    assert f"failed with exit code {code} matching FailJob rule at index {rule}" in message
    assert job.status["failed"] == 1


@pytest.mark.parametrize("code", sorted(RETRIED))
def test_a_pod_is_replaced_after_10_s_then_20_s(
    started: Cluster, sync: Document, code: int
) -> None:
    job = started.job_from(sync, f"again-{code}")
    for pause_s in (10, 20):
        job.pod()
        ended_s = time.monotonic()
        job.end_pod(code)
        wait_for(job.pods, "the next pod", timeout_s=60)
        assert pause_s - 2 <= time.monotonic() - ended_s <= pause_s + 8
    job.end_pod(0, ago=PAST)
    assert job.ended()[0] == "Complete"


def test_an_evicted_pod_is_replaced_and_not_counted(started: Cluster, sync: Document) -> None:
    """Whatever code it ended with: it was killed."""
    job = started.job_from(sync, "evicted")
    first = job.end_pod(78, ago=PAST, is_disrupted=True)
    second = job.pod()["metadata"]["name"]
    assert first != second
    assert job.status.get("failed", 0) == 0
    job.end_pod(0, ago=PAST)
    assert job.ended()[0] == "Complete"
