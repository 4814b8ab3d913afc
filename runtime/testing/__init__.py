"""Helpers for testing bots: in-memory store, fake bot, fault hooks, virtual time."""
