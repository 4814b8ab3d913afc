"""HTML that is escaped because of how it is made: no text gets into a page but through here."""

from __future__ import annotations

import html

_VOID = frozenset({"input", "link", "meta"})


class Html(str):
    """A text that is HTML already. Only this module and constants make one."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element.

    Args:
        name: the element's name.
        children: what is in it; all but `Html` is escaped, None is left out.
        attributes: its attributes: an underscore stands for a hyphen, one at the end for nothing; True is one
            without a value, None and False are left out.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """Return some children after one another; see `tag`."""
    return Html("".join(_escaped(child) for child in children if child is not None))


def _attribute(key: str, value: object) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'


def _escaped(value: object) -> str:
    return str(value) if isinstance(value, Html) else html.escape(str(value))
