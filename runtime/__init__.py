"""botvisor: an actor-style supervisor runtime that a bot process embeds with `run_bot(main)`."""

if __name__ != "botvisor":
    raise ImportError(f"this folder installs as 'botvisor': import botvisor, not {__name__}")

from botvisor.config import Settings as Settings

from .actor import Actor as Actor
from .actor import Context as Context
from .asgi import lifespan as lifespan
from .bot import Bot as Bot
from .bot import current_bot as current_bot
from .bot_supervisor import BotSupervisor as BotSupervisor
from .client import Client as Client
from .client import open_client as open_client
from .embed import open_bot as open_bot
from .embed import open_supervisor as open_supervisor
from .errors import ActorCrashed as ActorCrashed
from .errors import ActorStopped as ActorStopped
from .errors import AskTimeout as AskTimeout
from .errors import MailboxFull as MailboxFull
from .errors import Reject as Reject
from .handle import BotHandle as BotHandle
from .heartbeat import Heartbeat as Heartbeat
from .hooks import Hooks as Hooks
from .identities import Identities as Identities
from .inbox import Inbox as Inbox
from .messages import AdminMessage as AdminMessage
from .participants import Participants as Participants
from .receipt import Receipt as Receipt
from .ref import Ref as Ref
from .restart import Policy as Policy
from .run import run_bot as run_bot


def __getattr__(name: str) -> str:
    if name == "__version__":
        import importlib.metadata  # it takes 20 ms, and hardly anybody asks

        return importlib.metadata.version("botvisor")
    raise AttributeError(f"module 'botvisor' has no attribute {name!r}")
