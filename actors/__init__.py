"""The actors every bot runs: heartbeat, inbox, identity cache, and the shared backend."""

if __name__ != "botvisor.actors":
    raise ImportError(f"this folder installs as 'botvisor.actors': import botvisor.actors, not {__name__}")
