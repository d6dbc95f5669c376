"""A team with one governed server: machines that share nothing but its address.

server   keeps log, registry and files, and signs moves with a key of its own
ci       runs the pipeline with a service's key, in the name of a person
desk     a person's machine: their key, the project's name, an account; neither checkout nor
         database
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.governance.governed import keypair
from tests.governance.registry.place import PASSWORD, Server, wait
from tests.governance.terminal import people_file
from tests.ports import free_port
from tests.project import PROJECT, Done, Project, fresh

PEOPLE = {"ada": "policy-owner,ml-lead", "ben": "policy-owner,risk", "cleo": "release-manager"}
SERVICES = {
    "ci": "ingest,scan,quality,base,gate,train,evaluate,registration,candidate,drill,reproduction",
    "server": "promotion",
}


@dataclass
class Team:
    """Their machines. Every command has to end with the exit code that is expected."""

    folder: Path
    log: str = ""
    """The server's database; empty for SQLite in its state folder."""
    origin: str = ""
    account: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def server(self) -> Project:
        more = {"COUNTERSIGN_LOG": self.log} if self.log else {}
        return self._machine(
            "server", "ci/project", **more, COUNTERSIGN_SIGNER=f"file2:{self.keys / 'server'}"
        )

    @property
    def ci(self) -> Project:
        signer = f"file2:{self.keys / 'ci'}"
        return self._machine(
            "ci",
            **{**self.account, **({"COUNTERSIGN_USER": "ci"} if self.account else {})},
            COUNTERSIGN_SIGNER=signer,
            COUNTERSIGN_REQUESTER="cleo",
        )

    @property
    def desk(self) -> Project:
        return self._machine("desk", **self.account, COUNTERSIGN_PROJECT=PROJECT)

    def clone(self) -> Project:
        """Another checkout, on a machine of its own."""
        other = self._machine("clone", **self.ci.environ)
        if not (other.root / ".git").exists():
            other.git("clone", "-q", str(self.ci.root), ".")
        return other

    def says(self, *words: str, who: str = "", code: int = 0, on: Project | None = None) -> str:
        """`countersign ...` on the desk, or another machine; what it said."""
        signed = ("--key", str(self.keys / who)) if who else ()
        why = ("--reason", "because") if words[0] == "promote" else ()
        done = (on or self.desk).countersign(*words, *why, *signed)
        assert done.code == code and "Traceback" not in done.out, (
            f"{words}: exit code {done.code}\n{done.out}"
        )
        return done.out

    def approve(self, version: str) -> None:
        """Both who may, each having read the page."""
        for who in ("ada", "ben"):
            self.says("freeze", version, "--yes", who=who)
            self.says("review", version, who=who)
            self.says("approve", version, "--reason", "read and checked", "--yes", who=who)

    def _machine(self, name: str, root: str = "", **environ: str) -> Project:
        machine = Project(
            self.folder / (root or f"{name}/project"), self.folder / name / "state", environ
        )
        machine.root.mkdir(parents=True, exist_ok=True)
        return machine


def begun(folder: Path, log: str = "") -> Team:
    """Keys, a first policy that its owners signed, and a log that begins with it."""
    team = Team(folder, log)
    team.keys.mkdir(parents=True)
    for name in (*PEOPLE, *SERVICES):
        private, public = keypair(name)
        (team.keys / name).write_bytes(private)
        (team.keys / name).chmod(0o600)
        (team.keys / f"{name}.pub").write_text(public, encoding="utf-8")
    project = fresh(folder / "ci")
    people, services = (
        {name: (str(team.keys / f"{name}.pub"), rights) for name, rights in table.items()}
        for table in (PEOPLE, SERVICES)
    )
    words = ["--people", str(people_file(folder / "people.yaml", people, services))]
    team.says("init", *words, "--key", str(team.keys / "ada"), "--yes", on=team.server)
    told = team.says("init", "--key", str(team.keys / "ben"), "--yes", on=team.server)
    team.origin = next(line.split()[-1] for line in told.splitlines() if line.startswith("entry 0"))
    project.commit("the first policy")
    return team


@contextmanager
def serving(team: Team, *more: str) -> Iterator[Server]:
    """`countersign server` on the server's machine, and everybody's account there."""
    port = free_port()
    words = ["countersign", "server", "--port", str(port), *more]
    process = team.server.start(*words, warm=True, COUNTERSIGN_ADMIN_PASSWORD=PASSWORD)
    server = Server(f"http://127.0.0.1:{port}", process, team.server.root.parent / "background.log")
    try:
        wait(server)
        server.post("users/create", username="ci", password=PASSWORD)  # named as its service
        team.account = {
            "COUNTERSIGN_LOG": server.uri,
            "COUNTERSIGN_ORIGIN": team.origin,
            "COUNTERSIGN_USER": server.user,
            "COUNTERSIGN_PASSWORD": PASSWORD,
        }
        yield server
    finally:
        process.terminate()
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()


__all__ = ["Done", "Team", "begun", "serving"]
