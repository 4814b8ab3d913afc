"""Files of variables, as `.env` files are, for programs that are started by hand."""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping
from pathlib import Path

from botvisor.errors import SettingsError

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}


def read_env_file(path: Path) -> dict[str, str]:
    r"""Read a file of lines such as ``NAME=value``.

    A value may stand in quotes: single ones keep everything as it is, in double ones ``\n``, ``\"`` and
    ``\\`` mean what they do in Python. Nothing is expanded. Lines may begin with ``export``; empty lines and
    what follows a ``#`` are comments.

    Args:
        path: the file.

    Returns:
        The variables.

    Raises:
        SettingsError: it cannot be read, or holds lines that are none of this; their content is not shown.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"the file {path} cannot be read: {_reason(error)}"]) from error
    found: dict[str, str] = {}
    bad = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        parts = _LINE.fullmatch(text)
        value = _value(parts[2]) if parts else None
        if parts is None or value is None:
            bad.append(f"line {number} of {path} must be NAME=value")
        else:
            found[parts[1]] = value
    if bad:
        raise SettingsError(bad)
    return found


def add_env_file(path: Path, environ: MutableMapping[str, str] | None = None) -> None:
    """Add a file's variables to the environment; what is there already, even if empty, stays as it is.

    Args:
        path: the file; see `read_env_file`.
        environ: the variables; the process's own when None.

    Raises:
        SettingsError: see `read_env_file`.
    """
    target = os.environ if environ is None else environ
    for name, value in read_env_file(path).items():
        target.setdefault(name, value)


def _value(text: str) -> str | None:
    """Return what a value means; None when its quotes are wrong, or no environment can hold it."""
    if "\0" in text:
        return None
    quote = text[:1]
    if quote not in ("'", '"'):
        return re.split(r"\s#|^#", text, maxsplit=1)[0].strip()
    pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    quoted = re.fullmatch(pattern + r"\s*(?:#.*)?", text)
    if quoted is None:
        return None
    if quote == "'":
        return quoted[1]
    return re.sub(r'\\[n"\\]', lambda found: _ESCAPES[found[0]], quoted[1])


def _reason(error: OSError | UnicodeDecodeError) -> str:
    """Return what is wrong, without the number and the path: the path stands beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
