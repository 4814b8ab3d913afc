"""What operators are shown of a fleet, be it by a command, by `top` or on the web."""
