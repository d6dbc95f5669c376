"""`make demo`: a model's way to its users and back, told with the real commands in a temporary
folder.

Nothing is staged: each command is run as it is printed, its output shortened as it comes, and the
demo stops where a command does not end as the story says. The project is the tests' small one
(`tests.project`): two datasets, a base, two stages.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import warm
from tests.conftest import ROOT
from tests.governance.terminal import people_file
from tests.ports import free_port
from tests.project import PROJECT, Done, Project, fresh

MODEL = "support-desk"
PASSWORD = "only for this demo, in this folder"
SHOWN = 14
"""Lines of output that are printed, of each command."""
WIDTH = max(60, min(132, shutil.get_terminal_size((132, 24)).columns))
BOLD, COMMAND, REFUSAL = "1", "36", "33"
PEOPLE = {
    "ada": "policy-owner,ml-lead",
    "ben": "policy-owner,risk",
    "cleo": "release-manager",
}


@dataclass
class Stage:
    """Where the story plays."""

    project: Project
    keys: Path
    began: float
    chapter: int = 0

    def tell(self, title: str, *lines: str) -> None:
        """A chapter begins."""
        self.chapter += 1
        seconds = f"{time.monotonic() - self.began:.0f} s"
        print(f"\n{_styled(f'{self.chapter}. {title}', BOLD)}  ({seconds})")
        print(_wrapped(" ".join(lines), 3))

    def say(self, text: str) -> None:
        """A remark before what follows."""
        print(f"\n{_wrapped(text, 3)}")

    def run(
        self,
        *words: str,
        code: int = 0,
        show: int = SHOWN,
        only: Sequence[str] = (),
        cwd: Path | None = None,
        **environ: str,
    ) -> Done:
        """A command as it is printed, its output as it comes. Ends the demo where it does not end
        with `code`.
        """
        settings = "".join(f"{name}={shlex.quote(value)} " for name, value in environ.items())
        self.command(settings + shlex.join(words))
        lines: list[str] = []
        shown = 0
        program, env = words[0], self.project.env(**environ)
        if warm.SOCKET in os.environ:  # the demo's own test has what commands import already
            program, env = warm.warmed(program, env)
        process = subprocess.Popen(
            [program, *words[1:]],
            cwd=cwd or self.project.root,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        for line in process.stdout:
            lines += [line.rstrip()] if line.strip() else []
            if line.strip() and shown < show and (not only or any(word in line for word in only)):
                print(_wrapped(self._short(line.rstrip()), 5))
                shown += 1
        ended, out = process.wait(), "\n".join(lines)
        if shown < len(lines):
            print(f"     ... ({len(lines)} lines)")
        if ended != code:
            sys.exit(f"demo: this ended with {ended} where {code} was expected:\n{out[-4000:]}")
        if code:
            print(f"     {_styled(f'exit code {code}', REFUSAL)}")
        return Done(ended, out)

    def command(self, text: str) -> None:
        """A command, as one would type it."""
        print("\n" + "\n".join(_styled(line, COMMAND) for line in _typed(f"$ {self._short(text)}")))

    def countersign(self, *words: str, who: str = "", **how: Any) -> Done:
        """`countersign ...`, with a person's key."""
        signed = ("--key", str(self.keys / who), "--yes") if who else ()
        return self.run("countersign", *words, *signed, **how)

    def _short(self, text: str) -> str:
        folder = str(self.project.root.parent)
        return text.replace(f"{folder}/project/", "").replace(folder, "~")


def main() -> None:
    """Tells the story. Ctrl-C ends it, and takes its folder away."""
    try:
        _tell()
    except KeyboardInterrupt:
        sys.exit("\ndemo: stopped; its folder is gone")


def _tell() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="countersign-demo-") as name:
        folder = Path(name).resolve()
        keys = folder / "keys"
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        print(f"A project, its log, its registry and everybody's keys in {folder};")
        print("all of it goes afterwards. What follows a $ is run here and now.")
        stage = Stage(fresh(folder), keys, began)
        people(stage)
        candidate(stage)
        refused(stage)
        approvals(stage)
        promotion(stage)
        tampering(stage)
        another(stage)
        around(stage)
        rollback(stage)
        report(stage)
        print(f"\nTold in {time.monotonic() - began:.0f} s.")


def people(stage: Stage) -> None:
    """Keys, and a first policy that names them."""
    stage.tell(
        "Three people and a service",
        "ada leads the team, ben stands for risk, cleo releases. Each has a key of their own; only"
        " public keys go into",
        "policies/policy.yaml. ada and ben own the policies and sign them, and the log begins with"
        " that: who may do",
        "what is settled before anything runs.",
    )
    stage.keys.mkdir(mode=0o700)
    for name in (*PEOPLE, "ci"):
        command = [
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            name,
            "-f",
            str(stage.keys / name),
        ]
        if not shutil.which("ssh-keygen"):
            _key(stage.keys / name)
        elif name == "ada":
            stage.run(*command)
        else:
            stage.project.run(*command)
    stage.say("(and the same for ben, cleo and the service, ci)")
    people = {name: (str(stage.keys / f"{name}.pub"), roles) for name, roles in PEOPLE.items()}
    services = {"ci": (str(stage.keys / "ci.pub"), "all")}
    named = ["--people", str(people_file(stage.keys / "people.yaml", people, services))]
    stage.project.environ.update(
        COUNTERSIGN_SIGNER=f"file2:{stage.keys / 'ci'}", COUNTERSIGN_REQUESTER="cleo"
    )
    shown = ("wrote", "began", "signed", "entry 0")
    for owner, words in (("ada", named), ("ben", [])):
        key = str(stage.keys / owner)
        stage.run("countersign", "init", *words, "--key", key, "--yes", only=shown)
    stage.project.commit("the first policy")


