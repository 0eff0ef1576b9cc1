"""`python -m faceanon_hub` is the `faceanon` command."""

from .cli import app

app()
