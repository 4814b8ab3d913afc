"""The pages of the documentation: their code runs, and their commands are understood."""

import contextlib
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import tomllib

import pytest
import yaml

import botvisor
from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.cli.program import parser
from botvisor.config import load_settings
from botvisor.config.env import VARIABLES

from .processes import LIMIT_S, ROOT, Program, environment
from .readme import blocks, links, variables

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
COMMANDS = [
    (page, shlex.split(line.removeprefix("$ "), comments=True)[1:])
    for page in PAGES
    for language, code in blocks(page)
    if language == "console"
    for line in code.splitlines()
    if line.startswith("$ botvisor ")
]


def is_public(name, value):
    return not name.startswith("_") and type(value).__name__ != "module"


TESTS = [
    code
    for language, code in blocks("docs/how-to/test.md")
    if language == "python" and "async def test_" in code
]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=str)
def test_a_command_of_a_page_is_one_that_botvisor_knows(page, words):
    parser().parse_args(words)  # what it cannot read ends the process


def test_the_tests_on_how_to_test_a_bot_pass(tmp_path):
    for number, code in enumerate(TESTS):
        (tmp_path / f"test_{number}.py").write_text(code)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nanyio_mode = "auto"\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=os.environ | environment(tmp_path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(TESTS) == 3


def test_the_actor_on_the_how_to_page_does_what_the_page_says(tmp_path):
    text = (ROOT / "docs/how-to/actors.md").read_text()
    ((_, code),) = blocks("docs/how-to/actors.md")
    with contextlib.closing(Program(code, tmp_path)) as bot:
        assert bot.ends() == 0
    assert bot.out[-1] == text.partition("It prints `")[2].partition("`")[0]


@pytest.mark.parametrize(
    "name", sorted(name for name, value in vars(botvisor).items() if is_public(name, value))
)
def test_the_reference_has_every_name_that_botvisor_exports(name):
    page = (ROOT / "docs/reference/api.md").read_text()
    home = (
        "botvisor.errors" if getattr(botvisor, name).__module__ == "botvisor.errors" else f"botvisor.{name}"
    )
    assert re.search(rf"^::: {re.escape(home)}$", page, re.MULTILINE)
    assert f"[{name}][{home if home.endswith(name) else f'{home}.{name}'}]" in page


GUIDE_MODULES = [code for language, code in blocks("docs/how-to/guide-modules.md") if language == "python"]


def test_a_program_of_the_guides_modules_runs_as_its_how_to_page_has_it(tmp_path):
    with contextlib.closing(Program(GUIDE_MODULES[0], tmp_path)) as program:
        assert program.ends() == 0
    assert (program.out, program.stderr) == (["on files"], "")


def test_the_bot_that_comes_from_the_guides_modules_runs_as_its_how_to_page_has_it(tmp_path):
    with contextlib.closing(Program(GUIDE_MODULES[1], tmp_path, BOT_ID="ada")) as bot:
        bot.says("Started ada/main")
        send = [sys.executable, "-m", "botvisor", "send", "ada", "wrap up"]
        subprocess.run(send, check=True, timeout=LIMIT_S, capture_output=True, env=environment(tmp_path))
        assert bot.ends() == 0
    assert bot.out == ["done"]


TLS = [code for language, code in blocks("docs/how-to/tls.md") if language == "sh"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl here")
def test_the_certificates_of_the_how_to_page_are_good_for_the_servers_name_and_no_other(tmp_path):
    subprocess.run(TLS[0], shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=LIMIT_S)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "redis.crt", tmp_path / "redis.key")

    def shake_hands(name):
        client = ssl.create_default_context(cafile=tmp_path / "ca.crt")
        client.verify_flags |= ssl.VERIFY_X509_STRICT  # as Python 3.13 has it
        one_way, other_way = ssl.MemoryBIO(), ssl.MemoryBIO()
        ends = [
            client.wrap_bio(one_way, other_way, server_hostname=name),
            server.wrap_bio(other_way, one_way, server_side=True),
        ]
        for end in ends * 2:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
        return ends[0].getpeercert()["subjectAltName"]

    assert shake_hands("redis.internal") == (("DNS", "redis.internal"),)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands("redis.elsewhere")


def test_the_variables_of_the_tls_page_are_good_ones(tmp_path):
    given = variables(TLS[1])
    assert given.keys() <= VARIABLES.keys()
    (tmp_path / "password").write_text("secret\n")
    endpoint = endpoint_of(load_settings(given | {"REDIS_PASSWORD_FILE": str(tmp_path / "password")}))
    assert (endpoint.host, endpoint.port, endpoint.tls is not None) == ("redis.internal", 6380, True)


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith(("docs/how-to", "docs/expl"))])
def test_a_link_of_a_page_leads_to_a_file(page):
    targets = [target for target in links(page) if "://" not in target]
    # Two pages are made when the site is built.
    made = ("reference/commands.md", "reference/settings.md")
    missing = [each for each in targets if not (ROOT / page).parent.joinpath(each).is_file()]
    assert [each for each in missing if not each.endswith(made)] == []


FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize(
    "path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem
)
def test_an_issue_form_is_one_that_github_takes(path):
    form = yaml.safe_load(path.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    fields = [each for each in form["body"] if each["type"] != "markdown"]
    assert {each["type"] for each in fields} <= {"textarea", "input"}
    assert all(each["attributes"]["label"] for each in fields)
    assert len({each["id"] for each in fields}) == len(fields)
    assert any(each.get("validations", {}).get("required") for each in fields)


def test_the_page_on_versions_has_the_pythons_and_the_floors_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs/reference/versions.md").read_text()
    seen = re.findall(r"^\| ([\d., ]+) \| all tests", page, re.MULTILINE)
    classified = [each.rpartition(" :: ")[2] for each in project["classifiers"] if "Python :: 3." in each]
    assert ", ".join(seen).split(", ") == classified
    extras = [each for needs in project["optional-dependencies"].values() for each in needs]
    floors = [
        re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", each).groups()
        for each in project["dependencies"] + extras
    ]
    assert re.findall(r"^\| `([\w-]+)`[^|]*\| ([\d.]+) \|", page, re.MULTILINE) == floors