def candidate(stage: Stage) -> None:
    """The pipeline runs in cleo's name."""
    stage.tell(
        "A candidate",
        "cleo lets the service run in her name, then the pipeline does: ingest, scan, quality,"
        " gates, training,",
        "evaluation, registration. Every stage signs what it did into the log. About a minute:",
    )
    stage.countersign("authorize", "--hours", "8", who="cleo", show=3)
    stage.run("countersign", "repro", only=("candidate", "records", "steps", "allowed"), show=12)


def refused(stage: Stage) -> None:
    """Nobody has looked at it yet."""
    stage.tell(
        "Promotion, refused",
        "A candidate is good for tests. For users it has to be champion: cleo asks for that with"
        " her key, and is told",
        "exactly what lacks, and whose signature. The refusal stands in the log, too.",
    )
    asked = ("promote", f"{MODEL}/1", "--to", "champion", "--reason", "the first release")
    stage.countersign(*asked, who="cleo", code=4)


def approvals(stage: Stage) -> None:
    """Two people in different roles."""
    stage.tell(
        "Two people look at it",
        "Both read the page, which is made from the log alone, then sign that page and the packet"
        " that it shows.",
        "Where anything of it changes, their signatures no longer count.",
    )
    stage.run("countersign", "review", f"{MODEL}/1", "--key", str(stage.keys / "ada"), show=16)
    stage.countersign(
        "approve", f"{MODEL}/1", "--reason", "scores and data are as planned", who="ada"
    )
    stage.run("countersign", "review", f"{MODEL}/1", "--key", str(stage.keys / "ben"), show=2)
    stage.countersign("approve", f"{MODEL}/1", "--reason", "no personal data, low risk", who="ben")


def promotion(stage: Stage) -> None:
    """The open request is taken up again."""
    stage.tell(
        "Promotion",
        "cleo's request is still open. It is decided again on the log as it is now; entry and alias"
        " commit together.",
        "Anybody can make the decision again later, from the log, and see that it comes out the"
        " same.",
    )
    stage.countersign("promote", f"{MODEL}/1", "--to", "champion")
    stage.countersign("live", MODEL)
    stage.countersign("explain", f"{MODEL}/1")


def tampering(stage: Stage) -> None:
    """Below the rules: files and the database."""
    stage.tell(
        "Somebody with root",
        "Who owns the machine can write its files, past every rule. They cannot do it unseen.",
    )
    weights = next(
        (stage.project.home / PROJECT / "artifacts").glob(
            "*/artifacts/model/model/model.safetensors"
        )
    )
    original = weights.read_bytes()
    stage.say("One byte of the champion's weights is another:")
    weights.chmod(0o644)
    weights.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    stage.countersign("verify-model", str(weights.parent), "--against", f"{MODEL}@champion", code=5)
    weights.write_bytes(original)
    stage.say("Put back as it was:")
    stage.countersign("verify-model", str(weights.parent), "--against", f"{MODEL}@champion")
    stage.say("One entry of the log says something else (in a copy of the database):")
    copy = stage.project.root.parent / "copy"
    shutil.copytree(stage.project.home, copy, symlinks=True)
    _edit(copy / PROJECT / "countersign.db")
    stage.countersign("verify", "--no-files", code=5, show=1, COUNTERSIGN_HOME=str(copy))
    shutil.rmtree(copy)


def another(stage: Stage) -> None:
    """Version 2."""
    stage.tell(
        "A new version",
        "A higher learning rate; only what depends on it is made again. Half a minute:",
    )
    stage.project.edit(
        "params.yaml",
        lambda params: params["stages"]["sft"]["trainer"].update(learning_rate=2e-2, max_steps=10),
    )
    stage.project.commit("a higher learning rate")
    stage.run("countersign", "repro", only=("Running stage", "candidate"), show=12)


def around(stage: Stage) -> None:
    """The server's own interface, without a signature."""
    stage.tell(
        "Around it, by the server's own interface",
        "countersign server is MLflow's with rules below every door. Somebody with the"
        " administrator's password",
        "calls version 2 champion, as MLflow's page and client do:",
    )
    with _server(stage) as uri:
        body = json.dumps({"name": MODEL, "alias": "champion", "version": "2"})
        answer = _rest(uri, body)
        stage.command(f"curl -u admin:... {uri}/api/2.0/mlflow/registered-models/alias -d '{body}'")
        status, text = answer
        print(f"     {_styled(f'HTTP {status}', REFUSAL)}")
        for line in text.splitlines()[:SHOWN]:
            print(_wrapped(line, 5))
        if status != 403:
            sys.exit("demo: the server let it through")
    stage.countersign("live", MODEL)


