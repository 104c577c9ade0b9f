"""The command group: finds commands by name, sets up logging, shows what goes wrong as one line."""

from __future__ import annotations

import difflib
import errno
import importlib
import keyword
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from handgen.storage import limits

# In the order of a project's life. Each lives in `handgen.cli.<name>` (`import_` of import) and is imported only when
# it is called for.
COMMANDS = {
    "demo": "Render a small capture, annotate it and make shards: everything, in minutes.",
    "models": "Fetch the keypoint networks, add MANO's hands, list both.",
    "inspect": "Say what a capture, annotations or shards directory holds.",
    "annotate": "Calibrated videos -> 3D hands, masks and cutouts.",
    "import": "A data set (FreiHAND, HanCo, InterHand2.6M) -> annotations.",
    "synthesize": "Annotations -> composited, augmented WebDataset shards.",
    "export": "Shards or annotations -> the files of HaMeR, FreiHAND, COCO or InterHand2.6M.",
    "validate": "Is a data set, a capture or a calibration whole, and do its labels mean what they should?",
    "simulate": "Render a capture with known truth.",
    "evaluate": "Annotations against truth: millimetres, pixels, masks, missing and false hands.",
}
# What a command that was interrupted leaves, so that the same command goes on from there.
_KEPT = {
    "demo": "what is finished is kept",
    "annotate": "finished chunks are kept",
    "import": "finished chunks are kept",
    "simulate": "finished chunks are kept",
    "synthesize": "finished shards are kept",
    "export": "finished parts are kept",
}
_LONGEST = 4000  # characters of a message
_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ELOOP, errno.EIO, errno.ESTALE)
# What libraries say that raise something other than MemoryError; loading one of them wants memory, too.
_NO_MEMORY = ("allocate memory", "enough memory", "out of memory", "insufficient memory", "failed to map segment",
              "can't start new thread")  # fmt: skip
_REFUSALS = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL)  # of a store: what to set up, not to wait for


