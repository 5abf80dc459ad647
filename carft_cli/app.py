"""The application: all commands under one name, and how errors end it."""

import errno
import sys
from typing import NoReturn

import typer

from carft.core.errors import Diverged, StorageUnavailable, UserError
from carft.core.failure_kinds import FailureKind, failure_kind, reason_of
from carft.core.files import require_utf8
from carft.core.garbage import collect_rarely
from carft.training.device import clear_bit_variables
from carft_cli.cell import combine, model_group, train
from carft_cli.console import err, headed
from carft_cli.data import data_group
from carft_cli.init import init
from carft_cli.ls import ls
from carft_cli.plan import plan
from carft_cli.report import report
from carft_cli.results import results_group
from carft_cli.status import status
from carft_cli.sweep import sweep

#: panel of ``--help`` below the four commands that everyone needs
MORE = "More"
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Does CAR-FT's claim hold, on this model, this data and this budget, and what does each number rest on?",
)
for command in (init, sweep, status):
    app.command()(command)
app.add_typer(report, name="report")
for command in (plan, train, combine, ls):
    app.command(rich_help_panel=MORE)(command)
for group, name in ((results_group, "results"), (model_group, "model"), (data_group, "data")):
    app.add_typer(group, name=name, rich_help_panel=MORE)

#: packages of the extra ``train``, as they are imported
TRAINING = {"torch", "torchvision", "open_clip", "huggingface_hub", "safetensors"}
TRAINING |= {"ray", "grpc", "optuna", "tensorboardX"}
#: package -> the extra that brings it
EXTRAS = dict.fromkeys(TRAINING, "train") | {"tensorboardX": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
#: option of Ray Tune or Optuna -> what does it here
THEIRS = {
    "--scheduler": "--pruner none|halving|median",
    "--search-alg": "--sampler sobol|random|tpe",
    "--num-samples": "--trials N",
    "--n-trials": "--trials N",
}
MAKE_SPACE = "Make space on the disk that the command writes to, and give it again."


def main() -> None:
    """The console script: a refusal is one sentence and exit code 2, a failed cell exit code 1."""
    clear_bit_variables()
    collect_rarely()
    try:
        for argument in sys.argv[1:]:
            require_utf8(argument)
            option = argument.partition("=")[0]
            if option in THEIRS:
                raise UserError(f"There is no option {option}.", f"Give {THEIRS[option]}.")
        app()
    except UserError as refusal:
        _end("Refused:", refusal.message, refusal.hint, code=2)
    except OSError as error:
        hint = _remedy(error)
        if hint is None:
            raise
        words = f"{error.strerror}."
        if error.filename is not None:
            words = f"'{error.filename}': {words}"
        _end("Refused:", words, hint, code=2)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        words = f"This command needs {package}, which this installation leaves out."
        _end("Refused:", words, f"Install it: pip install 'carft[{EXTRAS[package]}]'", code=2)
    except Diverged as failure:
        _end("The cell failed:", f"{failure}.", code=1)
    except Exception as error:
        kind = failure_kind(error)
        if kind == FailureKind.STORAGE:  # of safetensors, whose errors are no OSError
            _end("Refused:", f"{reason_of(error)}.", MAKE_SPACE, code=2)
        if kind not in (FailureKind.OUT_OF_MEMORY, FailureKind.DEVICE):
            raise
        hint = ""
        if kind == FailureKind.OUT_OF_MEMORY:
            hint = "A sweep computes such a batch in parts. Here give a smaller --batch-size."
        _end("The cell failed:", f"{kind}: {reason_of(error).splitlines()[0]}", hint, code=1)


def _remedy(error: OSError) -> str | None:
    """What to do about an error of a file or a disk; None where it is of neither."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # of a file that is being written, without its name
        return MAKE_SPACE
    if isinstance(error, StorageUnavailable):
        return ""
    if error.filename is not None:
        return "Give another path."
    return None


def _end(head: str, words: str, hint: str = "", *, code: int) -> NoReturn:
    """Say why the command ends, and what to do next; end it with an exit code and without a traceback."""
    err.say(headed(head, f" {words}", "bold red"))
    if hint:
        err.say(hint)
    raise SystemExit(code) from None
