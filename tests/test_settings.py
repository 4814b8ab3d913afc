"""Settings: from the environment or built by hand, checked as a whole, and silent about secrets."""

import dataclasses
import os
from pathlib import Path

import loguru
import pytest

from botvisor.config import Secret, Settings, load_settings
from botvisor.config.env import VARIABLES
from botvisor.config.rules import LEVEL_NAMES
from botvisor.errors import SettingsError

EVERY_VARIABLE = {
    "USE_REDIS": ("Yes", True),
    "REDIS_URL": ("rediss://u:p@h:6380/1", Secret("rediss://u:p@h:6380/1")),
    "REDIS_DB": ("3", 3),
    "REDIS_AUTH_REQUIRED": ("on", True),
    "REDIS_SHARED_SECRET": (" hunter2 ", Secret(" hunter2 ")),
    "REDIS_PASSWORD_FILE": ("/run/secrets/redis", Path("/run/secrets/redis")),
    "REDIS_TLS_CA_FILE": ("/tls/ca", Path("/tls/ca")),
    "REDIS_TLS_CERT_FILE": ("/tls/cert", Path("/tls/cert")),
    "REDIS_TLS_KEY_FILE": ("/tls/key", Path("/tls/key")),
    "REDIS_TLS_SERVER_NAME": ("redis.internal", "redis.internal"),
    "REDIS_TLS_INSECURE": ("TRUE", True),
    "REDIS_CONNECT_TIMEOUT_SECS": ("1.5", 1.5),
    "REDIS_COMMAND_TIMEOUT_SECS": ("2", 2.0),
    "BOT_ID": ("bot-1.a:b", "bot-1.a:b"),
    "BOT_FILE_FALLBACK": ("off", False),
    "BOT_HEARTBEAT_INTERVAL_SECS": ("15", 15.0),
    "BOT_HEARTBEAT_STALE_SECS": ("40", 40.0),
    "BOT_ZOMBIE_SPAWN_GRACE_SECS": ("0", 0.0),
    "BOT_ZOMBIE_REQUIRED_STALE_HITS": ("1", 1),
    "BOT_BLOCKED_AFTER_SECS": ("0.5", 0.5),
    "BOT_PROBE_HOST": ("::", "::"),
    "BOT_PROBE_PORT": ("8081", 8081),
    "BOT_SERVER_REAP_INTERVAL_SECS": ("0", 0.0),
    "BOT_ADMIN_MESSAGE_DIR": ("/a", Path("/a")),
    "BOT_HEARTBEAT_DIR": ("/h", Path("/h")),
    "BOT_IDENTITY_DIR": ("/i", Path("/i")),
    "BOT_CANONICALIZE_LOWER_PATH": ("1", True),
    "BOT_LOG_LEVEL": ("debug", "DEBUG"),
}


def problems(make, *args, **kwargs):
    with pytest.raises(SettingsError) as caught:
        make(*args, **kwargs)
    return caught.value.problems


def test_every_field_has_one_variable():
    assert {variable.field for variable in VARIABLES.values()} == {
        f.name for f in dataclasses.fields(Settings)
    }
    assert len(VARIABLES) == len(dataclasses.fields(Settings))


def test_every_variable_is_read():
    settings = load_settings({name: text for name, (text, _) in EVERY_VARIABLE.items()})
    assert {name: getattr(settings, v.field) for name, v in VARIABLES.items()} == {
        name: value for name, (_, value) in EVERY_VARIABLE.items()
    }


def test_an_empty_environment_gives_the_defaults():
    assert load_settings({}) == Settings()


def test_an_empty_variable_counts_as_unset():
    assert load_settings(dict.fromkeys(VARIABLES, "")) == Settings()


