"""Every row of the error table: what Redis says, and what it means."""

import msgspec
import pytest

from botvisor.actors.backend.breaker import Failure
from botvisor.actors.backend.redis_errors import (
    EndpointUnusable,
    ErrorReply,
    Kind,
    LinkLost,
    TLSRefused,
    diagnose,
    diagnose_transaction,
)
from botvisor.errors import MalformedMessage

OLD_SCRIPT = "ERR Error running script (call to f_5860e4af): @user_script:1: @user_script: 1: "
NEW_TAIL = " script: 5860e4af, on @user_script:1."
OOM = "OOM command not allowed when used memory > 'maxmemory'."
READONLY = "READONLY You can't write against a read only replica."
ABORTED = ErrorReply("EXECABORT Transaction discarded because of previous errors.")

# The texts are real ones; where versions differ there is one of each.
ROWS = [
    ("LOADING Redis is loading the dataset in memory", Kind.NOT_READY),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Kind.NOT_READY),
    ("CLUSTERDOWN The cluster is down", Kind.NOT_READY),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL.", Kind.NOT_READY),
    ("ERR max number of clients reached", Kind.NOT_READY),
    (READONLY, Kind.NOT_WRITABLE),
    (OLD_SCRIPT + "-" + READONLY, Kind.NOT_WRITABLE),
    (READONLY + NEW_TAIL, Kind.NOT_WRITABLE),
    ("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist", Kind.NOT_WRITABLE),
    ("NOREPLICAS Not enough good replicas to write.", Kind.NOT_WRITABLE),
    (OOM, Kind.FULL),
    (OLD_SCRIPT + "-" + OOM + "   ", Kind.FULL),
    (OOM + " script: on @user_script:1.", Kind.FULL),
    ("EXECABORT Transaction discarded because of: " + OOM, Kind.FULL),
    ("NOAUTH Authentication required.", Kind.DENIED),
    ("EXECABORT Transaction discarded because of: NOAUTH Authentication required.", Kind.DENIED),
    ("WRONGPASS invalid username-password pair or user is disabled.", Kind.DENIED),
    ("ERR invalid password", Kind.DENIED),
    ("ERR Client sent AUTH, but no password is set", Kind.DENIED),
    ("ERR AUTH <password> called without any password configured for the default user.", Kind.DENIED),
    ("ERR wrong number of arguments for 'auth' command", Kind.DENIED),
    ("DENIED Redis is running in protected mode because protected mode is enabled", Kind.DENIED),
    ("ERR DB index is out of range", Kind.DENIED),
    ("ERR SELECT is not allowed in cluster mode", Kind.DENIED),
    ("NOPERM this user has no permissions to access one of the keys used as arguments", Kind.DENIED),
    ("NOPERM No permissions to access a key", Kind.DENIED),
    (
        OLD_SCRIPT + "The user executing the script can't access at least one of the keys mentioned",
        Kind.DENIED,
    ),
    ("ERR ACL failure in script: No permissions to access a key" + NEW_TAIL, Kind.DENIED),
    ("NOPERM this user has no permissions to run the 'hset' command or its subcommand", Kind.DENIED),
    ("NOPERM User bot has no permissions to run the 'client|id' command", Kind.DENIED),
    (OLD_SCRIPT + "The user executing the script can't run this command or subcommand", Kind.DENIED),
    ("NOPERM something nobody has said so far", Kind.DENIED),
    ("ERR unknown command `HSET`, with args beginning with: `a`, `b`, ", Kind.DENIED),
    ("ERR Unknown subcommand or wrong number of arguments for 'SETNAME'. Try CLIENT HELP.", Kind.DENIED),
    ("ERR Unknown command called from script script: on @user_script:1.", Kind.DENIED),
    ("MOVED 3999 127.0.0.1:6381", Kind.DENIED),
    ("CROSSSLOT Keys in request don't hash to the same slot", Kind.DENIED),
    (OLD_SCRIPT + "Lua script attempted to access a non local key in a cluster node", Kind.DENIED),
    ("NOPERM this user has no permissions to run the 'eval' command or its subcommand", Kind.NO_EVAL),
    ("NOPERM User bot has no permissions to run the 'evalsha' command", Kind.NO_EVAL),
    ("ERR unknown command 'EVALSHA', with args beginning with: 'x' ", Kind.NO_EVAL),
    ("NOPERM this user has no permissions to access one of the channels used as arguments", Kind.NO_CHANNEL),
    ("NOPERM No permissions to access a channel", Kind.NO_CHANNEL),
    ("NOPERM User bot has no permissions to run the 'publish' command", Kind.NO_CHANNEL),
    ("ERR unknown command `PUBLISH`, with args beginning with: `a`, `b`, ", Kind.NO_CHANNEL),
    ("ERR ACL failure in script: No permissions to access a channel" + NEW_TAIL, Kind.NO_CHANNEL),
    (OLD_SCRIPT + "The user executing the script can't publish to the channel mentioned", Kind.NO_CHANNEL),
    ("NOSCRIPT No matching script. Please use EVAL.", Kind.NO_SCRIPT),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", Kind.BAD_VALUE),
    (OLD_SCRIPT + "WRONGTYPE Operation against a key holding the wrong kind of value ", Kind.BAD_VALUE),
    ("WRONGTYPE Operation against a key holding the wrong kind of value" + NEW_TAIL, Kind.BAD_VALUE),
    ("ERR EXEC without MULTI", Kind.OTHER),
    ("ERR user_script:1: boom script: on @user_script:1.", Kind.OTHER),
    ("MINE a code of a script's own", Kind.OTHER),
    ("", Kind.OTHER),
]


