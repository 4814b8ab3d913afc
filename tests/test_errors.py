"""Errors, told in one line."""

import pytest

from botvisor.errors import SettingsError, collapse, describe
from botvisor.testing import crash, fake_bot


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_error_is_its_type_and_its_text():
    assert describe(ValueError("no")) == "ValueError: no"


def test_an_error_without_a_text_is_its_type():
    assert describe(TimeoutError()) == "TimeoutError"


def test_an_error_that_cannot_be_told_is_told_all_the_same():
    assert describe(MuteError()).startswith("MuteError: ")


def test_all_bad_settings_are_in_one_text():
    text = str(SettingsError(["A: too low", "B: no number"]))
    assert "A: too low" in text
    assert "B: no number" in text


def test_a_group_of_one_collapses_however_deep():
    inner = ValueError("inner")
    assert collapse(ExceptionGroup("outer", [ExceptionGroup("middle", [inner])])) is inner


def test_a_real_group_stays_whole():
    group = ExceptionGroup("two", [ValueError(), KeyError()])
    assert collapse(group) is group


@pytest.mark.virtual_time
async def test_an_actor_whose_error_cannot_be_told_is_restarted():
    async def main(bot):
        return [message.text async for message in bot.inbox]

    async with fake_bot(main) as bot:
        crash(bot.bot, "inbox", MuteError())
        await bot.send("still there?", wait=30)
        await bot.stop()
        assert await bot.wait() == ["still there?"]
