"""The `faceanon` command.

Exit codes: 0 done; 1 any other failure; 2 wrong usage; 3 done, but some face could only be obfuscated, or looks
unchanged to `check`; 4 an input cannot be read; 5 an output cannot be written; 6 some files of a folder or rows of a
dataset failed, the others are done; 7 done, but no face was found, where `--strict` asks for that; 130 stopped by
Ctrl-C.
"""

import errno
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import FaceAnonError
from . import bulk, console, evaluation, hub, photo, training, video

# What a command says when it is stopped half-way.
GOES_ON = dict.fromkeys(
    ("folder", "dataset", "evaluate", "fit", "prepare", "train"), "the same command goes on where it was"
)


class Commands(typer.core.TyperGroup):
    """The commands, and what may end any of them: Ctrl-C, a typed error, a file that the system refuses."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            console.warn(
                f"stopped: {GOES_ON.get(ctx.invoked_subcommand or '', 'what was not finished is not written')}"
            )
            raise typer.Exit(console.STOPPED) from None
        except FaceAnonError as error:
            failure = error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of what is printed has closed it
                raise
            where = f"{error.filename}: " if error.filename else ""
            failure = FaceAnonError(f"{where}{error.strerror or error}")
        console.say(f"error: {failure}", "red")
        raise typer.Exit(console.exit_code(failure))


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Replace every face by a realistic face of nobody; keep expression, gaze, pose, light and skin colour.",
)
for command in (
    photo.image, video.video, bulk.folder, bulk.dataset, evaluation.check, evaluation.evaluate, evaluation.attack,
    training.fit, training.convert, training.prepare, training.train, hub.info,
):  # fmt: skip
    app.command()(command)
app.command("push")(hub.push)
app.command("app")(hub.demo)
app.add_typer(hub.space, name="space")


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"faceanon-hub {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print it.")
    ] = False,
) -> None:
    """Takes the options that stand before a command."""
