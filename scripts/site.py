"""What mkdocs.yml cannot say: pages from elsewhere in the repository, and those made from the code."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from botvisor.cli import program
from botvisor.config import Settings
from botvisor.config.env import VARIABLES

ROOT = Path(__file__).resolve().parent.parent
# Pages that people look for at the top of a repository.
FROM_ABOVE = ("GUARANTEES.md", "SECURITY.md", "CHANGELOG.md")
# What pages lead to that is no page.
_FILE_LINK = re.compile(r"\[([^\]]+)\]\((?:\.\./)*(?:README\.md|tests|scripts|runtime|actors|config)[^)]*\)")

_SETTINGS = """---
hide: [toc]
---
# Settings

Each is a variable of the environment, or a field of `botvisor.Settings` for programs. Durations are in
seconds; a switch takes `1 true yes on` or `0 false no off`. If values are wrong, a program does not start,
and a sentence for each says what was expected.

| variable, field | default | meaning |
|---|---|---|"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in docs."""
    for name in FROM_ABOVE:
        if (ROOT / name).exists():
            files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    for name, text in (("settings", _settings()), ("commands", _commands())):
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to pages of the site; what is no page of it is named, and leads nowhere."""
    up = "../" * page.file.src_uri.count("/")
    for name in FROM_ABOVE:
        markdown = re.sub(rf"\]\((?:\.\./)+{re.escape(name)}", f"]({up}{name}", markdown)
    markdown = re.sub(r"\]\(docs/", "](", markdown)
    return _FILE_LINK.sub(r"\1", markdown)


def _settings() -> str:
    told = _arguments(Settings.__doc__ or "")
    rows = [
        f"| `{name}`<br>`{each.field}` | {f'`{each.default}`' if each.default else ''} | {told[each.field]} |"
        for name, each in VARIABLES.items()
    ]
    return "\n".join([_SETTINGS, *rows, ""])


def _arguments(docstring: str) -> dict[str, str]:
    """Return what a docstring's Args section says of each."""
    section = docstring.partition("Args:\n")[2].partition("\n\n    Raises:")[0]
    found = re.findall(r"^ {8}(\w+): ((?:.|\n {9,})+)", section, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text).strip() for name, text in found}


def _commands() -> str:
    parser = program.parser()
    parts = ["# The command line", "", "```text", _help(parser), "```", ""]
    for name, command in _subcommands(parser):
        parts += [f"## botvisor {name}", "", "```text", _help(command), "```", ""]
    return "\n".join(parts)


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _help(parser: argparse.ArgumentParser) -> str:
    os.environ["COLUMNS"] = "100"
    with contextlib.redirect_stdout(io.StringIO()) as said:
        parser.print_help()
    return said.getvalue().rstrip()