def test_the_processes_environment_is_the_default(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BOT_ID", "from-environ")
    assert load_settings() == load_settings(os.environ) == Settings(bot_id="from-environ")


def test_other_variables_are_ignored():
    assert load_settings({"BOT_UNHEARD_OF": "1", "PATH": "/bin"}) == Settings()


def test_an_unset_database_leaves_it_to_the_url():
    assert load_settings({}).redis_db is None
    assert load_settings({"REDIS_DB": "0"}).redis_db == 0


@pytest.mark.parametrize("word", ["1", "true", "YES", "On", " true "])
def test_words_for_true(word):
    assert load_settings({"USE_REDIS": word}).use_redis


@pytest.mark.parametrize("word", ["0", "false", "NO", "Off"])
def test_words_for_false(word):
    assert not load_settings({"REDIS_AUTH_REQUIRED": word}).redis_auth_required


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("USE_REDIS", "maybe"),
        ("REDIS_URL", "http://h"),
        ("REDIS_URL", "redis://h:port"),
        ("REDIS_URL", "redis://[h"),
        ("REDIS_DB", "-1"),
        ("REDIS_DB", "1.5"),
        ("REDIS_TLS_SERVER_NAME", " "),
        ("REDIS_CONNECT_TIMEOUT_SECS", "0"),
        ("REDIS_COMMAND_TIMEOUT_SECS", "nan"),
        ("REDIS_COMMAND_TIMEOUT_SECS", "inf"),
        ("REDIS_COMMAND_TIMEOUT_SECS", "9" * 400),
        ("BOT_ID", "a b"),
        ("BOT_ID", "x" * 129),
        ("BOT_HEARTBEAT_INTERVAL_SECS", "15.1"),
        ("BOT_HEARTBEAT_INTERVAL_SECS", "0"),
        ("BOT_HEARTBEAT_STALE_SECS", "-1"),
        ("BOT_ZOMBIE_SPAWN_GRACE_SECS", "-1"),
        ("BOT_ZOMBIE_REQUIRED_STALE_HITS", "0"),
        ("BOT_ZOMBIE_REQUIRED_STALE_HITS", "9" * 5000),
        ("BOT_PROBE_HOST", " "),
        ("BOT_PROBE_PORT", "65536"),
        ("BOT_PROBE_PORT", "http"),
        ("BOT_SERVER_REAP_INTERVAL_SECS", "soon"),
        ("BOT_ADMIN_MESSAGE_DIR", "relative"),
        ("BOT_HEARTBEAT_DIR", "./relative"),
        ("BOT_IDENTITY_DIR", "~/identity"),
        ("BOT_LOG_LEVEL", "LOUD"),
        ("BOT_LOG_LEVEL", "-1"),
    ],
)
def test_a_bad_variable_is_named_once_with_what_was_expected(name, text):
    (problem,) = problems(load_settings, {name: text})
    assert problem.startswith(f"{name} must ")
    assert len(problem) < 250


def test_all_bad_variables_are_reported_at_once():
    bad = {
        "USE_REDIS": "maybe",
        "REDIS_DB": "x",
        "BOT_ID": "no spaces",
        "BOT_HEARTBEAT_INTERVAL_SECS": "60",
        "BOT_LOG_LEVEL": "LOUD",
    }
    assert [problem.split()[0] for problem in problems(load_settings, bad)] == list(bad)


def test_a_bad_value_is_quoted():
    (problem,) = problems(load_settings, {"BOT_HEARTBEAT_INTERVAL_SECS": "90"})
    assert problem == "BOT_HEARTBEAT_INTERVAL_SECS must be a number of seconds above 0, up to 15; it is '90'"


def test_a_variable_that_cannot_be_read_blames_no_other():
    (problem,) = problems(load_settings, {"USE_REDIS": "maybe", "BOT_FILE_FALLBACK": "false"})
    assert problem.startswith("USE_REDIS ")


def test_no_files_without_redis_leaves_no_store():
    (problem,) = problems(load_settings, {"BOT_FILE_FALLBACK": "false"})
    assert problem.startswith("BOT_FILE_FALLBACK must stay on")
    assert not load_settings({"BOT_FILE_FALLBACK": "false", "USE_REDIS": "true"}).file_fallback


def test_a_required_password_must_be_there():
    (problem,) = problems(load_settings, {"REDIS_AUTH_REQUIRED": "true", "REDIS_URL": "redis://user@h"})
    assert problem.startswith("REDIS_AUTH_REQUIRED needs a password")


