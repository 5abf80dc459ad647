"""The application: all commands under one name, and how errors end it."""

import errno
import re
import sys

import typer

from carft.core.errors import Diverged, MethodFailed, StorageUnavailable, UserError, kind_of, reason_of
from carft.core.files import require_utf8
from carft.training.device import clear_bit_variables
from carft_cli.cell import interpolate, model_group, soup, train
from carft_cli.console import err, headed
from carft_cli.data import data_group
from carft_cli.init import init, new_group
from carft_cli.plan import doctor, plan
from carft_cli.report import report
from carft_cli.results import ls, recipes, results_group, show
from carft_cli.status import status
from carft_cli.sweep import audit, sweep

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does CAR-FT's claim hold, on this model, this data and this budget, and what does each number rest on?",
)
for command in (train, doctor, plan, sweep, audit, status, interpolate, soup, ls, show, recipes, init):
    app.command()(command)
app.add_typer(report, name="report")
app.add_typer(new_group, name="new")
app.add_typer(results_group, name="results")
app.add_typer(model_group, name="model")
app.add_typer(data_group, name="data")

#: control characters that no argument may hold; tab and line feed may stand in a file's name
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MAKE_SPACE = "Make space on the disk that the command writes to, and give it again."


def main() -> None:
    """The console script: a refusal is one sentence and exit code 2, a failed cell exit code 1."""
    clear_bit_variables()
    try:
        for argument in sys.argv[1:]:
            require_utf8(argument)
            if CONTROL.search(argument):  # typer would print it as it is
                raise UserError("An argument holds a control character.", "Rename the file, or type the argument.")
        app()
    except UserError as refusal:
        err.say(headed("Refused:", f" {refusal.message}", "bold red"))
        if refusal.hint:
            err.say(refusal.hint)
        raise SystemExit(2) from None
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # of a file that is being written, without its name
        if error.filename is None and not is_full and not isinstance(error, StorageUnavailable):
            raise
        words = f" {error.strerror}."
        if error.filename is not None:
            words = f" '{error.filename}':{words}"
        err.say(headed("Refused:", words, "bold red"))
        if is_full:
            err.say(MAKE_SPACE)
        elif not isinstance(error, StorageUnavailable):
            err.say("Give another path.")
        raise SystemExit(2) from None
    except (Diverged, MethodFailed) as failure:
        err.say(headed("The cell failed:", f" {failure}.", "bold red"))
        raise SystemExit(1) from None
    except Exception as error:
        kind = kind_of(error)
        if kind not in ("out of memory", "device", "storage"):
            raise
        if kind == "storage":  # of safetensors, whose errors are no OSError
            err.say(headed("Refused:", f" {reason_of(error)}.", "bold red"))
            err.say(MAKE_SPACE)
            raise SystemExit(2) from None
        err.say(headed("The cell failed:", f" {kind}: {reason_of(error).splitlines()[0]}", "bold red"))
        if kind == "out of memory":
            err.say("A sweep computes such a batch in parts. Here give a smaller --batch-size.")
        raise SystemExit(1) from None
