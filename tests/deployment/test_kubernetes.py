"""The manifests of an overlay fit together, and restricted Pod Security allows the pods."""

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.deployment.deployed import (
    CRON_JOBS,
    VARIANTS,
    Workload,
    manifests,
    workloads,
)
from worker import __version__

WORKLOADS = pytest.mark.parametrize("workload", workloads(), ids=str)
BY_HAND = {"pts-backfill", "pts-backup", "pts-command", "pts-migrate"}
WRITABLE = {"data", "tmp", "backup"}
KEYS = {
    "pts-backup": {"pseudonym.key"},
    "pts-freshness": {"database.password"},
    "pts-migrate": {"database.password", "pseudonym.key"},
}
"""The keys that a pod sees, if not all three."""


@WORKLOADS
def test_pod_is_allowed_by_restricted_pod_security(workload: Workload):
    """Not root, no privilege, no capability, the default seccomp profile, a read-only root."""
    pod = dict(workload.pod["securityContext"])
    numbers = [pod.pop(key, None) for key in ("runAsUser", "runAsGroup", "fsGroup")]
    # OpenShift refuses numbers that are not the namespace's own.
    assert numbers == [None if "openshift" in workload.variant else 10001] * 3
    assert pod == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert workload.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert workload.pod["automountServiceAccountToken"] is False
    labels = manifests(*workload.variant)["Namespace"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@WORKLOADS
def test_pod_mounts_what_it_declares(workload: Workload):
    """Each volume is mounted once; secrets are for the group alone; what is written is a claim."""
    volumes = {volume["name"]: volume for volume in workload.pod["volumes"]}
    mounts = {mount["name"]: mount for mount in workload.container["volumeMounts"]}
    assert sorted(volumes) == sorted(mounts)
    for name, volume in volumes.items():
        assert len(volume) == 2, "a name and one source"
        if "secret" in volume:
            assert volume["secret"]["defaultMode"] == 0o440
        assert mounts[name].get("readOnly", False) == (name not in WRITABLE)
        has_claim = "sqlite" in workload.variant and name in {"data", "backup"}
        claim = {"claimName": f"pts-worker-{name}"} if has_claim else None
        assert name not in WRITABLE or volume.get("persistentVolumeClaim") == claim
    places = {mounts[name]["mountPath"] for name in WRITABLE & mounts.keys()}
    assert places - {"/backup"} == {"/data", "/tmp"}  # noqa: S108
    assert volumes["config"]["configMap"]["name"] == "pts-worker"
    assert mounts["config"]["mountPath"] == "/etc/pts-worker"
    if "roster" in volumes:
        source = "persistentVolumeClaim" if "roster-pvc" in workload.variant else "secret"
        assert source in volumes["roster"]


@WORKLOADS
def test_pod_runs_this_version_under_the_network_policy(workload: Workload):
    """The image is of this version, and the policy's selector takes the pod in."""
    assert workload.container["image"] == f"pts-sync-worker:{__version__}-slim"
    policy = manifests(*workload.variant)["NetworkPolicy"]["spec"]
    labels = workload.job["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()


@WORKLOADS
def test_pod_has_the_files_that_are_named(workload: Workload):
    """Configuration and arguments name files on the pod's volumes, and no key too many is there."""
    made = manifests(*workload.variant)
    places = {mount["name"]: mount["mountPath"] for mount in workload.container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in workload.pod["volumes"]}
    ((file, text),) = made["pts-worker"]["data"].items()
    assert workload.container["env"] == [
        {"name": "PTS_CONFIG", "value": f"{places['config']}/{file}"}
    ]
    (variables,) = workload.container["envFrom"]
    (environment,) = (made[source["name"]]["data"] for source in variables.values())
    config, password = tomllib.loads(text), environment["PTS_DATABASE__PASSWORD_FILE"]
    assert bool(password) is ("sqlite" not in workload.variant)
    files = [config["helseid"]["private_jwk_file"], config["privacy"]["pseudonym_key_file"]]
    assert {str(Path(key).parent) for key in (*files, password or files[0])} == {places["keys"]}
    keys = volumes["keys"]["secret"]
    assert keys["secretName"] == "pts-worker-keys"
    assert keys.get("optional", False) is ("sqlite" in workload.variant)  # of database.password
    shown = {item["path"] for item in keys.get("items", ()) if item["path"] == item["key"]}
    assert shown == KEYS.get(workload.name, set())
    assert ("roster" in places) is (workload.name in {"pts-command", "pts-sync"})
    assert config["roster"]["path"] == f"{places.get('roster', '/roster')}/roster.csv"
    named = re.findall(r"(?m)(?:^| )\"?(/\S+)/", " ".join(map(str, workload.container["args"])))
    assert {*named} == {places[name] for name in ("backfill", "backup") if name in places}


@WORKLOADS
def test_pod_has_what_a_run_takes(workload: Workload):
    """Memory, time to start and to stop; no variable of a Service; `explain` has an input."""
    memory = [workload.container["resources"][key]["memory"] for key in ("requests", "limits")]
    assert memory == ["192Mi", "512Mi"]
    assert workload.job["activeDeadlineSeconds"] >= 300
    assert workload.pod["terminationGracePeriodSeconds"] > 10
    assert workload.pod["enableServiceLinks"] is False  # PTS_… of a Service named `pts`
    is_attached = [workload.container.get(key, False) for key in ("stdin", "stdinOnce")]
    assert is_attached == [workload.name == "pts-command"] * 2


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize("name", CRON_JOBS)
def test_cron_job_starts_at_an_hour_that_every_day_has_once(name: str, variant: tuple[str, ...]):
    """Never two of them, a late start within limits, the zone named, not in the hour of change."""
    spec = manifests(*variant)[name]["spec"]
    is_by_hand = name in BY_HAND - ({"pts-backup"} if "sqlite" in variant else set())
    assert spec.get("suspend", False) is is_by_hand
    assert spec["timeZone"] == "Europe/Oslo"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["failedJobsHistoryLimit"] >= 3  # else nobody can read why a night failed
    assert "2" not in spec["schedule"].split()[1].split(",")
    if not is_by_hand:
        # A cluster that was busy for an hour. Without it a hundred missed starts stop the CronJob.
        assert spec["startingDeadlineSeconds"] >= 3600


def allowed(*variant: str) -> set[tuple[str, str, int]]:
    """What the network policy lets out: where to, protocol, port."""
    found = set()
    for rule in manifests(*variant)["NetworkPolicy"]["spec"]["egress"]:
        for peer in rule.get("to", [{}]):
            labels = peer.get("namespaceSelector", {}).get("matchLabels", {})
            where = "".join(labels.values()) or peer.get("ipBlock", {}).get("cidr", "anywhere")
            found |= {(where, port["protocol"], port["port"]) for port in rule["ports"]}
    return found


def test_network_policy_lets_out_what_the_worker_calls_and_nothing_else():
    """The name service, in the cluster and on the node; PTS, PostgreSQL; where numbers go."""
    dns = {(where, "UDP", 53) for where in ("kube-system", "169.254.20.10/32")}
    dns |= {(where, "TCP", port) for where, _, port in dns}
    services = {("anywhere", "TCP", 443), ("anywhere", "TCP", 5432)}
    telemetry = {("monitoring", "TCP", 9091)}
    assert allowed("production") == allowed("test") == dns | services | telemetry
    assert allowed("production", "openshift") - allowed("production") == {
        ("openshift-dns", "UDP", 5353),
        ("openshift-dns", "TCP", 5353),
    }
    for overlay, namespace in (("production", "pts-worker"), ("test", "pts-worker-test")):
        made = manifests(overlay)
        url = made["pts-worker-environment"]["data"]["PTS_DATABASE__URL"]
        assert ("anywhere", "TCP", urlsplit(url).port) in services
        places = {document["metadata"].get("namespace", namespace) for document in made.values()}
        assert {*places, made["Namespace"]["metadata"]["name"]} == {namespace}
    policy = manifests()["NetworkPolicy"]["spec"]
    assert (policy["ingress"], policy["policyTypes"]) == ([], ["Ingress", "Egress"])


def test_replacement_of_a_killed_pod_waits_for_its_lease():
    """A pod killed on another node holds the lease for 60 s: its successor must not give up."""
    waiting = {
        str(workload): list(workload.container["args"][-2:])
        for workload in workloads()
        if workload.container["args"][0] in {"sync", "backfill"}
    }
    assert set(map(tuple, waiting.values())) == {("--wait", "30m")}
    assert len(waiting) == 2 * len(VARIANTS)


@pytest.mark.parametrize("workload", workloads(*VARIANTS[:2]), ids=str)
def test_outage_is_waited_for_until_the_deadline(workload: Workload):
    """Another pod after 10 s, 20 s, … and at most 10 min: they last longer than the Job may.

    Kubernetes' job controller: DefaultJobPodFailureBackOff, MaxJobPodFailureBackOff (its
    documentation has 6 min for the latter, which is what is counted with here).
    """
    if workload.name not in {"pts-sync", "pts-backfill", "pts-migrate"}:
        assert workload.job["backoffLimit"] == 0
        return
    pauses = [min(10 * 2**count, 360) for count in range(workload.job["backoffLimit"])]
    assert sum(pauses) > workload.job["activeDeadlineSeconds"]
