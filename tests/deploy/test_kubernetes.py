"""deploy/kubernetes builds, every object is one that Kubernetes takes, and they fit together and to the service."""

import json
import re
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from finops_project.local import processes
from finops_project.local.home import SOURCE
from finops_project.local.stack import ROLES
from tests.deploy.manifests import (
    BASE,
    FOLDER,
    PRODUCTION,
    autoscalers,
    built,
    chosen,
    components,
    containers,
    environment_of,
    example_secrets,
    main,
    matches,
    of_kind,
    pods,
    references,
)
from tests.docs.test_configuration import documented

KUSTOMIZATIONS = [BASE, PRODUCTION]
# The oldest that the package knows of those we support, and the newest.
VERSIONS = ("1.25", kubernetes_validate.latest_version())
SCHEMAS = {"ServiceMonitor": "servicemonitor.json", "ScaledObject": "scaledobject.json"}
SIX_KEYS = {
    "cost_threshold_per_post": "FINOPS_COST_THRESHOLD_PER_POST",
    "alert_threshold_multiplier": "FINOPS_ALERT_THRESHOLD_MULTIPLIER",
    "storage_latency_target_ms": "FINOPS_STORAGE_LATENCY_TARGET_MS",
    "anomaly_detection_enabled": "FINOPS_ANOMALY_DETECTION_ENABLED",
    "batch_size": "FINOPS_COST_EVENT_BATCH_SIZE",
    "cache_ttl_seconds": "FINOPS_CACHE_TTL_SECONDS",
}
LARGEST_APPLIED = 262_144


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
class TestEveryObject:
    @pytest.mark.parametrize("version", VERSIONS)
    def test_of_kubernetes_is_as_its_schema_says(self, folder: Path, version: str) -> None:
        for thing in built(folder):
            if thing["kind"] not in SCHEMAS:
                kubernetes_validate.validate(thing, version, strict=True)

    def test_of_an_operator_is_as_the_schema_beside_it_says(self, folder: Path) -> None:
        for kind, file in SCHEMAS.items():
            schema = json.loads((FOLDER / "schemas" / file).read_text())
            for thing in of_kind(kind, folder).values():
                jsonschema.validate(thing, schema, jsonschema.Draft202012Validator)

    def test_has_a_namespace(self, folder: Path) -> None:
        namespaces = {thing["metadata"].get("namespace") for thing in built(folder)}

        assert namespaces <= {"threads-agent", "monitoring"}

    def test_is_no_secret_and_no_namespace(self, folder: Path) -> None:
        """An upgrade must put no example in a secret's place; to delete ours must not delete what is other people's."""
        assert not of_kind("Secret", folder)
        assert not of_kind("Namespace", folder)


class TestASchemaBesideThem:
    @pytest.mark.parametrize("kind", SCHEMAS)
    def test_refuses_what_it_does_not_know(self, kind: str) -> None:
        schema = json.loads((FOLDER / "schemas" / SCHEMAS[kind]).read_text())
        thing = next(iter(of_kind(kind).values()))
        mistaken = thing | {"spec": thing["spec"] | {"selectr": {}}}

        with pytest.raises(jsonschema.ValidationError, match="selectr"):
            jsonschema.validate(mistaken, schema, jsonschema.Draft202012Validator)