@pytest.mark.parametrize(("text", "kind"), ROWS)
def test_a_reply_belongs_to_its_row(text, kind):
    assert diagnose(ErrorReply(text)).kind is kind


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LinkLost("host:6379", "Connection refused"), Kind.UNREACHABLE),
        (ConnectionResetError(104, "Connection reset by peer"), Kind.UNREACHABLE),
        (TimeoutError("host:6379: no link within 5 s"), Kind.SILENT),
        (TLSRefused("host:6379", "TLS: certificate has expired"), Kind.DENIED),
        (EndpointUnusable("the password file /x is empty"), Kind.DENIED),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), Kind.BAD_VALUE),
        (msgspec.DecodeError("JSON is malformed"), Kind.BAD_VALUE),
        (MalformedMessage("no text"), Kind.BAD_VALUE),
        (RuntimeError("a bug"), Kind.OTHER),
    ],
)
def test_an_exception_belongs_to_its_row(error, kind):
    assert diagnose(error).kind is kind


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (Kind.UNREACHABLE, Failure.REFUSED),
        (Kind.SILENT, Failure.SILENT),
        (Kind.NOT_READY, Failure.TRIPPED),
        (Kind.NOT_WRITABLE, Failure.TRIPPED),
        (Kind.FULL, None),
        (Kind.DENIED, Failure.DENIED),
        (Kind.NO_EVAL, Failure.DENIED),
        (Kind.NO_CHANNEL, None),
        (Kind.NO_SCRIPT, None),
        (Kind.BAD_VALUE, None),
        (Kind.OTHER, None),
    ],
)
def test_only_what_says_that_redis_cannot_serve_counts_for_the_breaker(kind, failure):
    (text,) = [text for text, row in ROWS if row is kind][:1] or [None]
    error = {Kind.UNREACHABLE: LinkLost("a", "b"), Kind.SILENT: TimeoutError()}.get(
        kind, ErrorReply(text or "")
    )
    assert diagnose(error).kind is kind
    assert diagnose(error).failure is failure


def test_trying_again_may_help_where_the_server_is_away_for_a_moment():
    assert diagnose(LinkLost("a", "b")).worth_retrying
    assert diagnose(TimeoutError()).worth_retrying
    assert diagnose(ErrorReply("LOADING")).worth_retrying
    assert not diagnose(ErrorReply("NOAUTH")).worth_retrying
    assert not diagnose(ErrorReply(OOM)).worth_retrying


def test_a_server_that_cannot_write_is_looked_for_anew():
    assert diagnose(ErrorReply(READONLY)).wrong_server
    assert not diagnose(ErrorReply("LOADING")).wrong_server


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("NOAUTH Authentication required.", "set REDIS_SHARED_SECRET or REDIS_PASSWORD_FILE"),
        ("WRONGPASS invalid username-password pair", "check REDIS_SHARED_SECRET"),
        ("NOPERM No permissions to access a key", "~heartbeat:* ~identity:*"),
        ("NOPERM No permissions to access a channel", "&admin:bot:* &admin:broadcast"),
        ("NOPERM User bot has no permissions to run the 'eval' command", "+eval +evalsha"),
        ("ERR unknown command 'HSET'", "Redis 5.0 or later"),
        ("MOVED 1 host:1", "Redis Cluster"),
    ],
)
def test_what_a_human_must_mend_says_how(text, remedy):
    assert remedy in diagnose(ErrorReply(text)).remedy
    assert str(diagnose(ErrorReply(text))).startswith(text.removesuffix("."))


def test_the_reason_of_a_lost_link_is_in_the_words_of_the_system():
    diagnosis = diagnose(LinkLost("127.0.0.1:6379", "Connection refused"))
    assert str(diagnosis) == "Connection refused"


def test_the_reason_of_a_scripts_error_is_the_inner_one():
    assert diagnose(ErrorReply(OLD_SCRIPT + "-" + OOM)).reason == OOM
    assert diagnose(ErrorReply(READONLY + NEW_TAIL)).reason == READONLY


def test_an_error_reply_shows_no_arguments():
    for text in (
        "ERR unknown command `AUTH`, with args beginning with: `hunter2`, ",
        "ERR unknown command 'AUTH', with args beginning with: 'hunter2' ",
    ):
        assert "hunter2" not in repr(ErrorReply(text))
        assert "hunter2" not in str(diagnose(ErrorReply(text)))


def test_an_error_reply_tells_its_code():
    assert ErrorReply("WRONGTYPE Operation against a key").code == "WRONGTYPE"


def test_an_aborted_transaction_is_judged_by_its_first_refused_command():
    publish = ErrorReply("NOPERM No permissions to access a channel")
    replies = [b"OK", b"QUEUED", publish, ErrorReply(OOM), ABORTED]
    assert diagnose_transaction(replies).kind is Kind.NO_CHANNEL


def test_a_transaction_that_was_refused_from_the_start_is_judged_by_that():
    noauth = ErrorReply("NOAUTH Authentication required.")
    assert diagnose_transaction([noauth, noauth, noauth]).kind is Kind.DENIED


def test_a_transaction_that_exec_itself_refused_is_judged_by_that():
    exec_reply = ErrorReply("EXECABORT Transaction discarded because of: " + OOM)
    assert diagnose_transaction([b"OK", b"QUEUED", exec_reply]).kind is Kind.FULL


def test_a_replica_of_redis_5_answers_exec_with_nothing_and_is_found_out():
    assert diagnose_transaction([b"OK", ErrorReply(READONLY), []]).kind is Kind.NOT_WRITABLE


def test_an_error_inside_a_transaction_is_its_own_commands():
    wrongtype = ErrorReply("WRONGTYPE Operation against a key holding the wrong kind of value")
    assert diagnose_transaction([b"OK", b"QUEUED", b"QUEUED", [wrongtype, b"OK"]]) is None
