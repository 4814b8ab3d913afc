"""`python -m botvisor` does what the command `botvisor` does."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
