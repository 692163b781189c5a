"""Backups and archives in Kubernetes: a component that an overlay may name, with an image and a volume of its own."""

import os
from pathlib import Path

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from finops_project.local.home import SOURCE
from tests.deploy.manifests import BASE, FOLDER, PRODUCTION, Thing, built, environment_of, main, of_kind

COMPONENT = FOLDER / "components" / "archive"
COMMANDS = ["finops-engine-backup", "finops-engine-archive"]


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    """Production with the component, as the documents say."""
    listed = {"resources": PRODUCTION, "components": COMPONENT}
    text = "".join(f"{kind}: [{os.path.relpath(folder, tmp_path.resolve())}]\n" for kind, folder in listed.items())
    (tmp_path / "kustomization.yaml").write_text(text)
    return tmp_path


def template(overlay: Path, name: str) -> Thing:
    return dict(of_kind("CronJob", overlay)[name]["spec"]["jobTemplate"]["spec"]["template"])


def test_it_is_no_part_of_the_service_by_itself() -> None:
    for folder in (BASE, PRODUCTION):
        assert not of_kind("CronJob", folder)
        assert not of_kind("PersistentVolumeClaim", folder)


def test_its_objects_are_as_their_schemas_say(overlay: Path) -> None:
    for thing in built(overlay):
        if thing["kind"] in ("CronJob", "PersistentVolumeClaim"):
            kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)
            assert thing["metadata"]["namespace"] == "threads-agent"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_keeps_its_files_in_the_volume(overlay: Path, name: str) -> None:
    pod = template(overlay, name)
    (files,) = (volume for volume in pod["spec"]["volumes"] if volume["name"] == "files")
    mounts = {each["name"]: each["mountPath"] for each in main(pod)["volumeMounts"]}

    assert files["persistentVolumeClaim"]["claimName"] in of_kind("PersistentVolumeClaim", overlay)
    assert mounts["files"] == "/files"
    assert "/files" in str(main(pod)["command"])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_as_few_rights_as_the_service(overlay: Path, name: str) -> None:
    served = of_kind("Deployment", overlay)["finops-engine"]["spec"]["template"]
    pod = template(overlay, name)

    assert pod["spec"]["securityContext"] == served["spec"]["securityContext"]
    assert main(pod)["securityContext"] == main(served)["securityContext"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_talks_to_postgres_itself_and_reads_the_same_settings(overlay: Path, name: str) -> None:
    job = main(of_kind("Job", overlay)["finops-engine-migrate"]["spec"]["template"])
    variables = environment_of(main(template(overlay, name)), overlay)

    assert variables["DATABASE_URL"] == environment_of(job, overlay)["DATABASE_URL"]
    assert (variables["FINOPS_PGBOUNCER"], variables["FINOPS_ROLE"]) == ("false", "command")


def test_the_image_has_the_library(overlay: Path) -> None:
    assert main(template(overlay, "finops-engine-archive"))["image"] == "finops-engine-archive:1.0"
    assert "pyarrow" in (SOURCE / "requirements-archive.txt").read_text()
