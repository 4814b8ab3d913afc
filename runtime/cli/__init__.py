"""The operator commands of the `botvisor` console script."""
