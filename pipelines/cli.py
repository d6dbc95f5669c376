"""The `countersign` command: a table of names to modules. A module is imported only when its
command is called.

Exit codes: 0 done; 1 internal error; 2 parameters, policies or usage; 3 data file or model folder;
4 refused by a decision; 5 evidence does not verify; 6 log, registry or disk; 7 another run is
active; 8 a download is needed first; 9 training failed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from pathlib import Path

import click

from governance.base.errors import CountersignError, StorageError, did_you_mean
from governance.base.storage import disk_failure

COMMANDS: dict[str, tuple[str, str]] = {
    "init": (
        "governance.commands.init",
        "Begin a governed log: people, services, the first policy.",
    ),
    "policy": (
        "governance.commands.policy",
        "Policies in force and proposed; propose, show, sign.",
    ),
    "enrol": ("governance.commands.enrol", "Write somebody's public key and roles into policy."),
    "rotate": ("governance.commands.rotate", "Write another key of somebody into policy."),
    "revoke": ("governance.commands.revoke", "Revoke a key at once."),
    "checkpoint-key": (
        "governance.commands.checkpoint_key",
        "Replace the key that signs the log's checkpoints.",
    ),
    "pending": ("governance.commands.pending", "What waits for me, and why."),
    "freeze": ("governance.commands.freeze", "Freeze a version's evidence for approval."),
    "review": ("governance.commands.review", "Show the page that people approve."),
    "approve": (
        "governance.commands.approve",
        "Approve a version; or data, objectives and rewards before training.",
    ),
    "reject": ("governance.commands.reject", "Reject a version, with a reason."),
    "waive": (
        "governance.commands.waive",
        "Accept a finding until a date, with a compensating control.",
    ),
    "authorize": ("governance.commands.authorize", "Let services run in your name for a while."),
    "repro": ("pipelines.commands.repro", "Run the pipeline: `dvc repro`, one run at a time."),
    "reproduce": (
        "pipelines.commands.reproduce",
        "Train a stage again, and record whether the same comes out.",
    ),
    "status": ("governance.commands.status", "What there is, what is live, what waits."),
    "add": (
        "pipelines.commands.add",
        "Add a dataset from a file: guesses its kind, writes its row and datacard.",
    ),
    "allow-base": ("pipelines.commands.allow_base", "Write a base model's digests into policy."),
    "record-key": ("pipelines.commands.record_key", "Make the project's key for record ids."),
    "verify": (
        "governance.commands.verify",
        "Check the log, and the files at hand against it; or a bundle.",
    ),
    "evidence": (
        "governance.commands.evidence",
        "Carry statements from one log to another: push, pull.",
    ),
    "bundle": (
        "governance.commands.bundle",
        "Everything about a version in one file that anyone can check.",
    ),
    "verify-model": (
        "governance.commands.verify_model",
        "Check a model folder against its registration.",
    ),
    "server": ("governance.commands.server", "Serve registry, runs and log for a team."),
    "promote": ("governance.commands.promote", "Give a version an alias that serves users."),
    "rollback": (
        "governance.commands.rollback",
        "Give the alias back to the last version that still stands.",
    ),
    "drill": (
        "pipelines.commands.drill",
        "Rehearse the rollback: verify, load and ask its target; move nothing.",
    ),
    "retire": ("governance.commands.retire", "Take a version out of service."),
    "incident": (
        "governance.commands.incident",
        "Open or close an incident on a version.",
    ),
    "live": ("governance.commands.live", "Which version serves, now or at a time."),
    "history": ("governance.commands.history", "Everything the log says about a model."),
    "explain": (
        "governance.commands.explain",
        "Perform a logged decision again, and say why it came out so.",
    ),
    "report": ("governance.commands.report", "The audit report of a model version."),
    "control": (
        "governance.commands.control",
        "What outside frameworks ask, and what a version has for it.",
    ),
    "export": (
        "governance.commands.export",
        "A version for other tools: model card, BOM, Croissant, attestations.",
    ),
    "show": ("governance.commands.show", "One section of a version's report, in the terminal."),
    "diff": ("governance.commands.diff", "What differs between two versions."),
    "lineage": ("governance.commands.lineage", "Where a version comes from, source by source."),
    "erasure": ("pipelines.commands.erasure", "Which datasets and versions have seen a record."),
    "versions": ("pipelines.commands.versions", "The engine versions that results depend on."),
    "stage": ("pipelines.commands.stage", "Run one stage, as DVC does."),
}
"""Command to its module and its line in the help."""


def _section(name: str) -> str:
    """For a word that is not a command but a section of the report: how to show that section."""
    from governance.report.sections import ALSO, SECTIONS  # only where somebody mistyped

    section = ALSO.get(name, name)
    return (
        f"The report answers that: countersign show MODEL/VERSION {section}"
        if section in SECTIONS
        else ""
    )


class LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            ctx.fail(
                " ".join(
                    (
                        f"No such command {name!r}.",
                        _section(name) or did_you_mean(name, COMMANDS).capitalize(),
                    )
                ).strip()
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="COUNTERSIGN_DEBUG", help="Show tracebacks.")
@click.version_option(package_name="countersign")
def cli(debug: bool) -> None:
    """Governed post-training: no dataset trains a model, and no model reaches its users, without
    evidence.
    """


def main() -> None:
    """Runs the command. Every error becomes one message and one exit code."""
    debug = "--debug" in sys.argv or _is_set(os.environ.get("COUNTERSIGN_DEBUG", ""))
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("stopped: nothing further was done", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Exception as error:  # noqa: BLE001 - every error ends in one message and its exit code
        if debug:
            traceback.print_exc()
        if not isinstance(error, CountersignError):
            error = disk_failure(error) or _unforeseen(error)
        _fail(str(error), error.exit_code)


def _is_set(value: str) -> bool:
    """A switch in the environment, read as click reads one."""
    return value.strip().lower() in ("1", "true", "t", "yes", "y", "on")


def _fail(message: str, code: int) -> None:
    """Prints the error and exits. Paths in the working folder are shortened. Control characters in
    quoted text (a reason, a server's answer) are made visible.

    DVC replaces every exit code by its own, so a stage writes its code to a file for `countersign
    repro`.
    """
    from governance.base.text import visible

    click.echo(visible(f"error: {message.replace(f'{Path.cwd()}/', '')}"), err=True)
    if path := os.environ.get("COUNTERSIGN_EXIT_FILE"):
        with contextlib.suppress(OSError):
            Path(path).write_text(str(code), encoding="ascii")
    sys.exit(code)


def _unforeseen(error: Exception) -> CountersignError:
    """A system error, or an internal error with its place. Its message is left out, because it may
    quote a record.
    """
    if isinstance(error, OSError):
        return StorageError(error.strerror or type(error).__name__, where=str(error.filename or ""))
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "unknown place"
    found = f"internal error: {type(error).__name__} at {place}"
    return CountersignError(found, fix="run again with COUNTERSIGN_DEBUG=1 for the traceback")
