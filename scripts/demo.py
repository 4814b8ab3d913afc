"""The main job, told as a story: two real bot processes on files, messages, a crash, a kill, a stop.

With --redis they keep to a private Redis, which is killed in the middle and comes back. Every step waits
until what it tells was really observed; the exit code is 0 only if all of them were.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import anyio
from demo_outage import KEEPS_EVERYTHING, Outage
from demo_story import Story
from demo_telling import NotSeenError, paint
from loguru import logger

from botvisor import open_client
from botvisor.errors import collapse
from botvisor.testing.redis_programs import NoServer
from botvisor.testing.redis_server import open_server

BOT = Path(__file__).parent / "examples" / "demo_bot.py"
PATIENCE_S, REDIS_PATIENCE_S = 6.0, 12.0
LIMIT_S, REDIS_LIMIT_S = 18.0, 60.0


async def tell_on_files(script: Path, patience_s: float) -> None:
    with anyio.fail_after(LIMIT_S):
        async with open_client() as client:
            await Story(client, script, patience_s).run()


async def tell_on_redis(script: Path, patience_s: float) -> None:
    with anyio.fail_after(REDIS_LIMIT_S):
        async with open_server(*KEEPS_EVERYTHING) as server:
            os.environ |= {"USE_REDIS": "true", "REDIS_URL": server.url, "BOT_LOG_LEVEL": "INFO"}
            async with open_client() as client:
                await Story(client, script, patience_s, Outage(server).tell).run()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./scripts/demo", description=__doc__)
    parser.add_argument(
        "--bot", type=Path, default=BOT, metavar="SCRIPT", help="the bots (default: %(default)s)"
    )
    parser.add_argument("--redis", action="store_true", help="keep everything on a private Redis")
    parser.add_argument(
        "--patience",
        type=float,
        metavar="S",
        help=f"seconds each step may take (default: {PATIENCE_S:g}, on Redis {REDIS_PATIENCE_S:g})",
    )
    options = parser.parse_args()
    logger.disable("botvisor")  # the story tells what the client does
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="botvisor-demo-") as folder:
        for name in [name for name in os.environ if name.startswith(("BOT_", "REDIS_"))]:
            del os.environ[name]
        for name in ("ADMIN_MESSAGE", "HEARTBEAT", "IDENTITY"):
            os.environ[f"BOT_{name}_DIR"] = f"{folder}/{name.lower()}"
        os.environ["BOT_HEARTBEAT_INTERVAL_SECS"] = "1"
        os.environ["BOT_LOG_LEVEL"] = "WARNING"
        os.environ["USE_REDIS"] = "false"
        tell, patience_s = (tell_on_redis, REDIS_PATIENCE_S) if options.redis else (tell_on_files, PATIENCE_S)
        try:
            anyio.run(tell, options.bot, patience_s if options.patience is None else options.patience)
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            problem = collapse(error)
            text = str(problem) if isinstance(problem, (NotSeenError, NoServer)) else repr(problem)
            print(f"\n{paint('31', '✗')} {text}", flush=True)
            return 1
    print(f"\nEvery step was observed, in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
