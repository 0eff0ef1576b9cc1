"""The `faceanon` command: one module a group of commands."""
