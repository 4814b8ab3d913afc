"""The code blocks of the README and of other pages."""

import re

from .processes import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page="README.md"):
    """Every block as (language, code), in the order of a page."""
    return [(found[1], found[2]) for found in _BLOCK.finditer((ROOT / page).read_text())]


def links(page="README.md"):
    """The files that a page leads to, as they are written there."""
    return re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text())


def variables(code):
    """What a block for the shell sets."""
    lines = [line.removeprefix("export ").partition("=") for line in code.splitlines()]
    return {name: value for name, _, value in lines}


def is_script(block):
    """Whether a block runs a bot by itself, rather than defining functions to be awaited."""
    language, code = block
    return language == "python" and "run_bot(main" in code
