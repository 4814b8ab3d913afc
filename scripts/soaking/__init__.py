"""./scripts/soak: real bots and senders, real faults, and a verdict from what they wrote down themselves."""