def rollback(stage: Stage) -> None:
    """Version 2 is released properly, and taken back."""
    stage.tell(
        "Version 2 is released, and taken back",
        "Approved, promoted; then its answers turn out to be wrong. One command says where the way"
        " back leads, one",
        "goes it: to the last version that people approved and that still verifies.",
    )
    for who in ("ada", "ben"):
        stage.run("countersign", "review", f"{MODEL}/2", "--key", str(stage.keys / who), show=1)
        stage.countersign(
            "approve",
            f"{MODEL}/2",
            "--reason",
            "better answers",
            who=who,
            only=(f"{who} approved",),
        )
    stage.countersign("promote", f"{MODEL}/2", "--reason", "better answers", who="cleo")
    stage.countersign("incident", "open", f"{MODEL}/2", "--reason", "it invents prices", who="cleo")
    stage.countersign(
        "rollback", MODEL, "--reason", "version 2 invents prices", "--dry-run", who="cleo"
    )
    stage.countersign("rollback", MODEL, "--reason", "version 2 invents prices", who="cleo")
    stage.countersign("live", MODEL)
    stage.countersign("history", MODEL, show=40)


def report(stage: Stage) -> None:
    """What is left to read."""
    stage.tell(
        "What anybody can check afterwards",
        "Every signature, every hash and every decision again, from the first entry; and one page"
        " for who has to",
        "believe it.",
    )
    stage.countersign(
        "verify", only=("EVIDENCE", "log  ", "root  ", "origin", "decided", "registry")
    )
    page = stage.countersign("report", f"{MODEL}/1", only=("version 1", "read:"))
    made, kept = (
        stage.project.root / page.out.rpartition("read: ")[2].strip(),
        ROOT / "reports" / "demo.html",
    )
    kept.parent.mkdir(exist_ok=True)
    shutil.copyfile(made, kept)
    stage.say(f"The report stays when the rest goes; open it in a browser: {kept}")


@contextmanager
def _server(stage: Stage) -> Iterator[str]:
    """`countersign server`, for as long as the block runs."""
    port = free_port()
    stage.command(f"countersign server --port {port} &")
    process = stage.project.start(
        "countersign",
        "server",
        "--port",
        str(port),
        warm=True,
        COUNTERSIGN_ADMIN_PASSWORD=PASSWORD,
    )
    uri = f"http://127.0.0.1:{port}"
    try:
        _wait(uri, process, stage.project.root.parent / "background.log")
        yield uri
    finally:
        process.terminate()
        process.wait(120)


def _wait(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import urllib.request

    for _ in range(3000):
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=10):
                return
        except OSError:
            if process.poll() is not None:
                sys.exit(
                    f"demo: the server did not start:\n{log.read_text(encoding='utf-8')[-3000:]}"
                )
            time.sleep(0.1)
    sys.exit("demo: the server did not answer within five minutes")


def _rest(uri: str, body: str) -> tuple[int, str]:
    """The call that MLflow's client and page make."""
    import base64
    import urllib.error
    import urllib.request

    account = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {account}", "Content-Type": "application/json"}
    address = f"{uri}/api/2.0/mlflow/registered-models/alias"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, body.encode(), headers), timeout=60
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read()).get("message", ""))


def _edit(database: Path) -> None:
    """One byte of one entry, behind the log's back."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        connection.execute("DROP TRIGGER countersign_entry_UPDATE")
        (envelope,) = connection.execute(
            "SELECT envelope FROM countersign_entry WHERE idx = 9"
        ).fetchone()
        changed = envelope.replace(b"A", b"B", 1)
        connection.execute("UPDATE countersign_entry SET envelope = ? WHERE idx = 9", (changed,))


def _key(path: Path) -> None:
    """A key as ssh-keygen writes it, where there is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    openssh, plain = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, openssh, plain))
    path.chmod(0o600)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.with_suffix(".pub").write_bytes(public + b"\n")


def _wrapped(text: str, indent: int) -> str:
    """A line as wide as the terminal lets it be, its own indentation kept."""
    margin = " " * (indent + len(text) - len(text.lstrip()))
    return "\n".join(
        textwrap.wrap(
            text.strip(),
            WIDTH,
            initial_indent=margin,
            subsequent_indent=f"{margin}  " if indent > 3 else margin,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _typed(command: str) -> list[str]:
    """A command that goes on in the next line, as a shell lets it, an option and its value
    together.
    """
    whole = " ".join(part.replace(" ", "\0") for part in re.split(r" (?=-)", command))
    lines = textwrap.wrap(
        whole, WIDTH - 2, initial_indent="   ", subsequent_indent="       ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    return [f"{line} \\".replace("\0", " ") for line in lines[:-1]] + [lines[-1].replace("\0", " ")]


def _styled(text: str, style: str) -> str:
    """With a terminal's colour, where there is a terminal."""
    return f"\033[{style}m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    main()
