"""What holds no picture: text and few numbers, by content, whatever the name. All else may hold one."""

import io
import re
import zlib

import numpy as np

MAX_NUMBERS = 400  # 20 by 20 pixels, in which nobody is known
WORD = 10  # numbers that a word between them counts against
MAX_WORD = 200  # characters
# Base64 and its kin compress to 0.81 of their size and more, languages and tables to 0.72 and less.
PART, DENSE = 512, 0.77

_CONTROL = re.compile(r"[\0-\b\x0e-\x1f\x7f]")
_WORD = re.compile(rf"[!#-&*+\--9<-Z\\^-z|~]{{{MAX_WORD},}}")  # without what parts texts and tables
_TOKEN = re.compile(r"[\w.+\-]+", re.ASCII)
_NUMBER = re.compile(r"[A-Za-z]?[+-]?(?:0[xX])?[\da-fA-F]*\.?[\da-fA-F]+(?:[eE+-][\d.+-]+)?")


def why_not(content: bytes | str) -> str | None:
    """Tells why a file, or a text, may hold a picture.

    Args:
        content (`bytes` or `str`):
            All of it.

    Returns:
        `str`, *optional*: the reason in words. None for UTF-8 text in which nothing is written as long code or as more
        than `MAX_NUMBERS` numbers in a row, and for NumPy files of at most so many numbers.
    """
    if isinstance(content, bytes):
        if content.startswith(np.lib.format.MAGIC_PREFIX):
            return None if _is_small_array(content) else "an array that may be a picture"
        try:
            content = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return "neither a photo nor text: it may hold a picture"
    if _CONTROL.search(content):
        return "neither a photo nor text: it may hold a picture"
    if _WORD.search(content) or _is_dense(content.encode()):
        return "text that holds long code, as pictures written as text do"
    if _has_long_row(content):
        return f"text that holds {MAX_NUMBERS} numbers in a row, which may be a picture"
    return None


def _is_small_array(content: bytes) -> bool:
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return False
    # Not more bytes than numbers and the usual header: comments are allowed in it.
    return array.dtype.kind in "biuf" and array.size <= MAX_NUMBERS and len(content) <= 128 + array.nbytes


def _is_dense(content: bytes) -> bool:
    starts = [*range(0, len(content) - PART, PART // 2), len(content) - PART]
    parts = (content[start : start + PART] for start in starts if start >= 0)
    return any(len(zlib.compress(part, 9)) - 8 > DENSE * PART for part in parts)


def _has_long_row(content: str) -> bool:
    count = 0
    for token in _TOKEN.finditer(content):
        if _NUMBER.fullmatch(token[0]):
            count += 1
            if count == MAX_NUMBERS:
                return True
        elif len(token[0]) > 1:  # a letter is what drawings have between their numbers
            count = max(0, count - WORD)
    return False
