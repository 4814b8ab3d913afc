"""Links to real servers, and to peers that answer what they are told to."""

import contextlib

import anyio
from anyio.abc import SocketAttribute

from botvisor.actors.backend.link import Link
from botvisor.actors.backend.redis_endpoint import Endpoint

PING = ("PING",)


@contextlib.asynccontextmanager
async def opened(server, *, port=None, fence=None, name="botvisor", **endpoint):
    where = Endpoint(host="127.0.0.1", port=port or server.port, **endpoint)
    link = await Link.open(where, connect_timeout_s=5, fence=fence, name=name)
    try:
        yield link
    finally:
        await link.aclose()


@contextlib.asynccontextmanager
async def scripted(*chunks, pause_s=0.0):
    """A link to a peer that answers whatever comes with these bytes, and then hangs up."""

    async def answer(client):
        async with client:
            await client.receive()
            for chunk in chunks:
                await client.send(chunk)
                await anyio.sleep(pause_s)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        stream = await anyio.connect_tcp("127.0.0.1", listener.extra(SocketAttribute.local_port))
        link = Link(stream, "peer")
        yield link
        await link.aclose()
        group.cancel_scope.cancel()


async def stuck(link, limit_s=0.1):
    """Cancel a batch of two that waits for its first reply."""
    with anyio.move_on_after(limit_s) as scope:
        await link.execute([("BLPOP", "nothing", 0), ("ECHO", "stale")])
    assert scope.cancelled_caught
