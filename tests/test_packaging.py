"""The install: one import name, no bare folders, a complete list of packages, a light import."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import botvisor

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOMES = {"runtime": "botvisor", "actors": "botvisor.actors", "config": "botvisor.config"}


def python(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("folder", HOMES)
def test_a_bare_folder_at_the_repository_root_is_not_a_second_copy(folder):
    result = python("-c", f"import {folder}")
    assert result.returncode == 1
    assert f"ImportError: this folder installs as '{HOMES[folder]}'" in result.stderr


@pytest.mark.parametrize("module", ["runtime", "runtime.errors", "actors.backend", "config"])
def test_a_bare_module_does_not_run_at_the_repository_root(module):
    result = python("-m", module)
    assert result.returncode == 1
    assert "this folder installs as 'botvisor" in result.stderr


@pytest.mark.parametrize("folder", HOMES)
def test_a_bare_name_is_free_elsewhere(folder, tmp_path):
    result = python("-c", f"import {folder}", cwd=tmp_path)
    assert f"ModuleNotFoundError: No module named '{folder}'" in result.stderr


def test_pyproject_lists_every_package():
    packages = {
        ".".join([home, *init.parent.relative_to(ROOT / folder).parts])
        for folder, home in HOMES.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert sorted(packages) == PROJECT["tool"]["setuptools"]["packages"]


def test_every_python_file_is_in_a_package():
    files = [file for folder in HOMES for file in (ROOT / folder).rglob("*.py")]
    assert [file for file in files if not (file.parent / "__init__.py").exists()] == []


def exports(package):
    """The names a package promises: those that its __init__ imports as themselves."""
    tree = ast.parse(Path(package.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in imports for alias in node.names if alias.asname == alias.name}


def test_public_names_are_exactly_the_exports():
    defined = {
        name
        for name, value in vars(botvisor).items()
        if not name.startswith("_") and type(value).__name__ != "module"
    }
    assert defined == exports(botvisor)
    assert "run_bot" in defined


@pytest.mark.parametrize("name", sorted(exports(botvisor)))
def test_an_export_is_documented(name):
    value = getattr(botvisor, name)
    if not isinstance(value, type) and not callable(value):
        pytest.skip("a constant is documented where it is defined")
    assert vars(value).get("__doc__") if isinstance(value, type) else value.__doc__


def test_import_is_light():
    heavy = {"redis", "hiredis", "trio", "uvloop", "argparse", "pytest", "starlette"}
    result = python("-c", "import botvisor, sys; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    assert heavy & set(result.stdout.split()) == set()


FLEET = sorted(path.stem for path in (ROOT / "runtime" / "fleet").glob("[!_]*.py"))


@pytest.mark.parametrize("name", FLEET)
def test_what_commands_share_with_the_web_page_needs_nothing_of_its_extra(name):
    program = f"import sys; sys.modules.update(starlette=None, uvicorn=None); import botvisor.fleet.{name}"
    result = python("-c", program)
    assert result.returncode == 0, result.stderr


def test_version_is_that_of_pyproject():
    assert botvisor.__version__ == PROJECT["project"]["version"]


def test_installed_version_is_looked_up_only_when_asked_for():
    result = python("-c", "import botvisor, sys; print('importlib.metadata' in sys.modules)")
    assert result.stdout.strip() == "False"
