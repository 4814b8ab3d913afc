"""Asking a store, as tests do: a batch, or one command."""

import anyio

LIMIT_S = 20


class Asking:
    """What has a `store` asks it, or another one."""

    async def run(self, *commands, store=None):
        """Carry a batch out: return its results and errors."""
        with anyio.fail_after(LIMIT_S):
            return await (store or self.store).execute(commands)

    async def ask(self, command, store=None):
        """Carry one command out: return its result or raise its error."""
        (answer,) = await self.run(command, store=store)
        if isinstance(answer, Exception):
            raise answer
        return answer
