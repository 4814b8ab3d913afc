"""The code blocks of the README."""

import re

from .processes import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks():
    """Every block as (language, code), in the order of the README."""
    return [(found[1], found[2]) for found in _BLOCK.finditer((ROOT / "README.md").read_text())]


def is_script(block):
    """Whether a block runs a bot by itself, rather than defining functions to be awaited."""
    language, code = block
    return language == "python" and "run_bot(main" in code
