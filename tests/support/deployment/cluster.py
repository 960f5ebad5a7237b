"""A real Kubernetes API server with its etcd and controllers on loopback, and no node.

Nobody runs the pods: a test writes the status that a kubelet would write.
"""

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.program import closed_port, wait_for

PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager")
ASSETS: Final = "KUBEBUILDER_ASSETS"
"""The variable in which controller-runtime's envtest, too, looks for these programs."""
CONTROLLERS: Final = (
    *("job-controller", "cronjob-controller", "namespace-controller"),
    *("serviceaccount-controller", "garbage-collector-controller"),
)
PLURALS: Final = {
    "CronJob": "apis/batch/v1/namespaces/{}/cronjobs",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Pod": "api/v1/namespaces/{}/pods",
    "Namespace": "api/v1/namespaces",
}
TOKEN: Final = "loopback"
Document = Mapping[str, Any]


def program(name: str) -> str | None:
    """The path of one of ``PROGRAMS``; None where it cannot be had."""
    folders = [os.environ.get(ASSETS, ""), "/usr/local/kubebuilder/bin", os.environ["PATH"]]
    return shutil.which(name, path=os.pathsep.join(folders))


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What a test asks the API server for. ``warned`` holds the warnings that it answered with."""

    api: httpx.Client
    warned: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        """The server's version."""
        version: str = self.call("GET", "version")["gitVersion"]
        return version

    def call(self, method: str, path: str, **options: Any) -> Any:
        """The answer's document; an answer that refuses fails the test with its message."""
        answer = self.api.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        self.warned.extend(answer.headers.get_list("Warning"))
        return answer.json()

    def apply(self, document: Document, *, is_dry_run: bool = False) -> Any:
        """As `kubectl apply --server-side --validate=strict`."""
        metadata = document["metadata"]
        path = PLURALS[document["kind"]].format(metadata.get("namespace"))
        query = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}
        return self.call(
            "PATCH",
            f"{path}/{metadata['name']}",
            params=query | ({"dryRun": "All"} if is_dry_run else {}),
            headers={"Content-Type": "application/apply-patch+yaml"},
            content=yaml.safe_dump(dict(document)),
        )

    def listed(self, kind: str, namespace: str, **labels: str) -> list[Any]:
        """All of a kind with these labels, oldest first."""
        selector = ",".join(f"{name.replace('_', '-')}={value}" for name, value in labels.items())
        path = PLURALS[kind].format(namespace)
        items = self.call("GET", path, params={"labelSelector": selector})["items"]
        return sorted(items, key=lambda item: str(item["metadata"]["creationTimestamp"]))

    def job_from(self, cron_job: Document, name: str, **changes: Any) -> "Job":
        """As `kubectl create job NAME --from=cronjob/…`, with some of its fields changed."""
        namespace = cron_job["metadata"]["namespace"]
        template = cron_job["spec"]["jobTemplate"]
        document = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": name,
                "annotations": {"cronjob.kubernetes.io/instantiate": "manual"},
            },
            "spec": {**template["spec"], **changes},
        }
        self.call(
            "POST",
            PLURALS["Job"].format(namespace),
            params={"fieldValidation": "Strict"},
            json=document,
        )
        return Job(cluster=self, namespace=namespace, name=name)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A Job whose pods end as the test says."""

    cluster: Cluster
    namespace: str
    name: str

    @property
    def status(self) -> Document:
        path = f"{PLURALS['Job'].format(self.namespace)}/{self.name}"
        status: Document = self.cluster.call("GET", path)["status"]
        return status

    def condition(self) -> tuple[str, str, str] | None:
        """How it ended: type, reason and message; None while it goes on."""
        for found in self.status.get("conditions", ()):
            if found["type"] in {"Complete", "Failed"} and found["status"] == "True":
                return found["type"], found.get("reason", ""), found.get("message", "")
        return None

    def ended(self) -> tuple[str, str, str]:
        wait_for(lambda: self.condition() is not None, f"the end of {self.name}")
        return self.condition() or ("", "", "")

    def pods(self) -> list[Any]:
        every = self.cluster.listed("Pod", self.namespace, **{"job-name": self.name})
        return [pod for pod in every if pod["status"].get("phase") == "Pending"]

    def pod(self) -> Any:
        """The one that has not ended, once it is there."""
        wait_for(lambda: bool(self.pods()), f"a pod of {self.name}", timeout_s=60)
        (pod,) = self.pods()
        return pod

    def end_pod(
        self, code: int, *, ago: timedelta = timedelta(), is_disrupted: bool = False
    ) -> str:
        """Write what a kubelet writes when the container has ended with ``code``."""
        pod = self.pod()
        at = (datetime.now(UTC) - ago).isoformat(timespec="seconds").replace("+00:00", "Z")
        worker = {
            "name": "worker",
            "ready": False,
            "restartCount": 0,
            "image": "worker",
            "imageID": "",
            "state": {"terminated": {"exitCode": code, "startedAt": at, "finishedAt": at}},
        }
        status: dict[str, Any] = {"phase": "Failed" if code else "Succeeded"}
        status["containerStatuses"] = [worker]
        if is_disrupted:
            status["conditions"] = [
                {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": at}
            ]
        name: str = pod["metadata"]["name"]
        self.cluster.call(
            "PATCH",
            f"{PLURALS['Pod'].format(self.namespace)}/{name}/status",
            headers={"Content-Type": "application/merge-patch+json"},
            content=json.dumps({"status": status}),
        )
        return name


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start the three programs, which are there (``program``), and stop them at the end."""
    key = folder / "accounts.key"
    key.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    etcd, peer, port = closed_port(), closed_port(), closed_port()
    with contextlib.ExitStack() as stack:
        stores = f"http://127.0.0.1:{etcd}"
        _start(stack, folder, "etcd", *(
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={stores}",
            f"--advertise-client-urls={stores}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ))  # fmt: skip
        _start(stack, folder, "kube-apiserver", *(
            f"--etcd-servers={stores}",
            f"--cert-dir={folder / 'certificates'}",
            f"--secure-port={port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
        ))  # fmt: skip
        certificate = folder / "certificates" / "apiserver.crt"
        wait_for(certificate.exists, "the API server's certificate", timeout_s=60)
        api = stack.enter_context(
            httpx.Client(
                base_url=f"https://127.0.0.1:{port}/",
                verify=ssl.create_default_context(cafile=str(certificate)),
                headers={"Authorization": f"Bearer {TOKEN}"},
                timeout=30,
                trust_env=False,
            )
        )
        wait_for(lambda: _is_ready(api), "the API server", timeout_s=120)
        _start(stack, folder, "kube-controller-manager", *(
            f"--kubeconfig={_kubeconfig(folder, port, certificate)}",
            f"--controllers={','.join(CONTROLLERS)}",
            f"--service-account-private-key-file={key}",
            f"--cert-dir={folder / 'manager'}",
            f"--secure-port={closed_port()}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
        ))  # fmt: skip
        yield Cluster(api=api)


def _is_ready(api: httpx.Client) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return api.get("readyz").is_success
    return False


def _kubeconfig(folder: Path, port: int, certificate: Path) -> Path:
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate)}
    path = folder / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "here", "cluster": server}],
                "users": [{"name": "admin", "user": {"token": TOKEN}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "admin"}}],
                "current-context": "here",
            }
        )
    )
    return path


def _start(stack: contextlib.ExitStack, folder: Path, name: str, *arguments: str) -> None:
    log = stack.enter_context((folder / f"{name}.log").open("wb"))
    command: Sequence[str] = [str(program(name)), *arguments]
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def stop() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()

    stack.callback(stop)
    time.sleep(0.2)
    assert process.poll() is None, (folder / f"{name}.log").read_text()