@pytest.mark.parametrize(
    "source",
    [
        {"REDIS_SHARED_SECRET": "s"},
        {"REDIS_PASSWORD_FILE": "/f"},
        {"REDIS_URL": "redis://:s@h"},
        {"REDIS_URL": "redis+sentinel://u:s@h1,h2/service"},
        {"REDIS_URL": "unix:///run/redis.sock?password=s"},
    ],
)
def test_a_required_password_may_come_from_anywhere(source):
    assert load_settings({"REDIS_AUTH_REQUIRED": "true"} | source).redis_auth_required


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "REDISS://u:p@h:1",
        "unix:///s",
        "redis+sentinel://h1:1,h2:2/service",
        "rediss+sentinel://h1/s",
    ],
)
def test_known_url_schemes_are_accepted(url):
    assert load_settings({"REDIS_URL": url}).redis_url.reveal() == url


WEAK = ["ssl_cert_reqs=none", "ssl_cert_reqs=optional", "SSL_CERT_REQS=None", "ssl_check_hostname=false",
        "ssl%5Fcert%5Freqs=none", "ssl_check_hostname=", "ssl_cert_reqs=required&ssl_cert_reqs=none",
        "ssl_ciphers=ALL", "ssl_min_version=TLSv1"]  # fmt: skip


@pytest.mark.parametrize("query", WEAK)
def test_a_url_must_not_weaken_tls(query):
    (problem,) = problems(load_settings, {"REDIS_URL": f"rediss://u:hunter2@h?{query}"})
    assert problem.startswith("REDIS_URL must not weaken TLS")
    assert "hunter2" not in problem


@pytest.mark.parametrize("query", WEAK)
def test_a_url_may_weaken_tls_when_the_setting_says_so(query):
    assert load_settings(
        {"REDIS_URL": f"rediss://h?{query}", "REDIS_TLS_INSECURE": "true"}
    ).redis_tls_insecure


def test_a_url_may_ask_for_strict_tls():
    assert load_settings({"REDIS_URL": "rediss://h?ssl_cert_reqs=required&ssl_check_hostname=true"})


def test_a_tls_key_needs_its_certificate():
    (problem,) = problems(load_settings, {"REDIS_TLS_KEY_FILE": "/key"})
    assert problem.startswith("REDIS_TLS_KEY_FILE needs")


@pytest.mark.parametrize("text", ["trace", "Warning", "SUCCESS", "15", "0"])
def test_log_levels_are_held_in_upper_case(text):
    assert Settings(log_level=text) == load_settings({"BOT_LOG_LEVEL": text})
    assert Settings(log_level=text).log_level == text.upper()


def test_level_names_are_those_of_loguru():
    assert [loguru.logger.level(name).name for name in LEVEL_NAMES] == list(LEVEL_NAMES)


def test_settings_built_by_hand_are_checked_too():
    found = problems(
        Settings,
        heartbeat_interval_s=16,
        use_redis="true",
        bot_id="a/b",
        admin_message_dir=Path("relative"),
        zombie_required_stale_hits=True,
        redis_url=Secret("ftp://u:hunter2@h"),
        log_level="LOUD",
        file_fallback=False,
    )
    assert {problem.split()[0] for problem in found} == {
        "heartbeat_interval_s",
        "use_redis",
        "bot_id",
        "admin_message_dir",
        "zombie_required_stale_hits",
        "redis_url",
        "log_level",
    }
    assert "hunter2" not in str(found)


def test_replacing_a_field_checks_again():
    with pytest.raises(SettingsError):
        dataclasses.replace(Settings(), file_fallback=False)


def test_plain_texts_are_wrapped_in_their_types():
    settings = Settings(redis_url="redis://:hunter2@h", redis_shared_secret="hunter2", identity_dir="/i")
    assert settings.redis_url == Secret("redis://:hunter2@h")
    assert settings.identity_dir == Path("/i")
    assert "hunter2" not in repr(settings)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().bot_id = "x"


SECRETS = {"REDIS_URL": "redis://:hunter2@h", "REDIS_SHARED_SECRET": "hunter2"}


def test_printing_settings_shows_no_secret():
    settings = load_settings(SECRETS)
    assert "hunter2" not in f"{settings} {settings!r} {dataclasses.asdict(settings)}"


def test_an_error_shows_no_secret():
    bad = SECRETS | {"REDIS_URL": "http://:hunter2@h", "REDIS_DB": "x", "BOT_ID": "a b"}
    with pytest.raises(SettingsError) as caught:
        load_settings(bad)
    assert "hunter2" not in f"{caught.value} {caught.value!r}"