class TestNames:
    """The specification's kubectl lines use them."""

    def test_of_what_is_deployed(self) -> None:
        assert of_kind("Deployment")["finops-engine"]["spec"]["template"]["spec"]["containers"][0]["name"] == (
            "finops-engine"
        )
        web = of_kind("ScaledObject")["finops-engine"]["spec"]
        assert web["advanced"]["horizontalPodAutoscalerConfig"]["name"] == "finops-engine-hpa"
        assert "finops-engine-metrics" in of_kind("ServiceMonitor")
        assert {port["port"] for port in of_kind("Service")["finops-engine"]["spec"]["ports"]} == {8080, 9090}

    def test_of_the_labels_that_pods_are_listed_by(self) -> None:
        assert chosen({"matchLabels": {"app": "finops-engine"}}) == {
            thing["metadata"]["name"] for thing in [*components().values(), *of_kind("Job").values()]
        }

    def test_of_the_six_keys_of_the_configuration(self) -> None:
        data = of_kind("ConfigMap")["finops-engine-config"]["data"]

        assert data.keys() == SIX_KEYS.keys()
        assert (data["cost_threshold_per_post"], data["alert_threshold_multiplier"]) == ("0.02", "2.0")

    def test_of_the_specified_secrets(self) -> None:
        assert example_secrets()["finops-database"] >= {"url"}
        assert example_secrets()["finops-config"] == {"redis_url", "prometheus_endpoint"}

    def test_of_the_dashboards(self) -> None:
        dashboards = of_kind("ConfigMap")["finops-dashboard"]

        assert dashboards["metadata"]["namespace"] == "monitoring"
        for content in dashboards["data"].values():
            json.loads(content)
        # Else `kubectl apply` cannot remember what it applied.
        assert len(json.dumps(dashboards)) < LARGEST_APPLIED

    def test_of_the_dashboards_leave_none_out(self) -> None:
        files = {path.name for path in (SOURCE / "deploy" / "grafana" / "dashboards").glob("*.json")}

        assert of_kind("ConfigMap")["finops-dashboard"]["data"].keys() == files


class TestProcesses:
    def test_are_those_of_make_up(self) -> None:
        assert set(components()) == set(processes.APPLICATION)

    @pytest.mark.parametrize("name", processes.APPLICATION)
    def test_have_their_role(self, name: str) -> None:
        variables = environment_of(main(components()[name]["spec"]["template"]))

        assert variables["FINOPS_ROLE"] == ROLES.get(name, name)

    @pytest.mark.parametrize("name", ["worker", "watcher", "teller", "beat", "flower"])
    def test_run_the_command_of_docker_compose(self, name: str) -> None:
        compose = yaml.safe_load((SOURCE / "docker-compose.yml").read_text())["services"]

        assert main(components()[name]["spec"]["template"])["command"] == compose[name]["command"]

    def test_run_exactly_one_beat_at_any_time(self) -> None:
        beats = [
            name
            for name, template in pods().items()
            if {"beat", "-B", "--beat"} & set(main(template).get("command", []))
        ]

        assert beats == ["finops-engine-beat"]
        assert of_kind("Deployment")["finops-engine-beat"]["spec"]["replicas"] == 1
        assert of_kind("Deployment")["finops-engine-beat"]["spec"]["strategy"] == {"type": "Recreate"}
        scaled = [thing["spec"]["scaleTargetRef"]["name"] for thing in autoscalers()]
        assert "finops-engine-beat" not in scaled

    def test_tell_the_ledger_s_figures_exactly_once(self) -> None:
        telling = {
            name
            for name, thing in components().items()
            if environment_of(main(thing["spec"]["template"]))["FINOPS_METRICS_LEDGER"] == "true"
        }

        assert telling == {"beat"}
        assert environment_of(main(components()["web"]["spec"]["template"]))["FINOPS_METRICS_LEDGER"] == "false"

    @pytest.mark.parametrize("name", ["worker", "watcher", "teller", "beat"])
    def test_begin_after_the_migrations(self, name: str) -> None:
        (waiting,) = components()[name]["spec"]["template"]["spec"]["initContainers"]

        assert "manage.py migrate --check" in waiting["command"][-1]

    def test_migrate_with_postgres_itself(self) -> None:
        variables = environment_of(main(of_kind("Job")["finops-engine-migrate"]["spec"]["template"]))

        assert variables["DATABASE_URL"] == "finops-database/url"
        # What PgBouncer would set for it: a bound on waiting for locks; and a long build of an index is not cancelled.
        assert (variables["FINOPS_PGBOUNCER"], variables["FINOPS_STATEMENT_TIMEOUT_MS"]) == ("false", "0")

    @pytest.mark.parametrize("name", processes.APPLICATION)
    def test_go_through_pgbouncer_otherwise(self, name: str) -> None:
        variables = environment_of(main(components()[name]["spec"]["template"]))

        assert variables["DATABASE_URL"] == "finops-pgbouncer/url"
        assert variables["FINOPS_PGBOUNCER"] == "true"

    def test_need_no_pgbouncer_without_the_overlay(self) -> None:
        variables = environment_of(main(components(BASE)["web"]["spec"]["template"]), BASE)

        assert variables["DATABASE_URL"] == "finops-database/url"
        assert "FINOPS_PGBOUNCER" not in variables


