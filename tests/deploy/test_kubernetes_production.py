"""The production overlay is as specified: how many there are, who may reach them, who scrapes them, and PgBouncer."""

import re
import subprocess
from urllib.parse import urlsplit

import yaml

from finops_project.local.home import SOURCE
from tests.deploy.manifests import (
    BASE,
    FOLDER,
    PRODUCTION,
    autoscalers,
    chosen,
    components,
    connections,
    environment_of,
    main,
    matches,
    of_kind,
    pods,
    port_of,
)

EXAMPLES = FOLDER / "secrets.example.yaml"
SCRAPED = ["web", "worker", "watcher", "teller", "beat"]
POSTGRES_CONNECTIONS = 100


class TestWeb:
    def test_lives_and_is_ready_as_the_health_pages_say(self) -> None:
        container = main(components()["web"]["spec"]["template"])

        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert container["readinessProbe"]["httpGet"]["path"] == "/ready"

    def test_is_asked_under_a_name_that_it_answers_to(self) -> None:
        container = main(components()["web"]["spec"]["template"])
        names = environment_of(container)["DJANGO_ALLOWED_HOSTS"].split(",")

        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["httpHeaders"] == [{"name": "Host", "value": "localhost"}]
        assert "localhost" in names
        assert "finops-engine" in names

    def test_answers_producers_of_the_cluster_without_tls(self) -> None:
        assert environment_of(main(components()["web"]["spec"]["template"]))["FINOPS_SSL_REDIRECT"] == "false"

    def test_has_the_specified_size(self) -> None:
        spec = components()["web"]["spec"]

        assert spec["replicas"] == 5
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 1}
        assert main(spec["template"])["resources"] == {
            "requests": {"cpu": "500m", "memory": "512Mi"},
            "limits": {"cpu": "2000m", "memory": "1Gi"},
        }

    def test_keeps_three_pods_while_nodes_are_drained(self) -> None:
        budget = of_kind("PodDisruptionBudget")["finops-engine"]["spec"]

        assert budget["minAvailable"] == 3
        assert chosen(budget["selector"]) == {"finops-engine"}

    def test_grows_to_ten_with_cpu_and_cost_events(self) -> None:
        spec = of_kind("ScaledObject")["finops-engine"]["spec"]

        assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (5, 10)
        cpu, events = spec["triggers"]
        assert (cpu["type"], cpu["metricType"], cpu["metadata"]) == ("cpu", "Utilization", {"value": "70"})
        assert (events["type"], events["metricType"]) == ("prometheus", "AverageValue")
        assert "finops_cost_events_total" in events["metadata"]["query"]

    def test_grows_by_one_server_of_external_metrics(self) -> None:
        """A cluster has one APIService v1beta1.external.metrics.k8s.io, and it is KEDA's."""
        assert not of_kind("HorizontalPodAutoscaler")


class TestWhatRefersToPods:
    def test_disrupts_fewer_than_there_are(self) -> None:
        for budget in of_kind("PodDisruptionBudget").values():
            (name,) = chosen(budget["spec"]["selector"])
            assert budget["spec"]["minAvailable"] < of_kind("Deployment")[name]["spec"]["replicas"], name

    def test_scales_deployments_that_exist(self) -> None:
        for scaler in autoscalers():
            target = of_kind("Deployment")[scaler["spec"]["scaleTargetRef"]["name"]]["spec"]
            assert target["replicas"] == scaler["spec"]["minReplicaCount"]

    def test_serves_ports_that_the_pods_have(self) -> None:
        for service in of_kind("Service").values():
            found = chosen({"matchLabels": service["spec"]["selector"]})
            assert found, service["metadata"]["name"]
            for name in found:
                for port in service["spec"]["ports"]:
                    assert port_of(pods()[name], port["targetPort"]) == port["port"], name

    def test_guards_pods_that_exist(self) -> None:
        for policy in of_kind("NetworkPolicy").values():
            assert chosen(policy["spec"]["podSelector"]), policy["metadata"]["name"]

    def test_spreads_pods_of_its_own(self) -> None:
        for name, template in pods().items():
            for spread in template["spec"].get("topologySpreadConstraints", []):
                assert chosen(spread["labelSelector"]) == {name}

    def test_lets_workers_finish_their_task(self) -> None:
        for name in ("worker", "watcher", "teller"):
            assert components()[name]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


