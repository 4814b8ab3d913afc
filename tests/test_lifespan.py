"""`botvisor.lifespan`: a client for as long as a web application lives."""

import contextlib
import functools

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from botvisor import lifespan, open_bot
from botvisor.shared import shared_supervisor

from .fleet import settings_in
from .processes import environment


@pytest.fixture
def settings(tmp_path):
    return settings_in(tmp_path)


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_an_application_has_a_client_while_it_runs(framework, settings):
    app = framework(lifespan=functools.partial(lifespan, settings=settings))
    async with (
        open_bot(bot_id="ada", settings=settings) as bot,
        app.router.lifespan_context(app) as state,
    ):
        receipt = await state["client"].send("ada", "hello")
        assert receipt.state == "stored"
        async for message in bot.inbox:
            assert message.text == "hello"
            break


async def test_an_application_without_a_bot_of_its_own_stops_the_backend_at_its_end(settings):
    async with lifespan(None, settings=settings):
        async with shared_supervisor(settings) as shared:
            pass
        assert not shared.ended.is_set()
    assert shared.ended.is_set()


async def test_it_reads_the_environment_unless_it_is_given_settings(monkeypatch, tmp_path):
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    async with open_bot(bot_id="ada"), lifespan(None) as state:
        assert [beat.bot_id for beat in await state["client"].heartbeats()] == ["ada"]


async def test_it_goes_into_a_lifespan_of_the_applications_own(settings):
    @contextlib.asynccontextmanager
    async def own(app):
        async with lifespan(app, settings=settings) as state:
            yield {**state, "greeting": "hello"}

    app = FastAPI(lifespan=own)
    async with app.router.lifespan_context(app) as state:
        assert await state["client"].heartbeats() == []
        assert state["greeting"] == "hello"