class TestTheEnvironment:
    def test_holds_only_variables_that_the_service_knows(self) -> None:
        given = {name for template in pods().values() for it in containers(template) for name in environment_of(it)}

        assert given <= documented().keys()

    def test_takes_each_key_of_the_configuration_into_the_variable_of_that_meaning(self) -> None:
        variables = environment_of(main(components()["web"]["spec"]["template"]))
        read = {
            value.split("/")[1]: name for name, value in variables.items() if value.startswith("finops-engine-config/")
        }

        assert read == SIX_KEYS

    def test_takes_only_secrets_and_keys_that_the_examples_have(self) -> None:
        examples = example_secrets()

        for reference in references(built(PRODUCTION), "secretKeyRef"):
            assert reference["key"] in examples[reference["name"]], reference
        for secret in references(built(PRODUCTION), "secret"):
            assert {item["key"] for item in secret["items"]} <= examples[secret["name"]], secret

    def test_uses_every_secret_of_the_examples_but_the_one_that_is_for_people(self) -> None:
        used = {(reference["name"], reference["key"]) for reference in references(built(PRODUCTION), "secretKeyRef")}
        used |= {(it["name"], item["key"]) for it in references(built(PRODUCTION), "secret") for item in it["items"]}
        exampled = {(name, key) for name, keys in example_secrets().items() for key in keys}

        assert exampled - used == {("finops-config", "prometheus_endpoint")}

    def test_takes_only_keys_of_config_maps_that_exist(self) -> None:
        maps = of_kind("ConfigMap")

        for reference in references(built(PRODUCTION), "configMapKeyRef"):
            assert reference["key"] in maps[reference["name"]]["data"], reference

    def test_knows_of_no_service_of_the_namespace(self) -> None:
        assert all(template["spec"]["enableServiceLinks"] is False for template in pods().values())


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
class TestEveryPod:
    def test_is_not_root_and_may_do_little(self, folder: Path) -> None:
        for name, template in pods(folder).items():
            assert template["spec"]["automountServiceAccountToken"] is False, name
            assert template["spec"]["securityContext"]["runAsNonRoot"] is True, name
            assert template["spec"]["securityContext"]["runAsUser"] > 0, name
            assert template["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            for container in containers(template):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, name

    def test_asks_for_resources_and_is_bounded(self, folder: Path) -> None:
        for name, template in pods(folder).items():
            for container in containers(template):
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}, name
                assert container["resources"]["limits"].keys() == {"cpu", "memory"}, name

    def test_writes_into_memory_only(self, folder: Path) -> None:
        for name, template in pods(folder).items():
            if template["metadata"]["labels"]["app"] != "finops-engine":
                continue
            (volume,) = template["spec"]["volumes"]
            assert volume["emptyDir"]["medium"] == "Memory", name
            assert [mount["mountPath"] for mount in main(template)["volumeMounts"]] == ["/tmp"], name

    def test_has_an_image_of_a_fixed_version(self, folder: Path) -> None:
        for name, template in pods(folder).items():
            for container in containers(template):
                assert re.search(r":[\w.-]+$", container["image"]), name
                assert not container["image"].endswith(":latest"), name

    def test_that_stays_is_probed(self, folder: Path) -> None:
        for name, thing in of_kind("Deployment", folder).items():
            container = main(thing["spec"]["template"])
            ports = {port["name"] for port in container["ports"]}
            for probe in ("startupProbe", "livenessProbe"):
                (way,) = [container[probe][way] for way in ("httpGet", "tcpSocket") if way in container[probe]]
                assert way["port"] in ports, name

    def test_is_picked_by_its_deployment(self, folder: Path) -> None:
        for name, thing in of_kind("Deployment", folder).items():
            assert matches(thing["spec"]["selector"], thing["spec"]["template"]["metadata"]["labels"]), name
