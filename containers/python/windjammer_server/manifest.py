# Reads a bundle's manifest in the container, and tells its contract as metadata of the Open Inference Protocol.
import json
import os

# Version of what this server speaks beside the protocol: headers, content types, the error tensor.
_SERVER_VERSION = "1"

_PLATFORMS = {"predict": "python_function", "inference": "python_inference", "pickle": "python_pickle"}


def read_manifest(model_dir):
    """
    The frontend has checked the manifest thoroughly; this catches a wrong folder and a bundle of another release.
    Raises ValueError with a message for whoever started the container.
    """
    path = os.path.join(model_dir, "manifest.json")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read the bundle's manifest {path}: {error}") from error
    known = manifest if isinstance(manifest, dict) else {}
    if known.get("format") != 1:
        raise ValueError(f"{path}: format {json.dumps(known.get('format'))} is not known; this container reads 1")
    kind = (known.get("container") or {}).get("kind", "node")
    if kind != "python":
        raise ValueError(f'{path}: the bundle needs a container of kind "{kind}"; this one runs "python"')
    contract = known.get("contract") or {}
    if not _are_specs(contract.get("inputs")) or not _are_specs(contract.get("outputs")):
        raise ValueError(f"{path}: contract.inputs and contract.outputs must be lists of at least one tensor")
    if not contract.get("isBatched"):
        raise ValueError(f"{path}: contract.isBatched must be true; the containers of Windjammer take batches")
    return manifest


def _are_specs(value):
    return isinstance(value, list) and len(value) > 0 and all(isinstance(spec.get("shape"), list) for spec in value)


def server_metadata():
    extensions = ["binary_tensor_data", "windjammer_item_errors"]
    return {"name": "windjammer", "version": _SERVER_VERSION, "extensions": extensions}


def model_metadata(name, version, manifest):
    contract = manifest["contract"]
    return {
        "name": name,
        "versions": [version],
        "platform": _PLATFORMS.get(manifest["model"].get("form"), "python_function"),
        "inputs": [_tensor_metadata(spec) for spec in contract["inputs"]],
        "outputs": [_tensor_metadata(spec) for spec in contract["outputs"]],
    }


def _tensor_metadata(spec):
    described = {"name": spec["name"], "datatype": spec["datatype"], "shape": [-1, *spec["shape"]]}
    if "contentType" in spec:
        described["parameters"] = {"content_type": spec["contentType"]}
    return described
