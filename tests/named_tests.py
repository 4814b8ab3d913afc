"""Tests by their names, ``file.py::test_name`` in this folder, as tables of what is tested hold them."""

import ast
import functools

from .processes import ROOT

TESTS = ROOT / "tests"


@functools.cache
def names_in(file):
    """The names of a file's tests, without importing it."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse((TESTS / file).read_text()).body
    return {node.name for node in body if isinstance(node, functions) and node.name.startswith("test_")}


def assert_is_there(about, name):
    """Fail, telling what it is about, unless a test of that name exists."""
    file, _, function = name.partition("::")
    assert (TESTS / file).is_file(), f"{about}: {name}"
    assert function in names_in(file), f"{about}: {name}"
