"""The `countersign` command: a table of names to modules. A module is imported only when its
command is called.

Exit codes: 0 done; 1 internal error; 2 parameters, policies or usage; 3 data file or model folder;
4 refused by a decision; 5 evidence does not verify; 6 log, registry or disk; 7 another run is
active; 8 a download is needed first; 9 training failed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

import click

from governance.base.distribution import VERSION
from governance.base.errors import CountersignError, StorageError, did_you_mean
from governance.base.storage import disk_failure
from pipelines import boot, isolation

COMMANDS: dict[str, str] = {
    "new": "Make a project of your own, which runs at once on sample data.",
    "init": "Begin a governed log: people, services, the first policy.",
    "policy": "Show the policies in force; propose, show and sign a change.",
    "enrol": "Write a person's public key and roles into policy.",
    "rotate": "Replace a key in policy.",
    "revoke": "Revoke a key at once.",
    "checkpoint-key": "Replace the key that signs the log's checkpoints.",
    "pending": "List what waits for you.",
    "freeze": "Freeze a version's evidence for approval.",
    "review": "Show the page that people approve.",
    "approve": "Approve a version; or data, objectives and rewards before training.",
    "reject": "Reject a version, with a reason.",
    "waive": "Accept a finding until a date, with a compensating control.",
    "authorize": "Let services run in your name until a date.",
    "plan": "Show what a run will do and need, and what would refuse it; run nothing.",
    "gate": "Show what the gate of a training stage would decide now.",
    "graph": "Draw the pipeline: which stage reads from which.",
    "repro": "Run the pipeline: `dvc repro`, one run at a time.",
    "reproduce": "Train a stage again: does the same model result, how much do seeds vary.",
    "status": "Show data, models, versions, and what to do next.",
    "add": "Add a dataset from a file: guesses its kind, writes its row and datacard.",
    "agreement": "Show how far raters agree, and which to look at; needs no project.",
    "label": "Let people compare the answers of two models; read their votes as a dataset.",
    "judge": "Show win rates and ratings from judged comparisons; needs no project.",
    "look": "Show what a scan found and what was left out; judge a sample.",
    "scan": "Search any files for personal data, and write treated copies.",
    "allow-base": "Write a base model's digests into policy.",
    "record-key": "Make the project's key for record ids.",
    "verify": "Verify the log and the project's files, or a bundle.",
    "evidence": "Copy statements from one log to another: push, pull.",
    "bundle": "Write all evidence about a version to one file that anyone can verify.",
    "verify-model": "Compare a model folder with its registration.",
    "unpack": "Write the verified files of a version into a folder.",
    "server": "Serve registry, runs and log for a team.",
    "events": "Send what waits for someone to webhooks.",
    "witness": "Cosign the checkpoints of other people's logs.",
    "serve": "Serve the version that holds an alias, and follow the log.",
    "promote": "Give a version an alias that serves users.",
    "rollback": "Give the alias back to the last version that may still serve.",
    "drill": "Rehearse a rollback: verify, load and test its target; move nothing.",
    "retire": "Take a version out of service.",
    "incident": "Open, update or close an incident of a version; show its legal clocks.",
    "intervene": "Log that a person overrode a version in operation, or let an exception pass.",
    "periodic-review": "Sign that a version in use was reviewed and may stay in use.",
    "rollout": "Move traffic to a version in agreed steps; stop where it is worse.",
    "fleet": "Show all projects: what is live, waiting, overdue, under incident.",
    "live": "Show which version serves, now or at a time.",
    "history": "Show what happened to a model: versions, votes, moves, incidents.",
    "explain": "Repeat a logged decision and show its reasons.",
    "report": "Write the audit report of a model version.",
    "control": "Show requirements of outside frameworks and a version's evidence for them.",
    "export": "Write a version for other tools: model card, BOM, Croissant, attestations.",
    "show": "Show one section of a version's report in the terminal.",
    "diff": "Show what differs between two versions.",
    "lineage": "Show where a version comes from: sources, datasets, records.",
    "data": "Show or restore the data and models that a version depends on.",
    "answers": "Show the answers of a model that its evaluation scored.",
    "import-results": "Record results of lm-eval or inspect-ai about a version.",
    "trace": "Show which dataset versions, models and aliases have seen records.",
    "erase": "Erase records on request; show the impact first, and issue a certificate.",
    "retention": "List what ends when: datasets, waivers, erasures.",
    "upgrade": "Show what newer code or engines run again, and write it to the lock.",
    "stage": "Run one stage, as DVC does.",
}
"""Command to its line in the help."""

INTERNAL = frozenset({"ready"})
"""Commands that only other commands call."""

FAMILIES = {
    "approving": ("freeze", "review", "approve", "reject", "waive"),
    "moves": ("promote", "rollback", "retire"),
    "retrospect": ("live", "history", "explain"),
    "rights": ("enrol", "rotate", "revoke", "authorize"),
    "sections": ("show", "diff"),
    "verify": ("verify", "verify-model"),
}
"""Modules of `governance.commands` with several commands. Any other module has one, `command`."""


def _load(name: str) -> click.Command:
    module, attribute = name.replace("-", "_"), "command"
    for family, names in FAMILIES.items():
        if name in names:
            module, attribute = family, f"{module}_command"
    own = importlib.util.find_spec(f"pipelines.commands.{module}")
    package = "pipelines" if own else "governance"
    command: click.Command = getattr(_import(f"{package}.commands.{module}"), attribute)
    return command


def _import(module: str) -> ModuleType:
    """Imports a module without looking for garbage in what modules define, then or later: they
    stay. The search takes a tenth of a short command's time.
    """
    if module in sys.modules or not gc.isenabled():
        return importlib.import_module(module)
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _section(name: str) -> str:
    """For a word that is not a command but a section of the report: how to show that section."""
    from governance.report.sections import SECTIONS  # only where somebody mistyped

    if name not in SECTIONS:
        return ""
    return f"It is a section of the report: countersign show MODEL/VERSION {name}"


class LazyGroup(click.Group):
    """Lists its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _load(cmd_name) if cmd_name in COMMANDS or cmd_name in INTERNAL else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and name not in INTERNAL and not name.startswith("-"):
            advice = _section(name) or did_you_mean(name, COMMANDS).capitalize()
            ctx.fail(f"No such command {name!r}. {advice}".strip())
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, envvar="COUNTERSIGN_DEBUG", help="Show tracebacks.")
@click.version_option(VERSION, prog_name="countersign")
def cli(debug: bool) -> None:
    """Governed post-training: no dataset trains a model, and no model reaches its users, without
    evidence.
    """


def main() -> None:
    """Runs the command. Every error becomes one message and one exit code."""
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # looking for them takes 0.1 s
    debug = "--debug" in sys.argv or _is_set(os.environ.get("COUNTERSIGN_DEBUG", ""))
    try:
        if sys.argv[1:2] == ["stage"] and not boot.installed():
            from pipelines.workers import under_dvc

            under_dvc.serve(sys.argv[1:], os.environ)
        isolation.enter(sys.argv[1:])
        sys.exit(cli.main(standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("stopped", err=True)
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


if __name__ == "__main__":  # `python -m pipelines.cli` is `countersign`
    main()
