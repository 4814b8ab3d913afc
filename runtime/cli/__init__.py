"""The operator commands of the `botvisor` console script."""

from .program import main as main
