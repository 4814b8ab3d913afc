"""The web page for tests: served on loopback by the tests' own event loop, asked over connections."""

import contextlib
import http.client
import json

import anyio
from anyio import to_thread

from botvisor.web.server import serve

TOKEN = "a token of some length"


class Answer:
    """What the server answered."""

    def __init__(self, response):
        self.status = response.status
        self.fields = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()

    @property
    def json(self):
        return json.loads(self.text)


class Site:
    """A served page.

    Args:
        url: where it is.
    """

    def __init__(self, url):
        self.url = url
        self.port = int(url.rstrip("/").rpartition(":")[2])
        self.origin = url.rstrip("/")

    async def ask(self, method, path, body=None, **fields):
        """Ask; names of header fields are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        return await to_thread.run_sync(self._ask, method, path, body, named)

    async def get(self, path, **fields):
        return await self.ask("GET", path, **fields)

    async def post(self, path, document, **fields):
        """Post JSON as the page does."""
        fields = {"Origin": self.origin, "Content_Type": "application/json", **fields}
        return await self.ask("POST", path, json.dumps(document), **fields)

    async def log_in(self, token=TOKEN):
        return await self.ask("POST", "/login", f"token={token.replace(' ', '+')}", Origin=self.origin)

    @contextlib.asynccontextmanager
    async def stream(self, path):
        """Open a stream of events; returns a function that waits for the next one's name and document."""
        async with await anyio.connect_tcp("127.0.0.1", self.port) as connection:
            await connection.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            buffer = bytearray()

            async def until(mark):
                while (place := buffer.find(mark)) < 0:
                    buffer.extend(await connection.receive())
                found = bytes(buffer[:place])
                del buffer[: place + len(mark)]
                return found

            head = await until(b"\r\n\r\n")
            assert b" 200 " in head, head
            assert b"text/event-stream" in head

            async def heard():
                """Each event is one chunk of HTTP, and as many lines as it has."""
                with anyio.fail_after(10):
                    while True:
                        await until(b"\r\n")  # the chunk's length
                        event = (await until(b"\n\n\r\n")).decode()
                        if event.startswith("event: "):
                            name, data = event.split("\n")
                            return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

            heard.connection = connection
            yield heard

    def _ask(self, method, path, body, fields):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, fields)
            return Answer(connection.getresponse())


@contextlib.asynccontextmanager
async def site(settings, *, every_s=0.2, **more):
    """Serve the page for as long as the block lasts; see `serve`."""
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        urls = []

        async def run():
            await serve(
                settings, host="127.0.0.1", port=0, started=urls.append, stop=stop, every_s=every_s, **more
            )

        group.start_soon(run)
        with anyio.fail_after(10):
            while not urls:
                await anyio.sleep(0.01)
        try:
            yield Site(urls[0])
        finally:
            stop.set()


async def until_answer(ask, met, within=10.0):
    """Ask again until the answer is as it should be; returns it."""
    answer = None
    try:
        with anyio.fail_after(within):
            while not met(answer := await ask()):
                await anyio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"it stayed as it was: {answer and answer.text}") from None
    return answer
