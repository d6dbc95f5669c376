"""The configuration of receivers: what it accepts, and clear errors that quote no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from governance.base.errors import ConfigError, Problems
from governance.events.receivers import FILE, path_of, receivers
from governance.machine.machine import Machine, machine
from tests.governance.events.receiving import KEY, SECRET

TOKEN = "T00-B00-verysecret"
URL = f"https://hooks.example.org/{TOKEN}"


def configured(folder: Path, text: str, **environ: str) -> Machine:
    here = machine("desk", {"COUNTERSIGN_HOME": str(folder), "SECRET": SECRET, **environ})
    path_of(here).parent.mkdir(parents=True, exist_ok=True)
    path_of(here).write_text(text, encoding="utf-8")
    return here


def row(**fields: str) -> str:
    values = {"url": "https://hooks.example.org/x", "secret": "env:SECRET", **fields}
    return "receivers:\n  chat:\n" + "".join(f"    {key}: {it}\n" for key, it in values.items())


def test_what_a_file_says(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    (tmp_path / "secret").chmod(0o600)
    text = row(url="env:URL", secret="file:../secret", events='["incident.*", approval.wanted]')
    here = configured(tmp_path, f"server: https://models.example.org/desk\n{text}", URL=URL)
    found = receivers(here)
    (chat,) = found.all
    assert (chat.url, chat.secrets, chat.since) == (URL, (KEY,), None)
    assert chat.wants("incident.opened") and not chat.wants("clock.due")
    assert found.server == "https://models.example.org/desk"
    assert found.named("chat") is chat
    for shown in (repr(found), repr(chat), chat.host):
        assert TOKEN not in shown and SECRET not in shown and str(KEY) not in shown


def test_links_lead_to_the_server_of_the_log(tmp_path: Path) -> None:
    log = "https://models.example.org/desk"
    assert receivers(configured(tmp_path, row(since="0"), COUNTERSIGN_LOG=log)).server == log
    assert receivers(configured(tmp_path, row())).server is None


def test_another_file_is_named_by_a_variable(tmp_path: Path) -> None:
    here = configured(tmp_path, row(), COUNTERSIGN_EVENTS=str(tmp_path / "other.yaml"))
    assert path_of(here) == tmp_path / "other.yaml" and receivers(here).all
    without = machine("none", {"COUNTERSIGN_HOME": str(tmp_path)})
    assert path_of(without) == tmp_path / "none" / FILE
    with pytest.raises(ConfigError, match="no receivers are configured"):
        receivers(without)


WRONG = {
    "a secret in the file": (row(secret=SECRET), "chat.secret: the secret stands in this file"),
    "a variable that is not set": (row(secret="env:NONE"), "the variable NONE is not set"),
    "no file": (row(secret="file:none"), "none cannot be read: FileNotFoundError"),
    "a file for all": (row(secret="file:open"), "other accounts can read or write"),
    "an empty file": (row(secret="file:empty"), "is empty"),
    "no secret": (row(secret="env:URL"), "not a secret"),
    "a short secret": (row(secret="env:SHORT"), "the secret has 3 bytes"),
    "without TLS": (row(url="http://hooks.example.org"), "unencrypted to hooks.example.org"),
    "no address": (row(url=f"ftp://{TOKEN}"), "not the address of a receiver"),
    "an account": (row(url=f"https://a:{TOKEN}@h.example"), "not the address of a receiver"),
    "a bad port": (row(url=f"https://h.example:{TOKEN}"), "not the address of a receiver"),
    "an unknown type": (row(events="[incident.open]"), "did you mean 'incident.opened'?"),
    "a pattern for nothing": (row(events="['rollout.*x']"), "no event is a 'rollout.*x'"),
    "a negative entry": (row(since="-1"), "-1 is no entry"),
    "an unknown key": (row(retries="3"), "retries"),
    "no receivers": ("receivers: {}\n", "receivers"),
    "no YAML": ("receivers: [\n", "expected: valid YAML"),
    "a bad server": (f"server: http://x.example\n{row()}", "unencrypted to x.example"),
    "a server's query": (f"server: https://x.example/?q\n{row()}", "server: not the address"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_mistakes_are_named_and_nothing_secret_is_quoted(wrong: str, tmp_path: Path) -> None:
    text, named = WRONG[wrong]
    here = configured(tmp_path, text, URL=URL, SHORT="whsec_YWJj")
    for name, content in (("open", SECRET), ("empty", "")):
        path = path_of(here).parent / name
        path.write_text(content)
        path.chmod(0o644 if name == "open" else 0o600)
    with pytest.raises((ConfigError, Problems)) as error:
        receivers(here)
    told = str(error.value)
    assert named in told and error.value.exit_code == 2, told
    assert TOKEN not in told and SECRET not in told and "YWJj" not in told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = row(secret="env:NONE") + row(url="http://x.example").split("\n", 1)[1].replace(
        "chat", "other"
    )
    with pytest.raises(Problems) as error:
        receivers(configured(tmp_path, text))
    assert len(error.value.problems) == 2
    with pytest.raises(ConfigError, match="no receiver 'chatt'"):
        receivers(configured(tmp_path, row())).named("chatt")