class TestScraping:
    def test_reaches_every_component_but_flower(self) -> None:
        monitor = of_kind("ServiceMonitor")["finops-engine-metrics"]["spec"]
        found = set()
        for service in of_kind("Service").values():
            if matches(monitor["selector"], service["metadata"]["labels"]):
                for name in chosen({"matchLabels": service["spec"]["selector"]}):
                    assert port_of(pods()[name], "metrics") == 9090
                    found.add(pods()[name]["metadata"]["labels"]["component"])

        assert sorted(found) == sorted(SCRAPED)

    def test_is_as_specified(self) -> None:
        (monitor,) = of_kind("ServiceMonitor").values()
        (endpoint,) = monitor["spec"]["endpoints"]

        assert monitor["spec"]["selector"] == {"matchLabels": {"app": "finops-engine"}}
        assert (endpoint["port"], endpoint["interval"], endpoint["path"]) == ("metrics", "15s", "/metrics")

    def test_gives_every_target_one_job_and_its_component(self) -> None:
        spec = of_kind("ServiceMonitor")["finops-engine-metrics"]["spec"]
        jobs = {
            service["metadata"]["labels"][spec["jobLabel"]]
            for service in of_kind("Service").values()
            if matches(spec["selector"], service["metadata"]["labels"])
        }

        assert jobs == {"finops-engine"}
        assert spec["endpoints"][0]["honorLabels"] is True
        assert spec["endpoints"][0]["relabelings"][0]["targetLabel"] == "component"

    def test_is_allowed_from_monitoring_only(self) -> None:
        opening = [
            (policy["metadata"]["name"], rule)
            for policy in of_kind("NetworkPolicy").values()
            for rule in policy["spec"].get("ingress", [])
            if {9090, "metrics"} & {port.get("port") for port in rule.get("ports", [{}])} or "ports" not in rule
        ]

        ((name, rule),) = opening
        assert name == "finops-engine-metrics"
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]

    def test_listens_where_the_service_looks(self) -> None:
        for name in SCRAPED:
            variables = environment_of(main(components()[name]["spec"]["template"]))
            assert (variables["FINOPS_METRICS_HOST"], variables["FINOPS_METRICS_PORT"]) == ("0.0.0.0", "9090")  # noqa: S104
            assert variables["PROMETHEUS_MULTIPROC_DIR"].startswith("/tmp/")


class TestTheNetwork:
    def test_is_closed_at_first(self) -> None:
        closed = of_kind("NetworkPolicy")["finops-engine-closed"]["spec"]

        assert chosen(closed["podSelector"]) >= {"finops-engine", "finops-engine-worker", "finops-engine-beat"}
        assert sorted(closed["policyTypes"]) == ["Egress", "Ingress"]
        assert "ingress" not in closed
        assert "egress" not in closed

    def test_lets_alerts_out_but_not_to_the_keys_of_the_cloud(self) -> None:
        (rule,) = of_kind("NetworkPolicy")["finops-engine-alerts"]["spec"]["egress"]

        assert all(peer["ipBlock"]["except"] for peer in rule["to"])
        assert {port["port"] for port in rule["ports"]} >= {443}


