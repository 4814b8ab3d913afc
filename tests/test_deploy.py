"""The examples in docs/deploy: valid, and right about the bot's limits, settings and paths."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from botvisor import Policy, handle, hook_runner, lifecycle, run, run_bot
from botvisor.config import load_settings
from botvisor.config.env import VARIABLES

from .processes import Scripts

FOLDER = Path(__file__).parents[1] / "docs" / "deploy"
UNIT = FOLDER / "botvisor-bot@.service"
GRACE_S = inspect.signature(run_bot).parameters["grace"].default
# What a stop takes when `main`, a hook, a thread and an actor all hang.
ENDS_WITHIN_S = (
    GRACE_S
    + handle.CANCEL_GRACE_S
    + lifecycle.STUCK_AFTER_S
    + hook_runner.LIMIT_S
    + 2 * run.THREADS_LIMIT_S
    + Policy().stop_timeout
    + lifecycle.STUCK_AFTER_S
)
PATHS = {"livenessProbe": "/livez", "readinessProbe": "/readyz", "startupProbe": "/readyz"}


def unit():
    """The unit's sections: a list of values for each name."""
    sections, current = {}, None
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"no assignment: {line!r}"
            current.setdefault(name, []).append(value)
    return sections


@pytest.fixture(scope="module")
def service():
    return unit()["Service"]


@pytest.fixture(scope="module")
def deployment():
    (document,) = yaml.safe_load_all((FOLDER / "deployment.yaml").read_text())
    return document


@pytest.fixture
def pod(deployment):
    return deployment["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    (container,) = pod["containers"]
    return container


@pytest.fixture
def variables(container):
    """The container's variables, as the kubelet gives them to a pod named bots-1."""
    fields = {"metadata.name": "bots-1"}
    return {
        each["name"]: each["value"] if "value" in each else fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in container["env"]
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    # What it starts must exist.
    text = UNIT.read_text().replace("/opt/bots/.venv/bin/python", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


def test_the_unit_is_told_by_the_bot_itself(service):
    assert (service["Type"], service["NotifyAccess"]) == (["notify"], ["main"])
    assert float(service["WatchdogSec"][0]) > load_settings({}).blocked_after_s
    assert "Restart" in service


def test_the_unit_gives_a_bot_the_time_it_takes_to_end(service):
    assert ENDS_WITHIN_S <= float(service["TimeoutStopSec"][0]) <= 2 * ENDS_WITHIN_S
    assert service["KillMode"] == ["mixed"]
    assert service["SuccessExitStatus"] == ["143"]


def test_the_units_variables_are_settings(service):
    variables = dict(each.split("=", 1) for each in service["Environment"])
    assert variables.keys() <= VARIABLES.keys()
    assert load_settings(variables | {"BOT_ID": "ada"}).bot_id == "ada"
    assert variables["BOT_ID"] == "%i"
    directories = [value for name, value in variables.items() if name.endswith("_DIR")]
    assert len(directories) == 3
    assert all(path.startswith(f"/var/lib/{service['StateDirectory'][0]}/") for path in directories)


def test_the_units_sections_are_systemds():
    assert set(unit()) == {"Unit", "Service", "Install"}


def test_the_deployment_selects_its_own_pods(deployment):
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_pod_gives_a_bot_the_time_it_takes_to_end(pod):
    assert ENDS_WITHIN_S <= pod["terminationGracePeriodSeconds"] <= 2 * ENDS_WITHIN_S


def test_a_pods_name_is_its_bots_id(variables):
    settings = load_settings(variables)
    assert (settings.bot_id, settings.use_redis) == ("bots-1", True)


def test_a_bot_is_not_root_and_its_root_is_read_only(pod, container):
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_bot_writes_where_it_can(pod, container, variables):
    writable = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    mounts = [Path(each["mountPath"]) for each in container["volumeMounts"] if each["name"] in writable]
    directories = [Path(value) for name, value in variables.items() if name.endswith("_DIR")]
    assert len(directories) == 3
    # Not the volume itself: others may write there, so it would be refused.
    assert all(any(mount in path.parents for mount in mounts) for path in directories)
    names = {volume["name"] for volume in pod["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} <= names


def test_the_probes_ask_where_the_bot_answers(deployment, container, variables):
    settings = load_settings(variables)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings.probe_host == "0.0.0.0"
    assert {name: container[name]["httpGet"]["path"] for name in PATHS} == PATHS
    assert {ports[container[name]["httpGet"]["port"]] for name in PATHS} == {settings.probe_port}
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == settings.probe_port
    assert annotations["prometheus.io/path"] == "/metrics"


def test_liveness_bears_a_loop_that_is_only_slow(container):
    probe = container["livenessProbe"]
    assert probe["periodSeconds"] * (probe["failureThreshold"] - 1) > 4 * load_settings({}).blocked_after_s


def test_a_bot_runs_with_the_deployments_variables(tmp_path, variables):
    """Redis being away at the start; only paths and ports are this test's."""
    places = {
        name: value.replace("/var/lib/botvisor", str(tmp_path / "state"))
        for name, value in variables.items()
        if name.endswith("_DIR")
    }
    (tmp_path / "state").mkdir(mode=0o777)
    (tmp_path / "password").write_text("secret\n")
    here = {
        "REDIS_URL": f"unix://{tmp_path}/no.sock",
        "REDIS_PASSWORD_FILE": str(tmp_path / "password"),
        "BOT_PROBE_PORT": "0",
        "BOT_LOG_LEVEL": "INFO",
    }
    with Scripts(tmp_path) as scripts:
        bot = scripts.bot("return bot.id", **(variables | places | here))
        assert bot.ends() == 0
    assert bot.out == ["returned 'bots-1'"]
    assert "Probes are answered on 0.0.0.0" in bot.stderr
