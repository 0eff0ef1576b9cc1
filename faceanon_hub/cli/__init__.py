"""The `faceanon` command: one module a group of commands."""

from .main import app

__all__ = ["app"]
