"""The manifests on a real API server, whose controllers see each exit code of a pod.

``make kubernetes-test``: needs kustomize and the programs of ``cluster.PROGRAMS``; four minutes.
Not a part of ``make test``: the name of this file keeps it out. There is no node: what a kubelet
would report is written by the test.
"""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from tests.support.deployment.cluster import Cluster, Document, Job, cluster
from tests.support.deployment.deployed import FOR_A_PERSON, OVER, RETRIED, VARIANTS, manifests
from tests.support.program import wait_for

pytestmark = pytest.mark.timeout(600)

PAST = timedelta(minutes=11)
"""A pod that ended so long ago is replaced at once: the longest pause is ten minutes."""
NAMESPACE = "pts-worker"


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


def test_success_is_complete(started: Cluster, sync: Document) -> None:
    job = started.job_from(sync, "code-0")
    job.end_pod(0)
    assert job.ended()[0] == "Complete"


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


def test_an_outage_is_waited_for_longer_than_a_night(started: Cluster, sync: Document) -> None:
    """Fifty pods end with 69. With pauses of 10 min from the seventh on, that is 7 h and more."""
    job = started.job_from(sync, "outage")
    for _ in range(50):
        job.end_pod(69, ago=PAST)
    job.pod()
    assert job.condition() is None
    assert sum(min(10 * 2**count, 600) for count in range(50)) > 25_200
    job.end_pod(0, ago=PAST)
    assert job.ended()[0] == "Complete"


def test_the_deadline_ends_the_outage(started: Cluster, sync: Document) -> None:
    """The Job's condition is then another one. The deadline is shortened here."""
    job = started.job_from(sync, "deadline", activeDeadlineSeconds=5)
    job.end_pod(69)
    assert job.ended()[:2] == ("Failed", "DeadlineExceeded")


def test_an_evicted_pod_is_replaced_and_not_counted(started: Cluster, sync: Document) -> None:
    """Whatever code it ended with: it was killed."""
    job = started.job_from(sync, "evicted")
    first = job.end_pod(78, ago=PAST, is_disrupted=True)
    second = job.pod()["metadata"]["name"]
    assert first != second
    assert job.status.get("failed", 0) == 0
    job.end_pod(0, ago=PAST)
    assert job.ended()[0] == "Complete"


def test_freshness_fails_at_the_first_pod(started: Cluster) -> None:
    """The Job to alert on has no second one."""
    job = started.job_from(started.apply(manifests("production")["pts-freshness"]), "freshness")
    job.end_pod(3)
    assert job.ended()[:2] == ("Failed", "BackoffLimitExceeded")


def test_the_clock_starts_no_second_run_beside_the_first(started: Cluster) -> None:
    """With a start each minute instead of each night; and a suspended template starts none."""
    production = manifests("production")
    now = dict(production["pts-sync"])
    now["metadata"] = now["metadata"] | {"name": "each-minute"}
    now["spec"] = now["spec"] | {"schedule": "* * * * *"}
    started.apply(now)

    def jobs() -> list[Job]:
        every = [job["metadata"] for job in started.listed("Job", NAMESPACE)]
        names = [job["name"] for job in every if job["name"].startswith("each-minute-")]
        return [Job(cluster=started, namespace=NAMESPACE, name=name) for name in names]

    (first,) = wait_for(jobs, "the first start", timeout_s=90)
    first.pod()
    began = datetime.fromisoformat(first.status["startTime"])
    time.sleep(75)
    assert [job.name for job in jobs()] == [first.name]
    first.end_pod(0)
    second = wait_for(lambda: jobs()[1:], "the next start", timeout_s=90)[0]
    assert datetime.fromisoformat(second.status["startTime"]) - began >= timedelta(seconds=60)
    by_hand = [job["metadata"]["name"] for job in started.listed("Job", NAMESPACE)]
    assert [name for name in by_hand if name.startswith(("pts-migrate-", "pts-backfill-"))] == []
