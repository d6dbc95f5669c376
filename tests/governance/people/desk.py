"""Commands of people over a governed story: each with their own key file, in the project's folder,
as in a terminal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from governance.base.errors import CountersignError
from governance.commands import session
from pipelines.cli import cli
from tests.governance.governed import Governed, keypair
from tests.governance.terminal import key_file

NAME = "support-desk/1"
WHY = "--reason=read and checked"


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    out: str
    """Both streams."""
    stdout: str
    error: CountersignError | None

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass
class Desk:
    """People at their machines: one home, one project, a key file each."""

    folder: Path
    scene: Governed
    monkeypatch: pytest.MonkeyPatch
    now: datetime | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """The private key file of `name`; `ada2` is ada's second key."""
        folder = self.folder / "keys"
        folder.mkdir(exist_ok=True)
        return key_file(folder, name)

    def public(self, name: str) -> str:
        path = self.folder / "keys" / f"{name}.pub"
        path.parent.mkdir(exist_ok=True)
        path.write_text(keypair(name)[1])
        return str(path)

    def run(
        self, who: str, *arguments: str, home: Path | None = None, text: str | None = None
    ) -> Done:
        """A command as `who`; "" without a key."""
        self.monkeypatch.chdir(self.scene.story.root)
        self.monkeypatch.setattr(session, "clock", lambda: self.now or self.scene.now)
        environ: dict[str, str | None] = {
            "COUNTERSIGN_HOME": str(home or self.folder / "home"),
            **self.environ,
        }
        environ["COUNTERSIGN_KEY"] = self.key(who) if who else None
        result = CliRunner().invoke(cli, list(arguments), env=environ, input=text)
        error = result.exception if isinstance(result.exception, CountersignError) else None
        if (
            result.exception is not None
            and error is None
            and not isinstance(result.exception, SystemExit)
        ):
            raise result.exception
        return Done(
            error.exit_code if error else result.exit_code, result.output, result.stdout, error
        )

    def must(self, who: str, *arguments: str, **how: Any) -> Done:
        done = self.run(who, *arguments, **how)
        assert done.code == 0, f"{done.out}\n{done.error}"
        return done

    def refused(self, who: str, *arguments: str, code: int = 4, **how: Any) -> str:
        """The message of a command that must fail with this exit code."""
        done = self.run(who, *arguments, **how)
        assert done.error is not None, done.out
        assert done.code == code, str(done.error)
        return str(done.error)

    def reads(self, *people: str) -> None:
        """Each freezes the version where that is due, and opens its review page."""
        for who in people:
            self.must(who, "freeze", NAME)
            self.must(who, "review", NAME)

    def entries(self) -> int:
        return self.scene.story.log.size()


def desk(folder: Path, scene: Governed, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(folder, scene, monkeypatch)
