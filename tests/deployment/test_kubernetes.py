"""The manifests are what the API takes, what restricted Pod Security allows, and fit together."""

import copy
import warnings
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.deployment.deployed import KUBERNETES, Workload, manifests, workloads
from worker import __version__
from worker.cli.sync import part_of
from worker.core.sharding import Shard, ShardAssignment

OLDEST = "1.31.0"  # podFailurePolicy is stable from here on
SHARDS = "job-sync-shards.yaml"
WORKLOADS = pytest.mark.parametrize("workload", workloads(), ids=lambda workload: workload.file)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("file", sorted(manifests()))
def test_manifest_is_what_the_api_takes(file: str, version: str):
    """Each field exists and has its type, in the oldest and the newest Kubernetes."""
    document: dict[str, Any] = copy.deepcopy(manifests()[file])
    # The API makes the name; the validator wants to print one.
    document["metadata"].setdefault("name", document["metadata"].pop("generateName", ""))
    assert document["metadata"]["name"]
    with warnings.catch_warnings():
        # jsonschema's RefResolver, which the validator uses, is deprecated there.
        warnings.simplefilter("ignore", DeprecationWarning)
        kubernetes_validate.validate(document, version, strict=True)


@WORKLOADS
def test_pod_is_allowed_by_restricted_pod_security(workload: Workload):
    """Not root, no privilege, no capability, the default seccomp profile, a read-only root."""
    pod = workload.pod["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert pod["runAsUser"] == pod["runAsGroup"] == pod["fsGroup"] == 10001
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert workload.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert workload.pod["automountServiceAccountToken"] is False
    labels = manifests()["namespace.yaml"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@WORKLOADS
def test_pod_mounts_what_it_declares(workload: Workload):
    """Each volume is mounted once; secrets are for the group alone; the writable ones are empty."""
    volumes = {volume["name"]: volume for volume in workload.pod["volumes"]}
    mounts = {mount["name"]: mount for mount in workload.container["volumeMounts"]}
    assert sorted(volumes) == sorted(mounts)
    for name, volume in volumes.items():
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
        assert mounts[name].get("readOnly", False) == ("emptyDir" not in volume)
    assert {mounts["data"]["mountPath"], mounts["tmp"]["mountPath"]} == {"/data", "/tmp"}  # noqa: S108
    assert volumes["config"]["configMap"]["name"] == "pts-worker"
    assert mounts["config"]["mountPath"] == "/etc/pts-worker"
    first, *more = workload.container["env"]
    assert first == {"name": "PTS_CONFIG", "value": "/etc/pts-worker/worker.toml"}
    shards = ["PTS_SHARD_COUNT", "PTS_RUN_KEY"] if workload.file == SHARDS else []
    assert [variable["name"] for variable in more] == shards


@WORKLOADS
def test_pod_sees_no_variables_of_services(workload: Workload):
    """A Service called `pts` would set PTS_… variables, which are the worker's own."""
    assert workload.pod["enableServiceLinks"] is False


@WORKLOADS
def test_pod_has_time_to_stop_and_a_limit_on_memory(workload: Workload):
    """The worker ends within 10 s of SIGTERM; the grace period leaves it more."""
    assert workload.pod["terminationGracePeriodSeconds"] >= 30
    assert workload.job["activeDeadlineSeconds"] > 0
    assert {"cpu", "memory"} == set(workload.container["resources"]["requests"])
    assert "memory" in workload.container["resources"]["limits"]


@WORKLOADS
def test_pod_runs_this_version_under_the_network_policy(workload: Workload):
    """The image is of this version, and the policy's selector takes the pod in."""
    assert workload.container["image"] == f"pts-sync-worker:{__version__}"
    selector = manifests()["network-policy.yaml"]["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= workload.job["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("file", [name for name in manifests() if name.startswith("cronjob")])
def test_cron_job_starts_at_an_hour_that_every_day_has_once(file: str):
    """Never two of them, a late start within limits, the zone named, not in the hour of change."""
    spec = manifests()[file]["spec"]
    assert spec["timeZone"] == "Europe/Oslo"
    assert spec["concurrencyPolicy"] == "Forbid"
    # Without it a hundred missed starts stop the CronJob for good.
    assert spec["startingDeadlineSeconds"] > 0
    assert "2" not in spec["schedule"].split()[1].split(",")


def test_everything_is_in_one_namespace():
    """Nothing lands in the namespace that the operator happens to be in."""
    documents = [doc for doc in manifests().values() if doc["kind"] != "Namespace"]
    assert {document["metadata"]["namespace"] for document in documents} == {"pts-worker"}
    assert manifests()["namespace.yaml"]["metadata"]["name"] == "pts-worker"


def test_kustomization_takes_in_all_but_the_jobs_made_by_hand():
    """`kubectl apply -k` makes what stays; a Job is created when it is wanted."""
    kustomization = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    standing = [file for file, document in manifests().items() if document["kind"] != "Job"]
    assert sorted(kustomization["resources"]) == sorted(standing)
    (config_map,) = kustomization["configMapGenerator"]
    assert config_map == {"name": "pts-worker", "files": ["worker.toml"]}
    assert kustomization["generatorOptions"]["disableNameSuffixHash"] is True
    (image,) = kustomization["images"]
    assert (image["name"], image["newTag"]) == ("pts-sync-worker", __version__)


def test_replacement_of_a_killed_pod_waits_for_its_lease():
    """A pod killed on another node holds the lease for 60 s: its successor must not give up."""
    waiting = {
        workload.file: list(workload.container["args"][-2:])
        for workload in workloads()
        if workload.container["args"][0] in {"sync", "backfill"}
    }
    assert set(map(tuple, waiting.values())) == {("--wait", "30m")}
    assert sorted(waiting) == ["cronjob-sync.yaml", "job-backfill.yaml", SHARDS]


def test_each_pod_of_the_shards_knows_its_part():
    """As many pods as shards, all at once; the Job's name is the run's key; each fails alone."""
    (shards,) = (workload for workload in workloads() if workload.file == SHARDS)
    _, count, key = shards.container["env"]
    assert shards.job["completionMode"] == "Indexed"
    assert count["value"] == str(shards.job["completions"]) == str(shards.job["parallelism"])
    label = "metadata.labels['batch.kubernetes.io/job-name']"
    assert key["valueFrom"] == {"fieldRef": {"fieldPath": label}}
    assert shards.job["backoffLimitPerIndex"] > 0
    names = {"PTS_RUN_KEY": "pts-sync-shards-x7k2p", "JOB_COMPLETION_INDEX": "3"}
    part = part_of(None, None, names | {count["name"]: count["value"]})
    assert part == ShardAssignment(shard=Shard(index=3, count=4), run_key="pts-sync-shards-x7k2p")
