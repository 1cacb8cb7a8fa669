"""Validates docker/kubernetes/ against the schemas of Kubernetes, strictly: what a schema does not name is
refused. Where kustomize or kubectl is there, what they render of each overlay; without them each
resource as it is written, and no patch. What the Prometheus Operator defines has no schema here."""

import functools
import pathlib
import shutil
import subprocess
import sys

import kubernetes_validate
import yaml

FOLDER = pathlib.Path("docker/kubernetes")
OVERLAYS = ["base", "overlays/mysql", "overlays/sqlite-single", "overlays/monitoring"]
# The oldest that knows lifecycle.preStop.sleep without being told to, one between, the newest.
VERSIONS = ["1.30", "1.34", "1.37"]
# Of the Prometheus Operator.
OTHERS = {"monitoring.coreos.com/v1"}


def renderer():
    """The command that renders a folder, if there is one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return None


def rendered(command, folder):
    output = subprocess.run([*command, folder], check=True, capture_output=True, text=True)
    return list(yaml.safe_load_all(output.stdout))


def written(folder):
    """The resources that a kustomization lists, those of other folders left out."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = [folder / name for name in kustomization["resources"] if name.endswith(".yaml")]
    return [resource for file in files for resource in yaml.safe_load_all(file.read_text())]


def main():
    # It reads all definitions of a version for each resource.
    validating = kubernetes_validate.utils
    validating.schema_contents = functools.lru_cache(maxsize=None)(validating.schema_contents)
    command = renderer()
    wrong, validated = 0, 0
    for overlay in OVERLAYS:
        folder = FOLDER / overlay
        for resource in rendered(command, folder) if command else written(folder):
            if resource["apiVersion"] in OTHERS:
                continue
            name = f"{folder}: {resource['kind']} {resource['metadata']['name']}"
            for version in VERSIONS:
                validated += 1
                try:
                    kubernetes_validate.validate(resource, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    wrong += 1
                    place = ".".join(str(part) for part in error.path)
                    print(f"{name} on Kubernetes {version}: {place}: {error.message}")
                except kubernetes_validate.SchemaNotFoundError as error:
                    wrong += 1
                    print(f"{name}: {error.message}")
    if validated == 0:
        wrong += 1
        print(f"{FOLDER} has no resource")
    return 1 if wrong else 0


sys.exit(main())
