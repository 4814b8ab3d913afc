"""Helpers for testing bots: in-memory store, fake bot, fault hooks, virtual time, a proxy that misbehaves."""

from .chaos_proxy import ChaosProxy as ChaosProxy
from .chaos_proxy import open_proxy as open_proxy
from .clock import virtual_time as virtual_time
from .fake_bot import FakeBot as FakeBot
from .fake_bot import fake_bot as fake_bot
from .faults import crash as crash
from .memory import MemoryStore as MemoryStore
from .memory_doorbell import MemoryDoorbell as MemoryDoorbell
