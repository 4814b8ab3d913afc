"""./scripts/bench: botvisor beside what people use without it, in rounds that take turns."""
