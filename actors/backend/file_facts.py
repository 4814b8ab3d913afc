"""The directories of a host: where they are, whose, and what keeps them from being used."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from botvisor.config import Settings
from botvisor.errors import StoreError, UnsafeDirectory
from botvisor.mending import Facts

from .directory import Directory


def file_facts(settings: Settings) -> Facts:
    """Return the facts of a store on files; see `ReadFacts`. Nothing is made or changed.

    Args:
        settings: where the directories are.

    Returns:
        ``kind``: ``file``; ``directories``: for each one ``variable``, ``path``, ``exists``, ``mode`` (as
        ``0700``), ``uid``, ``problem`` and ``remedy`` (empty when it can be used), ``free_mb``.
    """
    places = {
        "BOT_ADMIN_MESSAGE_DIR": settings.admin_message_dir,
        "BOT_HEARTBEAT_DIR": settings.heartbeat_dir,
        "BOT_IDENTITY_DIR": settings.identity_dir,
    }
    return {"kind": "file", "directories": [_directory(name, path) for name, path in places.items()]}


def _directory(variable: str, path: Path) -> dict[str, Any]:
    problem = remedy = ""
    exists = True
    try:
        exists = Directory(path).exists()
    except UnsafeDirectory as error:
        problem, remedy = error.problem, error.remedy
    except StoreError as error:
        problem, remedy = str(error), "set another path, or mend this one"
    facts = {"variable": variable, "path": str(path), "exists": exists, "mode": None, "uid": None}
    try:
        found = path.lstat()
        facts |= {"mode": f"{stat.S_IMODE(found.st_mode):04o}", "uid": found.st_uid}
    except OSError:
        pass  # it is missing, or the problem says so
    if not problem and not os.access(_nearest(path), os.W_OK | os.X_OK):
        problem, remedy = "cannot be written", "set another path, or give this user the right to write"
    if not problem and _has_no_inode(_nearest(path)):
        problem, remedy = "cannot hold another file: no inode is left", "delete files on its filesystem"
    return facts | {"problem": problem, "remedy": remedy, "free_mb": _free_mb(_nearest(path))}


def _nearest(path: Path) -> Path:
    """Return the directory itself, or the nearest one above it that is there."""
    return next((each for each in (path, *path.parents) if each.is_dir()), Path("/"))


def _has_no_inode(path: Path) -> bool:
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_files > 0 and found.f_favail == 0  # some filesystems have no such limit


def _free_mb(path: Path) -> float | None:
    try:
        found = os.statvfs(path)
    except OSError:
        return None
    return round(found.f_bavail * found.f_frsize / 1_048_576, 1)
