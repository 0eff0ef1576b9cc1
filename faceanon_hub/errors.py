"""Typed errors: every failure a user can cause names the file and the cause."""

from pathlib import Path
from typing import Any


class FaceAnonError(Exception):
    """Base class of every error this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would call the class with the whole message alone, and a worker's error would not reach its caller.
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[FaceAnonError], arguments: tuple[Any, ...], state: dict[str, Any]) -> FaceAnonError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(state)
    return error


def cause_of(error: Exception) -> str:
    """What went wrong, in words, without the file's name, which on a server means nothing to the caller."""
    return str(getattr(error, "cause", None) or error or type(error).__name__)


class UnreadableError(FaceAnonError):
    """An input that cannot be read.

    Args:
        source (`str` or `Path`):
            The file, or a description of what was passed in its place.
        cause (`str`):
            What is wrong with it, in words.
    """

    def __init__(self, source: str | Path, cause: str) -> None:
        self.source, self.cause = str(source), cause
        super().__init__(f"{source}: {cause}")


class UnreadableImageError(UnreadableError):
    """An input that cannot be decoded: missing, empty, truncated, or no image at all."""


class ImageTooLargeError(UnreadableImageError):
    """An image with more pixels than the limit, refused before it is decoded."""


class AnimatedImageError(UnreadableImageError):
    """An animated image, refused because dropping its frames silently would be worse."""


class UnreadableVideoError(UnreadableError):
    """A video that cannot be decoded: missing, empty, cut short, without a picture, or HDR."""


class UnwritableError(FaceAnonError):
    """A result that cannot be written.

    Args:
        target (`str` or `Path`):
            The file that was to be written.
        cause (`str`):
            What went wrong, in words.
    """

    def __init__(self, target: str | Path, cause: str) -> None:
        self.target, self.cause = str(target), cause
        super().__init__(f"{target}: {cause}")


class UnwritableImageError(UnwritableError):
    """A result that cannot be written: unknown format, no such folder, no space left."""


class UnwritableVideoError(UnwritableError):
    """A video that cannot be written: unknown container or codec, sound that does not fit, no space left."""


class CheckpointError(FaceAnonError, OSError):
    """A checkpoint that cannot be loaded: no such folder or repository, or files missing from it.

    Args:
        checkpoint (`str` or `Path`):
            Folder or Hub id.
        cause (`str`):
            What went wrong, in words.
    """

    def __init__(self, checkpoint: str | Path, cause: str) -> None:
        self.checkpoint, self.cause = str(checkpoint), cause
        super().__init__(f"{checkpoint}: {cause}")


class UnmeasuredError(FaceAnonError):
    """A trained checkpoint that cannot be shared: nobody measured whether it draws the people it learned from.

    Args:
        checkpoint (`str` or `Path`):
            Folder or Hub id.
        cause (`str`):
            What is missing, in words.
    """

    def __init__(self, checkpoint: str | Path, cause: str) -> None:
        self.checkpoint, self.cause = str(checkpoint), cause
        super().__init__(f"{checkpoint}: {cause}")


class MissingDependencyError(FaceAnonError, ImportError):
    """A feature whose optional package is not installed.

    Args:
        package (`str`):
            The package that is missing.
        install (`str`):
            What to install, e.g. `"faceanon-hub[demo]"`.
    """

    def __init__(self, package: str, install: str) -> None:
        self.package, self.install = package, install
        super().__init__(f"{package} is not installed: pip install '{install}'")
