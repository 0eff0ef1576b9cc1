"""The command line, called in this process."""

import re

from typer.testing import CliRunner, Result

from faceanon_hub.cli import app


def run(*arguments) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def without_blanks(text: str) -> str:
    """Output as one line: the terminal's width breaks messages anywhere."""
    return re.sub(r"[\s│]+", " ", text)


def fails(code: int, text: str, *arguments) -> None:
    """Runs a command that must end with this exit code and say this."""
    result = run(*arguments)
    assert result.exit_code == code and text in without_blanks(result.stderr), result.output