class TestPgBouncer:
    def test_pools_by_transaction_for_as_many_clients_as_specified(self) -> None:
        text = (PRODUCTION / "pgbouncer.ini").read_text()
        settings = dict(re.findall(r"^(\w+) = (.+)$", text, re.MULTILINE))

        assert settings["pool_mode"] == "transaction"
        assert settings["max_client_conn"] == "200"

    def test_asks_the_server_that_the_migrations_ask(self) -> None:
        (host,) = re.findall(r"host=(\S+ port=\d+)", (PRODUCTION / "pgbouncer.ini").read_text())
        secrets = {it["metadata"]["name"]: it["stringData"] for it in yaml.safe_load_all(EXAMPLES.read_text())}
        server = urlsplit(secrets["finops-database"]["url"])

        assert host == f"{server.hostname} port={server.port}"

    def test_opens_no_more_connections_than_the_service_may_have(self) -> None:
        (size,) = re.findall(r"^default_pool_size = (\d+)$", (PRODUCTION / "pgbouncer.ini").read_text(), re.MULTILINE)

        assert int(size) * of_kind("Deployment")["pgbouncer"]["spec"]["replicas"] <= 20

    def test_admits_all_pods_that_there_may_be(self) -> None:
        """While ten web pods are replaced with two more beside them, and workers have their most."""
        bouncers = of_kind("Deployment")["pgbouncer"]["spec"]["replicas"]
        (most,) = re.findall(r"^max_client_conn = (\d+)$", (PRODUCTION / "pgbouncer.ini").read_text(), re.MULTILINE)
        web = of_kind("ScaledObject")["finops-engine"]["spec"]["maxReplicaCount"]
        web += components()["web"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        workers = of_kind("ScaledObject")["finops-engine-worker"]["spec"]["maxReplicaCount"]

        assert connections(PRODUCTION, web=web, worker=workers) <= int(most) * bouncers

    def test_is_not_needed_by_the_few_pods_of_the_base(self) -> None:
        assert connections(BASE) < POSTGRES_CONNECTIONS

    def test_finds_its_files_where_they_are_mounted(self) -> None:
        template = pods()["pgbouncer"]
        (volume,) = template["spec"]["volumes"]
        (mount,) = main(template)["volumeMounts"]
        text = (PRODUCTION / "pgbouncer.ini").read_text()

        config_map, secret = (source for source in volume["projected"]["sources"])
        assert main(template)["command"] == ["pgbouncer", f"{mount['mountPath']}/pgbouncer.ini"]
        assert list(of_kind("ConfigMap")[config_map["configMap"]["name"]]["data"]) == ["pgbouncer.ini"]
        assert f"auth_file = {mount['mountPath']}/{secret['secret']['items'][0]['path']}\n" in text


class TestWorkersGrowWithTheInbox:
    def test_by_the_age_of_the_oldest_row(self) -> None:
        spec = of_kind("ScaledObject")["finops-engine-worker"]["spec"]

        assert spec["scaleTargetRef"]["name"] == "finops-engine-worker"
        assert [trigger["type"] for trigger in spec["triggers"]] == ["prometheus"]
        assert "finops_inbox_oldest_seconds" in spec["triggers"][0]["metadata"]["query"]
        # The wait of the one oldest row is not divided by the number of workers.
        assert spec["triggers"][0]["metricType"] == "Value"


class TestTheRulesOfPrometheus:
    def test_become_objects_of_the_operator_as_the_documents_say(self) -> None:
        page = (SOURCE / "docs" / "deployment.md").read_text()
        (loop,) = re.findall(r"^for rules in.*?^  done$", page, re.MULTILINE | re.DOTALL)
        stand_in = "kubectl() { cat; echo ---; }\n"

        printed = subprocess.run(
            ["bash", "-euc", stand_in + loop], cwd=SOURCE, capture_output=True, text=True, check=True
        )

        objects = [thing for thing in yaml.safe_load_all(printed.stdout) if thing]
        files = {
            path.stem: yaml.safe_load(path.read_text()) for path in (SOURCE / "deploy/prometheus/rules").glob("*.yml")
        }
        assert {thing["metadata"]["name"]: thing["spec"] for thing in objects} == {
            f"finops-{name}": content for name, content in files.items()
        }
        assert {thing["kind"] for thing in objects} == {"PrometheusRule"}
