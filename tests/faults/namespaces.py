"""Programs in namespaces of their own, where this machine lets us have them; without, a test is skipped."""

import functools
import os
import subprocess

import pytest


@functools.cache
def _command(*kinds):
    """Return the command that begins a program in new namespaces, or why there is none."""
    command = ["unshare", *kinds]
    if os.geteuid() != 0:
        command[1:1] = ["--user", "--map-root-user"]
    try:
        done = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=10)
    except OSError as error:
        return f"there is no unshare(1) here: {error}"
    return f"this machine gives us no namespace: {done.stderr.strip()}" if done.returncode else command


def _need(*kinds):
    command = _command(*kinds)
    return pytest.skip(command) if isinstance(command, str) else command


def with_own_pids():
    """Return the command that begins a program as the first process of a new pid namespace."""
    return _need("--pid", "--fork", "--mount-proc", "--kill-child")


def as_second_process_of(host):
    """Return the command that begins a program as if on a machine of its own, of that name."""
    command = _need("--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
    return [*command, "sh", "-c", f'hostname {host}; "$0" "$@"; exit $?']


def with_own_mounts():
    """Return the command that begins a program whose mounts nobody else sees."""
    return _need("--mount")