class HandgenGroup(click.Group):
    """Loads commands when needed; what a user can mend becomes one line, anything else keeps its traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of one command."""
        if cmd_name not in COMMANDS:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        return _add_common_options(getattr(importlib.import_module(f"handgen.cli.{name}"), name))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; one that is misspelt is wrong usage, which names the nearest."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0].lower(), COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(COMMANDS)}"
            ctx.fail(f"no such command {args[0]!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options before the command; plug-ins are imported here."""
        _prepare_streams()
        with _interruptible(None), _one_line(None):
            limits.check_environment()
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Translate errors in one place."""
        with _interruptible(ctx), _one_line(ctx):
            return super().invoke(ctx)


@contextmanager
def _one_line(ctx: click.Context | None) -> Iterator[None]:
    """Turn errors that a user can mend into one line; what else fails keeps its traceback."""
    from handgen.errors import HandgenError
    from handgen.wording import printable

    try:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                where = error.filename or "standard output, the output directory or TMPDIR"
                raise HandgenError(f"{where}: cannot be written ({error.strerror}){_kept(ctx)}; make room") from error
            if "temporary directory" in str(error):
                raise HandgenError("no folder for temporary files can be written; set TMPDIR to one") from error
            if error.errno in _TOO_MANY:
                hint = "raise the limit (ulimit -n), or give fewer --workers"
                which = f" ({error.filename})" if error.filename else ""
                raise HandgenError(f"too many files are open{which}{_kept(ctx)}; {hint}") from error
            if error.errno in _REFUSED and error.filename is not None and "://" not in str(error.filename):
                hint = "correct its permissions or name, or the disk, and run again"
                raise HandgenError(f"{os.fsdecode(error.filename)}: {error.strerror}{_kept(ctx)}; {hint}") from error
            if "://" not in str(error.filename):
                raise
            hint = "see docs/storage.md" if error.errno in _REFUSALS else "run it again when the store answers"
            raise HandgenError(f"{error.filename}: {error.strerror}; {hint}") from error
    except HandgenError as error:
        raise click.ClickException(_shortened(printable(str(error)))) from error
    except click.ClickException as error:
        error.message = _shortened(printable(error.message))  # type: ignore[misc,unused-ignore]
        raise
    except Exception as error:
        if not _wants_memory(error):
            raise
        raise click.ClickException(f"there is not enough memory{_kept(ctx)}; give fewer --workers") from error


def _shortened(message: str) -> str:
    """Leave out the middle of a message that quotes megabytes of a file; its ends say what and what to do."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"


def _wants_memory(error: Exception) -> bool:
    """Tell whether an exception is for want of memory; libraries raise several kinds."""
    if isinstance(error, click.exceptions.Exit | click.Abort):
        return False
    number = error.errno if isinstance(error, OSError) else None
    text = str(error).lower()
    return isinstance(error, MemoryError) or number == errno.ENOMEM or any(words in text for words in _NO_MEMORY)


class _Terminated(KeyboardInterrupt):
    """The process is asked to end by SIGTERM: everything is cleared up as after Ctrl-C."""


@contextmanager
def _interruptible(ctx: click.Context | None) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into one line, which says what is kept, and the exit status that shells expect."""
    in_main = threading.current_thread() is threading.main_thread()
    on_term = signal.getsignal(signal.SIGTERM) if in_main else None
    takes_over = on_term is signal.SIG_DFL  # else somebody else decides what it does
    if takes_over:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt as error:
        number = signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT
        if in_main:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second one would end the message
        if takes_over:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kept, what = _kept(ctx), "Interrupted" if number == signal.SIGINT else "Terminated"
        with suppress(OSError):
            click.echo(what + (f"{kept}; run the same command again to go on" if kept else ""), err=True)
        raise SystemExit(128 + number) from None
    finally:
        if takes_over:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: object) -> None:
    raise _Terminated


def _kept(ctx: click.Context | None) -> str:
    """Say what a command leaves that does not get to its end, as the rest of a sentence."""
    kept = _KEPT.get(ctx.invoked_subcommand or "") if ctx else None
    return f": {kept}" if kept else ""


class _StderrHandler(logging.Handler):
    """Writes to what standard error is at the moment: a progress bar that is shown replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        from handgen.wording import printable

        text = self.format(record)
        lines = text.split("\n") if record.exc_info or record.stack_info else [text]
        with suppress(OSError, ValueError):  # nobody reads it any more
            print("\n".join(map(printable, lines)), file=sys.stderr)


def _set_up_logging(ctx: click.Context, param: click.Parameter, value: int) -> None:
    """Log and print as much as -v and --quiet ask for, before the command's name and after it."""
    ctx.meta[f"handgen.{param.name}"] = ctx.meta.get(f"handgen.{param.name}", 0) + value
    verbose, quiet = (ctx.meta.get(f"handgen.{name}", 0) for name in ("verbose", "quiet"))
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet contradict each other; give one of them", ctx)
    root, ours = logging.getLogger(), logging.getLogger("handgen")
    handler = next((one for one in root.handlers if isinstance(one, _StderrHandler)), None) or _StderrHandler()
    form = "%(asctime)s %(levelname).1s %(name)s: %(message)s" if verbose else "%(levelname)s: %(message)s"
    handler.setFormatter(logging.Formatter(form, "%H:%M:%S"))
    root.addHandler(handler)
    root.setLevel(logging.ERROR if quiet else logging.INFO if verbose else logging.WARNING)
    ours.setLevel(logging.DEBUG if verbose > 1 else logging.NOTSET)  # not the details of other libraries


def _add_common_options(command: click.Command) -> click.Command:
    """Add -v and --quiet to a command and to those below it."""
    if not any(each.name == "quiet" for each in command.params):
        more: dict[str, Any] = {"expose_value": False, "callback": _set_up_logging}
        command.params += [
            click.Option(["-v", "--verbose"], count=True, help="Log what happens (-v), and details (-vv).", **more),
            click.Option(["-q", "--quiet"], is_flag=True, help="Print errors only, and --json.", **more),
        ]
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _add_common_options(below)
    return command


def _prepare_streams() -> None:
    """Make standard streams usable that are closed, or cannot show all characters."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the number; else the next file would, and get what others print
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115  as long as the process
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@click.group(cls=HandgenGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="handgen")
@click.option("--plugin", "plugins", multiple=True, metavar="MODULE", is_eager=True, expose_value=False,
              callback=lambda ctx, param, modules: _prepare(modules),
              help="Import a module that adds detectors, calibration formats, metrics, ...; see docs/contributing.md. "
              "May be repeated; HANDGEN_PLUGINS=one,two does the same.")  # fmt: skip
def main() -> None:
    """Training sets for hand-pose estimation from calibrated multi-camera video; nobody labels anything.

    \b
    handgen demo OUT                                         try it: no cameras, no licensed files
    handgen inspect CAPTURE                                  is the calibration understood?
    handgen annotate CAPTURE --out ANNOTATIONS               find, fit and cut out the hands
    handgen synthesize ANNOTATIONS --backgrounds DIR --out SHARDS

    Exit status: 0 success, 1 something to fix in the input, 2 wrong usage, 130 interrupted, 143 terminated.
    """


def _prepare(modules: tuple[str, ...]) -> None:
    """Load plug-ins, so that the commands have their options; numbers are pinned before any library is loaded."""
    from handgen.errors import HandgenError
    from handgen.plugins import load_plugins
    from handgen.runtime import reproducibility

    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network when imported
    reproducibility.pin()
    try:
        load_plugins(modules)
    except HandgenError as error:
        raise click.ClickException(str(error)) from error


_add_common_options(main)

if __name__ == "__main__":
    main()
