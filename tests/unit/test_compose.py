"""What docker-compose.yml says that `docker-compose config` does not check."""

import json
import re
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from robot_client.robots import ROBOTS
from tests.unit.house import in_house

ROOT = Path(__file__).parents[2]
FILE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = FILE["services"]


def volumes(service):
    return {volume.split(":")[0] for volume in SERVICES[service].get("volumes", [])}


def test_every_service_is_confined():
    for name, service in SERVICES.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_nothing_is_published_but_on_loopback():
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert re.match(r"(\$\{DREAMFLEET_PUBLISH:-)?127\.0\.0\.1", port), (name, port)


def test_no_robot_sees_a_secret_of_the_server_or_of_another_service():
    robots = [name for name in SERVICES if name.startswith("robot-")]
    homes = [volumes(name) - {"enrol", "server-key"} for name in robots]
    assert len(robots) == len(set.union(*homes)) == sum(map(len, homes))
    assert not set.union(*homes) & (volumes("server") | {"scrape"})
    (rule,) = re.findall(r"--only '(.*?)'", SERVICES["enrol"]["command"])
    for name in robots:
        assert "server-key:/server-key:ro" in SERVICES[name]["volumes"]
        assert SERVICES[name]["command"] in ROBOTS
        assert re.fullmatch(rule, f"{SERVICES[name]['command']}-12")
    assert not re.fullmatch(rule, "server")


def test_version_1_of_compose_can_read_it():
    assert "name" not in FILE
    assert "version" not in FILE


def test_the_dashboard_asks_for_what_the_server_tells(tmp_path):
    async def act(house):
        made = await house.create()
        await house.ask("POST", f"/experiments/{made}/start")
        house.join()
        await house.until(made, lambda v: v["policy_version"] is not None)
        return (await house.http.get("http://test/metrics")).text

    families = text_string_to_metric_families(in_house(tmp_path, act))
    told = {sample.name for family in families for sample in family.samples}
    board = json.loads((ROOT / "docker/grafana/dashboards/fleet.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"dreamfleet_\w+", target["expr"])
    }
    assert asked
    assert asked <= told
