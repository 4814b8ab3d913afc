"""botvisor: an actor-style supervisor runtime that a bot process embeds with `run_bot(main)`."""

if __name__ != "botvisor":
    raise ImportError(f"this folder installs as 'botvisor': import botvisor, not {__name__}")
