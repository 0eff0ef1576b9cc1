"""Checks that numbers from callers and configurations have the right type, are finite and in range."""

import math
import numbers
import reprlib
from typing import Any

# Range of the detector's threshold. Above it, faces would be missed in silence.
THRESHOLD = 0.01, 0.9


def check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    """Makes sure that a value is a number in range.

    Args:
        name (`str`):
            Of the argument, for the message.
        value:
            What was given. Truth values and NaN are no numbers.
        low, high (`float`):
            Smallest and largest one; `high` may be infinite, the value may not.
        whole (`bool`, *optional*, defaults to `False`):
            Whether it must be an integer.

    Raises:
        ValueError: it is not.
    """
    kind = numbers.Integral if whole else numbers.Real
    span = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not low <= value <= high or value == math.inf:
        raise ValueError(f"`{name}` must be a {'whole ' if whole else ''}number {span}, not {reprlib.repr(value)}")


def check_widths(name: str, values: Any, most: int, high: int = 1024) -> None:
    """Makes sure that a value is a list of widths of layers.

    Args:
        name (`str`):
            Of the argument, for the message.
        values:
            What was given.
        most (`int`):
            How many layers there are at most; at least two.
        high (`int`, *optional*, defaults to `1024`):
            Widest one.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(values, list | tuple) or not 2 <= len(values) <= most:
        raise ValueError(f"`{name}` must hold 2 to {most} numbers, not {reprlib.repr(values)}")
    for value in values:
        check_number(name, value, 1, high, whole=True)
