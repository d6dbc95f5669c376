"""Every client of a log, shown a history that was forged with all of the operator's keys. A client
that has the policy refuses it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from governance.attest.keys import Signer
from governance.base.errors import CountersignError
from governance.log.notes import cosignature, parse_note
from governance.log.sqlite import SqliteLog
from governance.witness.book import vkey
from pipelines.cli import cli
from pipelines.loader import load
from tests.governance.bundles import made
from tests.governance.forged import forge
from tests.governance.governed import keypair
from tests.governance.keys import stranger
from tests.governance.served import ACCOUNT, PASSWORD, serving
from tests.governance.story import MODEL
from tests.governance.witness.changed import put_in_force, with_one_witness, without_witnesses
from tests.governance.witness.worlds import NAMES, ONE, TWO, Witnessed, forged, world

REFUSED = "too few witnesses have cosigned this log"
HOURS = 3600
WITNESSES = ((NAMES[0], ONE), (NAMES[1], TWO))
FORGER = ("forger.example/w1", stranger(81))


# -- Histories -------------------------------------------------------------------------------------


@dataclass
class Operator:
    """Has all keys of a log. Two witnesses have seen the true one."""

    here: Witnessed
    folder: Path
    size: int
    """Entries that every history has; the registration of version 1 is among them."""
    early: str
    """The checkpoint of these entries."""

    @property
    def log(self) -> SqliteLog:
        """The true log."""
        return self.here.log

    def forged(self) -> SqliteLog:
        """Another history, in which version 1 is champion."""
        log = forged(self.here, self.folder, self.size)
        scene = self.here.scene
        forge(replace(scene, story=replace(scene.story, log=log)), "1")
        return log


def cosign(
    log: SqliteLog,
    note: str,
    seconds: float = 0,
    witnesses: tuple[tuple[str, Signer], ...] = WITNESSES,
) -> None:
    """These witnesses saw this checkpoint at that time from now."""
    for name, signer in witnesses:
        at = int(time.time() + seconds)
        text = note + cosignature(parse_note(note), name, signer, at)
        log.keep_cosigned(f"{name} {at}", parse_note(note).size, text)


def by_the_operator(operator: Operator) -> SqliteLog:
    log = operator.forged()
    cosign(log, operator.log.checkpoint())  # of the true log: it shows nothing about this one
    return log


def after_an_old_checkpoint(operator: Operator) -> SqliteLog:
    """The witnesses saw how it begins, longer ago than the grace period."""
    log = operator.forged()
    cosign(log, operator.early, -25 * HOURS)
    return log


def with_the_owners_keys(operator: Operator) -> SqliteLog:
    """Its policies ask for no witness."""
    log = operator.forged()
    put_in_force(operator.here.scene, log, without_witnesses(operator.here.scene))
    return log


def with_a_witness_of_its_own(operator: Operator) -> SqliteLog:
    log = operator.forged()
    changed = with_one_witness(operator.here.scene, "https://x.example", str(vkey(*FORGER)))
    put_in_force(operator.here.scene, log, changed)
    cosign(log, log.checkpoint(), witnesses=(FORGER,))
    return log


HISTORIES: dict[str, Callable[[Operator], SqliteLog]] = {
    each.__name__: each
    for each in (
        by_the_operator,
        after_an_old_checkpoint,
        with_the_owners_keys,
        with_a_witness_of_its_own,
    )
}


@contextmanager
def operating(folder: Path) -> Iterator[Operator]:
    with world(folder / "world") as here:
        size, early = here.log.head()
        here.scene.asked_for()
        cosign(here.log, here.log.checkpoint())
        yield Operator(here, folder, size, early)


# -- Clients ---------------------------------------------------------------------------------------

REASON = ("--reason", "because", "--yes")
COMMANDS: dict[str, tuple[str, ...]] = {
    "verify": ("verify", "--no-files"),
    "verify-model": ("verify-model", "models/sft/model", "--against", f"{MODEL}@champion"),
    "verify-model --quick": (
        *("verify-model", "models/sft/model", "--against", f"{MODEL}/1"),
        "--quick",
    ),
    "unpack": ("unpack", f"countersign://{MODEL}@champion", "unpacked"),
    "live": ("live", MODEL),
    "history": ("history", MODEL),
    "explain": ("explain", f"{MODEL}/1"),
    "report": ("report", f"{MODEL}/1", "-o", "made"),
    "show": ("show", f"{MODEL}/1"),
    "export": ("export", f"{MODEL}/1", "model-card"),
    "promote": ("promote", f"{MODEL}/1", *REASON),
    "freeze": ("freeze", f"{MODEL}/1", "--yes"),
    "approve": ("approve", f"{MODEL}/1", *REASON),
    "waive": (
        *("waive", f"{MODEL}/1", "--finding", "X", "--control", "y", "--owner", "z"),
        *("--days", "1", *REASON),
    ),
    "incident close": ("incident", "close", f"{MODEL}/1", *REASON, "--effective", "none of 9"),
    "periodic-review": ("periodic-review", f"{MODEL}/1", *REASON),
    "verify FILE": ("verify", "bundle.json"),
    "live --bundle": ("live", MODEL, "--bundle", "bundle.json"),
    "report --bundle": ("show", f"{MODEL}/1", "--bundle", "bundle.json"),
    "verify-model --bundle": (
        *("verify-model", "models/sft/model", "--against", f"{MODEL}/1"),
        *("--bundle", "bundle.json"),
    ),
}
"""The commands that read a log or a bundle, or by which people let something pass."""
FREE = {
    "rollback": ("rollback", MODEL, *REASON),
    "retire": ("retire", f"{MODEL}/1", *REASON),
    "incident": ("incident", "open", f"{MODEL}/1", *REASON),
    "revoke": ("revoke", "ada", *REASON),
    "reject": ("reject", f"{MODEL}/1", *REASON),
    "policy sign": ("policy", "sign", *REASON),
}
"""What waits for no witness."""


@dataclass
class Client:
    """A machine that has the policy and the pinned origin, and reads one history from a server."""

    operator: Operator
    home: Path
    url: str
    origin: str
    bundle: bytes

    def run(self, name: str, patch: pytest.MonkeyPatch) -> str:
        """What a command prints, and its exit code."""
        root = self.operator.here.scene.story.root
        (root / "bundle.json").write_bytes(self.bundle)
        key = self.home.with_suffix(".pem")
        key.write_bytes(keypair("ada")[0])
        environ = {
            "COUNTERSIGN_HOME": str(self.home),
            "COUNTERSIGN_LOG": self.url,
            "COUNTERSIGN_USER": ACCOUNT,
            "COUNTERSIGN_PASSWORD": PASSWORD,
            "COUNTERSIGN_ORIGIN": self.origin,
            "COUNTERSIGN_KEY": str(key),
        }
        patch.chdir(root)
        for variable, value in environ.items():
            patch.setenv(variable, value)
        if name == "loader":
            with pytest.raises(CountersignError) as refused:
                load(f"{MODEL}@champion")
            return f"{refused.value}\nexit code {refused.value.exit_code}"
        done = CliRunner().invoke(cli, {**COMMANDS, **FREE}[name])
        error = done.exception
        code = error.exit_code if isinstance(error, CountersignError) else done.exit_code
        return f"{done.output}{error}\nexit code {code}"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """A client for each forged history, and one for the true one."""
    with operating(tmp_path_factory.mktemp("operator")) as operator, ExitStack() as stack:
        logs = {"": operator.log}
        for name, forge_history in HISTORIES.items():
            folder = operator.folder / name
            folder.mkdir()
            logs[name] = forge_history(replace(operator, folder=folder))
        origin = operator.log.entry(0).leaf_hash.hex()
        found = {}
        for name, log in logs.items():
            url = stack.enter_context(serving(log)).url
            home = operator.folder / f"client-{name}"
            found[name] = Client(operator, home, url, origin, made(log))
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", [*COMMANDS, "loader"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_client_that_has_the_policy_refuses_a_forged_history(
    history: str, name: str, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = clients[history].run(name, monkeypatch)
    assert REFUSED in said and said.endswith("exit code 5"), said


@pytest.mark.parametrize("name", [*COMMANDS, "loader"])
def test_the_true_history_is_not_refused_for_want_of_witnesses(
    name: str, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REFUSED not in clients[""].run(name, monkeypatch)


@pytest.mark.parametrize("name", [*COMMANDS, "loader"])
def test_a_client_whose_policies_cannot_be_read_requires_no_less(
    name: str, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients["with_the_owners_keys"]
    path = client.operator.here.scene.story.root / "policies" / "policy.yaml"
    text = path.read_text()
    path.write_text(f"{text}\nno_such_rule: 1\n")
    try:
        said = client.run(name, monkeypatch)
    finally:
        path.write_text(text)
    assert "no_such_rule" in said and said.endswith("exit code 2"), said


@pytest.mark.parametrize("name", FREE)
def test_what_stops_something_waits_for_no_witness(
    name: str, clients: dict[str, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REFUSED not in clients["by_the_operator"].run(name, monkeypatch)
