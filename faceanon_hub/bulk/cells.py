"""The values of a dataset's row, at any depth: which of them can hold a picture."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np

from ..io.harmless import MAX_NUMBERS, why_not
from ..io.photos import is_media

if TYPE_CHECKING:
    import pyarrow

PLAIN = (type(None), Number, date, time, timedelta, Decimal, np.bool_, np.datetime64, np.timedelta64)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of a value in which all that could hold a picture is changed.

    Args:
        value (`Any`):
            A number or date, which stays; a text, a photo in any of the ways of [`AnonymizeBatch`], lists of more than
            `harmless.MAX_NUMBERS` numbers and anything unknown, which are handed to `change`; or lists and
            dictionaries of these.
        change (`Callable`):
            Called with each of them, in order; its result takes their place.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, dict):
        photo = {key: part for key, part in value.items() if "bytes" in value and key in ("bytes", "path")}
        rest = {key: mapped(part, change) for key, part in value.items() if key not in photo}
        new = change(photo) if any(part is not None for part in photo.values()) else photo
        return None if new is None else {key: {**rest, **new}[key] for key in value}
    if isinstance(value, list | tuple) and _numbers_in(value) <= MAX_NUMBERS:
        return type(value)(mapped(part, change) for part in value)
    return change(value)


def _numbers_in(value: Any) -> int:
    """How many numbers lists hold at any depth."""
    if isinstance(value, list | tuple):
        return sum(map(_numbers_in, value))
    return isinstance(value, Number | np.number)


def is_photo(value: Any) -> bool:
    """Whether what [`mapped`] hands on is to be anonymized as a photo, or fail as one."""
    if isinstance(value, np.ndarray):
        return value.dtype.kind not in "biuf" or value.size > MAX_NUMBERS
    if isinstance(value, bytes | bytearray | memoryview):
        return is_media(bytes(value)) or why_not(bytes(value)) is not None
    return not isinstance(value, str | list | tuple)


def refusal(value: Any) -> str | None:
    """Why what [`mapped`] hands on, and is no photo, must not pass; None where it is harmless."""
    if isinstance(value, list | tuple):
        return f"more than {MAX_NUMBERS} numbers, which may be a picture"
    return why_not(value) if isinstance(value, str) else None


def is_plain(kind: pyarrow.DataType) -> bool:
    """Whether values of a column of this type are single numbers, dates or truths, which hold no picture."""
    import pyarrow.types as types

    asked = (types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal, types.is_temporal)
    return any(ask(kind) for ask in asked)


def can_hold_photos(kind: pyarrow.DataType) -> bool:
    """Whether there are bytes anywhere in a column of this type."""
    import pyarrow.types as types

    if isinstance(kind, types.lib.BaseExtensionType):
        return can_hold_photos(kind.storage_type)
    if types.is_dictionary(kind):
        return can_hold_photos(kind.value_type)
    parts = [kind.field(number).type for number in range(kind.num_fields)]
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(ask(kind) for ask in binary) or any(map(can_hold_photos, parts))
