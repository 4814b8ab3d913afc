"""Secrets: held, compared and copied, but never shown."""

import copy
import pickle

from botvisor.config import Secret


def test_a_secret_is_stars_however_it_is_shown():
    secret = Secret("hunter2")
    assert {str(secret), repr(secret), f"{secret}", f"{secret:>30}", f"{secret!r}", "%s" % secret} == {"***"}  # noqa: UP031
    assert "hunter2" not in repr([secret])


def test_a_secret_gives_its_text_only_when_asked():
    assert Secret("hunter2").reveal() == "hunter2"


def test_secrets_compare_and_copy_by_their_text():
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a")}) == 1
    assert copy.deepcopy(Secret("a")) == pickle.loads(pickle.dumps(Secret("a"))) == Secret("a")
    assert not Secret("")
