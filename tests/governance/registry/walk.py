"""Follows docs/registry.md and docs/people.md to the letter: their blocks, in a shell, on the machine
that each names.

server   the project's folder, log, registry and files; ada begins the log there
ci       a clone of the project, with the key of the service
others   a person's machine: their key, an account; neither checkout nor database
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import ROOT
from tests.governance.registry.place import PASSWORD, Server, wait
from tests.ports import free_port
from tests.project import Project
from tests.warm import warmed

SECTION = "From an empty log to a champion"
ADDRESS = "https://countersign.example.org"
PEOPLE = ("ada", "ben", "cleo", "dora", "rita", "rob")
SERVICES = ("ci", "server")
BLOCK = re.compile(
    r"```(?:console|sh)\n# (?P<who>[^\n]+)\n(?P<lines>.*?)```"
    r"|[Rr]un\s+the\s+blocks\s+of\s+(?P<names>[\w\s]+?)\s+in\s+\[people\.md\]\(people\.md#(?P<anchor>[\w-]+)\)",
    re.DOTALL,
)
START = "countersign server"


def section(page: str, title: str) -> str:
    """The text below a heading of a page of docs/, by its title or its anchor."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        if title in (heading, heading.lower().replace(",", "").replace(" ", "-")):
            return body
    raise AssertionError(f"{page} has no section {title!r}")


def steps() -> Iterator[tuple[str, str]]:
    """Who, and the lines of a shell, in the order of the section."""
    for found in BLOCK.finditer(section("registry.md", SECTION)):
        if found["who"]:
            yield found["who"], found["lines"]
            continue
        wanted = found["names"].replace(" and ", " ").strip()
        for block in BLOCK.finditer(section("people.md", found["anchor"])):
            if block["who"] and (block["who"] == wanted or block["who"] in wanted.split()):
                yield block["who"], block["lines"]


@dataclass
class Walk:
    """The machines, as far as the pages have been followed."""

    folder: Path
    project: Project
    database: str = ""
    """The server's; empty for SQLite in its state folder."""
    said: list[tuple[str, str, str]] = field(default_factory=list)
    """Machine, lines, and what they said."""
    machines: dict[str, Project] = field(default_factory=dict)
    server: Server | None = None
    address: str = ""
    origin: str = ""
    policies: str = ""
    at_desks: bool = False
    """Whether people sit at machines of their own."""

    def follow(self) -> None:
        """Every step."""
        for who, lines in steps():
            self.at_desks |= who == "each person" and "COUNTERSIGN_USER" in lines
            for name in PEOPLE if who == "each person" else (who,):
                if name == "ci" and (lines.startswith("export") and "ci" in self.machines):
                    self._clone()
                if START in lines.splitlines():
                    self._start(lines)
                else:
                    self.run(name, lines)

    def run(self, who: str, lines: str, code: int = 0) -> str:
        """Lines of a shell on a machine; what they said. Variables that they export stay."""
        place, machine = self.folder / "environment", self._machine(who)
        script = f"set -e\n{self._filled(who, lines)}\nenv -0 > {place}\n"
        _, environ = warmed("countersign", machine.env())
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=machine.root,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode == code and "Traceback" not in told, f"{who}: {lines}\n{told}"
        self.said.append((who, lines, told))
        if code == 0:
            after = dict(one.split("=", 1) for one in place.read_text().split("\0") if one)
            exported = re.findall(r"(?:export |\s)(COUNTERSIGN_\w+)=", lines)
            machine.environ.update({name: after[name] for name in exported if name in after})
        self._learn(told)
        return told

    def _machine(self, who: str) -> Project:
        if who not in self.machines:
            root = self.project.root if who == "server" else self.folder / who / "project"
            root.mkdir(parents=True, exist_ok=True)
            home = self.project.home if who == "server" else self.folder / who / "state"
            mine = {"COUNTERSIGN_LOG": self.database} if who == "server" and self.database else {}
            self.machines[who] = Project(root, home, mine)
        machine = self.machines[who]
        if who == "ada" and not self.at_desks and (self.folder / "ada" / ".ssh").exists():
            server = self._machine("server")
            key = {"COUNTERSIGN_KEY": str(self.folder / "ada" / ".ssh" / "id_ed25519")}
            return Project(server.root, server.home, {**server.environ, **key})
        return machine

    def _filled(self, who: str, lines: str) -> str:
        """With what a person replaces, and answers to what ssh-keygen asks."""
        known = {
            ADDRESS: self.address, "HASH": self.origin, "DIGEST": self.policies,
            "'...'": f"'{PASSWORD}'", '"..."': f'"{PASSWORD}"',
            "ssh-keygen -t ed25519 -C ada@laptop":
                "mkdir -p ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519",
        }  # fmt: skip
        for old, new in known.items():
            lines = lines.replace(old, new)
        lines = re.sub(r"\bNAME\b", who, lines)
        if "init --people" in lines:
            self._write_people()
        return lines

    def _write_people(self) -> None:
        (yaml,) = re.findall(r"```yaml\n(.*?)```", section("people.md", "begin"), re.DOTALL)
        (self.project.root / "people.yaml").write_text(yaml, encoding="utf-8")
        keys = {name: self.folder / name / ".ssh" / "id_ed25519.pub" for name in PEOPLE}
        keys |= {name: self._machine(name).home.parent / f"{name}.pub" for name in SERVICES}
        for name, path in keys.items():
            (self.project.root / f"{name}.pub").write_text(path.read_text(), encoding="utf-8")

    def _learn(self, told: str) -> None:
        """The log's first hash and the digest of its policies, from what a command said."""
        for name, pattern in (
            ("origin", r"entry 0.*?([0-9a-f]{64})"),
            ("policies", r"policies.*?([0-9a-f]{12,64})"),
        ):
            found = re.search(pattern, told)
            if found and not getattr(self, name):
                setattr(self, name, found[1])

    def _clone(self) -> None:
        """The project on the machine of the pipeline."""
        root = self._machine("ci").root
        if not (root / ".git").exists():
            self._machine("ci").git("clone", "-q", str(self.project.root), ".")

    def _start(self, lines: str) -> None:
        port = free_port()
        self.run("server", lines.replace(START, ""))
        machine = self._machine("server")
        self.address = f"http://127.0.0.1:{port}"
        process = machine.start("countersign", "server", "--port", str(port), warm=True)
        self.server = Server(self.address, process, machine.root.parent / "background.log")
        wait(self.server)


@contextmanager
def following(walk: Walk) -> Iterator[Walk]:
    """The pages followed from the first block to the last; the server ends with the block."""
    try:
        walk.follow()
        yield walk
    finally:
        if walk.server is not None:
            walk.server.process.terminate()
            walk.server.process.wait(120)
