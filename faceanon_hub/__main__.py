"""`python -m faceanon_hub` is the `faceanon` command."""

from .cli.app import app

app()
