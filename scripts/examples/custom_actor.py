"""An actor of your own, under the supervision of the bot's own ones: python custom_actor.py ROOM_URL

Tell the bot "remember milk", then "recall". "spill ink" makes the notebook fail: it is restarted with the
pages that it had, and `botvisor ps`, `why` and `restart BOT notebook` know it.
"""

import sys

import msgspec

from botvisor import Actor, ActorCrashed, Bot, Context, Policy, Reject, run_bot


class Remember(msgspec.Struct, frozen=True):
    what: str


class Recall(msgspec.Struct, frozen=True):
    pass


class SpillInk(msgspec.Struct, frozen=True):
    pass


Wish = Remember | Recall | SpillInk


class Notebook(Actor):
    """Remembers things.

    Args:
        pages: what is remembered. It belongs to `main`, so it outlives each notebook.
    """

    def __init__(self, pages: list[str]) -> None:
        self._pages = pages

    async def start(self, ctx: Context) -> None:
        print(f"notebook {ctx.generation} has {len(self._pages)} pages", flush=True)

    async def handle(self, message: Wish) -> str:
        match message:
            case Remember(what):
                self._pages.append(what)
            case Recall() if not self._pages:
                raise Reject("nothing was noted yet")
            case SpillInk():
                raise RuntimeError("ink all over")
        return ", ".join(self._pages)

    async def stop(self, reason: str) -> None:
        print(f"the notebook is closed: {reason}", flush=True)


def wish_of(text: str) -> Wish | None:
    match text.split():
        case ["remember", *what]:
            return Remember(" ".join(what))
        case ["recall"]:
            return Recall()
        case ["spill", "ink"]:
            return SpillInk()
    return None


async def main(bot: Bot) -> None:
    pages: list[str] = []
    notebook = await bot.start_actor("notebook", lambda: Notebook(pages), policy=Policy(intensity=3))
    async for message in bot.inbox:
        wish = wish_of(message.text)
        if wish is None:
            print("remember WHAT, recall, or spill ink", flush=True)
            continue
        try:
            print(f"noted: {await notebook.ask(wish, timeout=5.0)}", flush=True)
        except (Reject, ActorCrashed) as error:
            print(f"sorry: {error}", flush=True)


if __name__ == "__main__":
    run_bot(main, room_url=sys.argv[1])
