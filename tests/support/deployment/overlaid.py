"""The manifests of an overlay with components, as kustomize makes them.

It knows as much of kustomize as ``config/kubernetes`` uses. A nightly test compares both.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]


def build(folder: Path, components: Sequence[Path] = ()) -> list[Document]:
    """Build a folder's kustomization, and apply components to it."""
    wanted = _read(folder)
    assert wanted["generatorOptions"] == {"disableNameSuffixHash": True}
    documents: list[Document] = []
    for name in wanted["resources"]:
        path = folder / name
        documents += build(path) if path.is_dir() else yaml.safe_load_all(path.read_text())
    documents += [_config_map(folder, entry) for entry in wanted.get("configMapGenerator", ())]
    for place, layer in [(folder, wanted), *((path, _read(path)) for path in components)]:
        for patch in layer.get("patches", ()):
            text = patch.get("patch") or (place / patch["path"]).read_text()
            _patch(documents, patch["target"], yaml.safe_load(text))
    for path in components:
        for entry in _read(path).get("configMapGenerator", ()):
            assert entry["behavior"] == "merge"
            (found,) = (one for one in documents if one["metadata"]["name"] == entry["name"])
            found["data"] |= _config_map(path, entry)["data"]
    for document in documents:
        _transform(document, wanted)
    return documents


def _read(folder: Path) -> Document:
    document: Document = yaml.safe_load((folder / "kustomization.yaml").read_text())
    return document


def _config_map(folder: Path, entry: Document) -> Document:
    data = {name: (folder / name).read_text() for name in entry.get("files", ())}
    lines = [*entry.get("literals", ())]
    for name in entry.get("envs", ()):
        lines += re.findall(r"(?m)^[^#\s].*$", (folder / name).read_text())
    data |= dict(line.split("=", 1) for line in lines)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": entry["name"]},
        "data": data,
    }


def _patch(documents: list[Document], target: Document, patch: Any) -> None:
    for document in documents:
        is_named = re.fullmatch(target.get("name", ".*"), document["metadata"]["name"])
        if document["kind"] != target["kind"] or not is_named:
            continue
        if isinstance(patch, list):
            for step in patch:
                _step(document, step)
        else:
            # The name of the patch itself is not used.
            renamed = patch | {
                "metadata": {**patch["metadata"], "name": document["metadata"]["name"]}
            }
            document.update(_merged(document, renamed))


def _step(document: Any, step: Document) -> None:
    """One operation of a JSON patch (RFC 6902)."""
    *path, last = step["path"].strip("/").split("/")
    for key in path:
        document = document[int(key) if isinstance(document, list) else key]
    match step["op"], last:
        case "remove", _:
            del document[last]
        case "add", "-":
            document.append(step["value"])
        case operation:
            raise NotImplementedError(operation)


def _merged(base: Any, patch: Any) -> Any:
    """Kubernetes' strategic merge: lists of what has a name are merged by it."""
    if isinstance(base, dict) and isinstance(patch, dict):
        both = {key: _merged(base.get(key), value) for key, value in patch.items()}
        return {key: value for key, value in (base | both).items() if value is not None}
    if isinstance(patch, dict):
        return _merged({}, patch)
    if isinstance(base, list) and isinstance(patch, list) and all("name" in one for one in patch):
        by_name = {one["name"]: one for one in base}
        by_name |= {one["name"]: _merged(by_name.get(one["name"]), one) for one in patch}
        return list(by_name.values())
    return patch


def _transform(document: Document, wanted: Document) -> None:
    """The namespace of a kustomization, and its images."""
    if namespace := wanted.get("namespace"):
        metadata = document["metadata"]
        metadata["name" if document["kind"] == "Namespace" else "namespace"] = namespace
    if document["kind"] == "CronJob":
        for container in document["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]:
            for image in wanted.get("images", ()):
                if container["image"] == image["name"]:
                    container["image"] += f":{image['newTag']}"
