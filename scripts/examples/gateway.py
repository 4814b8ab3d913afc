"""A gateway: bots are listed and messaged over HTTP, and each message's receipt says how far it came.

    pip install fastapi uvicorn
    uvicorn --app-dir scripts/examples gateway:app
    curl -H 'Content-Type: application/json' -d '{"text": "hello"}' localhost:8000/bots/4711/messages

It lets in everybody who can reach it: put your authentication before it.
"""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from botvisor import Client, Receipt, lifespan
from botvisor.errors import MalformedMessage, NotStored, StoreError

app = FastAPI(title="A gateway to bots", lifespan=lifespan)
BotId = Annotated[str, Path(pattern="^[A-Za-z0-9._:-]{1,128}$")]


class Posted(BaseModel):
    text: str
    mode: Literal["queued", "immediate"] = "queued"
    sender_name: str = "the gateway"
    wait_secs: float = Field(default=5.0, ge=0.0, le=30.0)


def client_of(request: Request) -> Client:
    client: Client = request.state.client
    return client


TheClient = Annotated[Client, Depends(client_of)]


@app.get("/bots")
async def bots(client: TheClient) -> list[dict[str, Any]]:
    return [
        {"bot_id": beat.bot_id, "status": beat.status, "participants": beat.participants}
        for beat in await client.heartbeats()
    ]


@app.post("/bots/{bot_id}/messages")
async def post(bot_id: BotId, posted: Posted, client: TheClient, response: Response) -> dict[str, Any]:
    """Send a message: 200 once it was handled, 202 while it is on its way, 503 if nothing took it."""
    if await client.heartbeat(bot_id) is None:
        raise HTTPException(404, f"no bot {bot_id} is known")
    receipt = await client.send(
        bot_id,
        posted.text,
        mode=posted.mode,
        sender_name=posted.sender_name,
        wait=posted.wait_secs,
    )
    response.status_code = 200 if receipt.state == "handled" else 202
    return dict(msgspec.to_builtins(receipt))


@app.get("/bots/{bot_id}/messages/{message_id}")
async def how_far(bot_id: BotId, message_id: str, client: TheClient) -> dict[str, str]:
    """Tell how far a message has come since."""
    sent = Receipt(id=message_id, target=bot_id, state="stored", where="", stored_ms=0.0)
    return {"id": message_id, "state": (await client.receipt(sent)).state}


@app.exception_handler(MalformedMessage)
async def refused(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 422)


@app.exception_handler(NotStored)
@app.exception_handler(StoreError)
async def away(_: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)
