"""Rooms: two URLs that mean one room have one canonical form."""

from __future__ import annotations

import hashlib
import re

HASH_CHARS = 12

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_QUERY = re.compile(r"[?#]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEFAULT_PORT = {"http": "80", "https": "443"}


def canonical_room(url: str, *, lower_path: bool = False) -> str:
    """Return the one form that stands for a room, however its URL was written.

    White space around it, the query, the fragment, the scheme's own port and slashes at the end go;
    scheme and host are lower-cased. Everything else stays as it is, a user part included. No text is
    refused: what is not a URL is taken for a host and a path. The rules are `docs/wire.md`'s.

    Args:
        url: the room's URL, from anybody.
        lower_path: lower-case the path too (`Settings.canonicalize_lower_path`).

    Returns:
        ``scheme://host/path``, always encodable as UTF-8.
    """
    text = _SURROGATE.sub("\ufffd", url).strip()
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else "http"
    rest = text[found.end() :] if found else text.removeprefix("//")
    authority, _, path = _QUERY.split(rest, maxsplit=1)[0].partition("/")
    user, at, host = authority.rpartition("@")
    path = f"/{path}".rstrip("/") or "/"
    return f"{scheme}://{user}{at}{_host(scheme, host.lower())}{path.lower() if lower_path else path}"


def room_hash(canonical: str) -> str:
    """Return the short name of a canonical room in file names: 12 hex digits of its SHA-256."""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARS]


def _host(scheme: str, host: str) -> str:
    name, _, port = host.rpartition(":")
    # A second colon outside brackets is no port number but garbage, which stays as it is.
    is_port = ":" not in name or name.endswith("]")
    return name if is_port and port == _DEFAULT_PORT.get(scheme) else host
