"""Whatever text stands in the environment, in a file of variables, in a URL or a file's name."""

import os

from hypothesis import given
from hypothesis import strategies as st

from botvisor.actors.backend import redis_url
from botvisor.actors.backend.redis_endpoint import endpoint_of
from botvisor.actors.backend.spool_names import (
    ClaimedName,
    forwarded_name,
    is_forwarded,
    original_name,
    prefix_of,
)
from botvisor.config import Settings, load_settings
from botvisor.config.env import VARIABLES
from botvisor.config.env_file import add_env_file
from botvisor.errors import SettingsError
from botvisor.room import canonical_room, room_hash
from botvisor.wire import decode_id, encode_id

from .anything import SCALARS, WORDS, read_or, tried


@tried(200)
@given(st.dictionaries(st.sampled_from(list(VARIABLES)), WORDS | SCALARS.map(str), max_size=5))
def test_any_environment_gives_settings_or_says_what_is_wrong(environ):
    found = read_or(SettingsError, load_settings, environ)
    assert found is None or isinstance(found, Settings)


SCHEMES = st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "http", ""])
LOGINS = st.sampled_from(["", "u:p@", ":p%@", "@", "[", "[::1]:", "%00@"])
ENDS = st.sampled_from(["", "/0", "/99999", "?db=x", "?ssl_cert_reqs=none", "?password=%00", ",h/service/0"])
URLS = st.builds("{}://{}{}{}".format, SCHEMES, LOGINS, WORDS, ENDS)


@tried(200)
@given(URLS | st.text(max_size=30))
def test_any_url_names_a_server_or_is_refused(url):
    given = read_or(SettingsError, load_settings, {"USE_REDIS": "1", "REDIS_URL": url})
    if given is not None:
        read_or(SettingsError, redis_url.parse, given.redis_url.reveal())
        read_or(SettingsError, endpoint_of, given)


LINES = st.text(max_size=15) | st.builds("{}={}".format, st.sampled_from(["A", "BOT_ID", "b c"]), st.text())


@tried(100)
@given(st.lists(LINES, max_size=4), st.binary(max_size=3))
def test_any_file_of_variables_is_read_or_says_what_is_wrong(tmp_path_factory, lines, rest):
    path = tmp_path_factory.getbasetemp() / "any.env"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass") + rest)
    found = {}
    read_or(SettingsError, add_env_file, path, found)
    assert not any("\0" in value for value in found.values())  # no environment takes it


@tried(200)
@given(st.text() | st.from_regex(r"(admin|room|ctl|pre-spawn)-[^-]*-(fwd\.)*.*\.json", fullmatch=True))
def test_any_file_name_is_a_messages_or_nobodys(name):
    prefix = prefix_of(name)
    if prefix is not None:
        forwarded = forwarded_name(name)
        assert is_forwarded(forwarded)
        assert prefix_of(forwarded) == prefix
        assert len(os.fsencode(forwarded)) <= 255 or len(os.fsencode(prefix)) > 200
    assert isinstance(original_name(name), str)
    claimed = ClaimedName.parse(name)
    assert claimed is None or str(claimed) == name


@tried(200)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_a_files_name(text):
    assert decode_id(encode_id(text)) == text


@tried(200)
@given(st.text(max_size=40) | URLS)
def test_any_text_is_a_room(url):
    assert len(room_hash(canonical_room(url))) == 12
