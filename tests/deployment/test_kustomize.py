"""kustomize makes what the other tests examine, and the API takes it."""

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.deployment.deployed import CRON_JOBS, KUBERNETES, VARIANTS, run, tool
from tests.support.deployment.overlaid import build

pytestmark = pytest.mark.nightly  # needs kustomize

OLDEST = "1.31.0"  # podFailurePolicy is stable from here on


def kustomized(folder: Path, overlay: str, *components: str) -> list[dict[str, Any]]:
    """The documents that kustomize makes of an overlay and components."""
    places = [KUBERNETES / overlay, *(KUBERNETES / "components" / name for name in components)]
    overlaid, *added = (os.path.relpath(place, folder.resolve()) for place in places)
    wanted = {"resources": [overlaid], "components": added}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    done = run([tool("kustomize"), "build", str(folder)])
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def in_order(value: Any) -> Any:
    """The same with lists of what has a name in the order of the names."""
    if isinstance(value, dict):
        return {key: in_order(item) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value):
        return sorted(map(in_order, value), key=lambda item: str(item["name"]))
    return value


def by_name(documents: list[dict[str, Any]]) -> dict[tuple[str, str], Any]:
    return {(one["kind"], one["metadata"]["name"]): in_order(one) for one in documents}


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
def test_kustomize_makes_the_same(variant: tuple[str, ...], tmp_path: Path):
    """The documents that the tests by day read are those of the real program."""
    ours = build(
        KUBERNETES / variant[0], [KUBERNETES / "components" / name for name in variant[1:]]
    )
    assert by_name(ours) == by_name(kustomized(tmp_path, *variant))


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_manifests_are_what_the_api_takes(version: str, tmp_path: Path):
    """Each field exists and has its type, in the oldest and the newest Kubernetes."""
    documents = {str(one): one for variant in VARIANTS for one in kustomized(tmp_path, *variant)}
    jobs = {one["metadata"]["name"] for one in documents.values() if one["kind"] == "CronJob"}
    assert jobs == set(CRON_JOBS)
    for document in documents.values():
        with warnings.catch_warnings():
            # jsonschema's RefResolver, which the validator uses, is deprecated there.
            warnings.simplefilter("ignore", DeprecationWarning)
            kubernetes_validate.validate(copy.deepcopy(document), version, strict=True)
