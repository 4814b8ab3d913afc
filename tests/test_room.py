"""Canonical rooms: which URLs are one room, and that no text is refused."""

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from botvisor.room import canonical_room, room_hash


def test_scheme_and_host_are_lower_cased_and_the_path_is_not():
    assert canonical_room("HTTPS://Example.Daily.CO/Room") == "https://example.daily.co/Room"


def test_the_path_is_lower_cased_on_request():
    assert canonical_room("https://h/Room/A", lower_path=True) == "https://h/room/a"


def test_white_space_around_it_goes():
    assert canonical_room(" \n https://h/r \t") == "https://h/r"


def test_http_is_the_default_scheme():
    assert canonical_room("Example.com/r") == canonical_room("//example.com/r") == "http://example.com/r"


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("http://h:80/r", "http://h/r"),
        ("https://h:443/r", "https://h/r"),
        ("https://h:80/r", "https://h:80/r"),
        ("http://h:443/r", "http://h:443/r"),
        ("http://h:8080/r", "http://h:8080/r"),
        ("wss://h:443/r", "wss://h:443/r"),
        ("http://[::1]:80/r", "http://[::1]/r"),
        ("http://[fe80::80]/r", "http://[fe80::80]/r"),
    ],
)
def test_only_the_schemes_own_port_goes(url, canonical):
    assert canonical_room(url) == canonical


@pytest.mark.parametrize("url", ["http://h", "http://h/", "http://h///", "http://h?x", "http://h/#x"])
def test_an_empty_path_is_a_slash(url):
    assert canonical_room(url) == "http://h/"


@pytest.mark.parametrize("end", ["", "/", "//", "?a=1", "/?a=/b/", "#top", "/#a?b"])
def test_trailing_slashes_query_and_fragment_go(end):
    assert canonical_room("http://h/a/b" + end) == "http://h/a/b"


def test_slashes_inside_the_path_stay():
    assert canonical_room("http://h/a//b") == "http://h/a//b"


def test_a_user_part_stays_as_it_is():
    assert canonical_room("http://User:Pw@Host:80/r") == "http://User:Pw@host/r"


def test_an_empty_text_has_a_canonical_form():
    assert canonical_room("") == "http:///"


@pytest.mark.parametrize(
    "url",
    [
        "http://h:99999999/r",
        "http://h:port/r",
        "http://h:/r",
        "http://[::1/r",
        "http://]h[/r",
        "http://h\0/r\0",
        "http://münchen.de/straße",
        "http://℀.com/r",
        "http://h/\ud800",
        "://",
        "@:@:80",
        "a" * 100_000,
    ],
)
def test_hostile_urls_are_hashed_like_any_other(url):
    assert re.fullmatch(r"[0-9a-f]{12}", room_hash(canonical_room(url)))


def test_the_hash_is_the_start_of_the_sha256():
    assert room_hash("https://example.daily.co/Room") == "24b9eef20713"


@settings(derandomize=True, max_examples=500, deadline=None)
@given(url=st.text(), lower_path=st.booleans())
@example(url="http://h:80:80/", lower_path=False)
@example(url="http:///", lower_path=True)
def test_any_text_becomes_a_url_that_can_be_encoded(url, lower_path):
    assert re.match(r"[a-z][a-z0-9+.-]*://", canonical_room(url, lower_path=lower_path).encode().decode())


@settings(derandomize=True, max_examples=500, deadline=None)
@given(url=st.text(alphabet="hT:/@?#[]80aÀ%.\ud800", max_size=30), lower_path=st.booleans())
@example(url="http://h:80:80/", lower_path=False)
def test_a_canonical_room_is_its_own_canonical_form(url, lower_path):
    canonical = canonical_room(url, lower_path=lower_path)
    assert canonical_room(canonical, lower_path=lower_path) == canonical
