"""Errors of the operating system, as errors of the store."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from botvisor.errors import StoreUnavailable


@contextlib.contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Turn an error of the operating system into `StoreUnavailable` with the path and the reason."""
    try:
        yield
    except OSError as error:
        raise unavailable(error, path) from error


def unavailable(error: OSError, path: str | None = None) -> StoreUnavailable:
    """Return an error of the operating system as `StoreUnavailable`.

    Args:
        error: the error.
        path: what it kept from being done; by default the file that the error names.
    """
    where = path or error.filename
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    reason = f"{error.strerror or error} ({name})"
    return StoreUnavailable(f"{where}: {reason}" if where else reason)
