"""Reports that were signed: the same bytes before and after, kept, returned, never in place of the
truth.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from governance.attest.digests import sha256_bytes
from governance.attest.findings import finding
from governance.attest.predicates import SignedReport
from governance.bundle import verify_bundle
from governance.commands import sources
from governance.history.verify import TrustAnchors
from governance.machine.machine import machine, open_log
from governance.people import reports
from governance.release import promotion
from governance.report import build as building
from governance.report.build import build
from governance.report.html import json_twin, page
from pipelines.cli import cli
from tests.governance.bundles import pin
from tests.governance.governed import Governed, keypair
from tests.governance.story import MODEL, START, altered, told
from tests.governance.terminal import at_terminal, key_file

VERSION = f"{MODEL}/2"
SIGN = ("--sign", "--reason", "for the record")
LATER = "2027-01-05T00:00:00Z"
"""When the waiver of version 2 has ended."""


@pytest.fixture
def scene(whole: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Governed:
    """A copy to write to, and its machine for the commands; the service signs."""
    scene = whole.copy(tmp_path)
    at_terminal(scene, monkeypatch)
    monkeypatch.setattr("governance.commands.session.clock", lambda: START + timedelta(days=1))
    return scene


def run(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, list(arguments))
    found = (
        done.exit_code
        if done.exception is None
        else getattr(done.exception, "exit_code", done.exit_code)
    )
    assert found == code, (done.output, done.exception)
    return done


def pages(scene: Governed) -> list[SignedReport]:
    return [item.predicate for item in promotion.state(scene.story.log).evidence.all("report")]


def written() -> dict[str, bytes]:
    return {path.suffix: path.read_bytes() for path in Path("reports").glob(f"{MODEL}-2.*")}


def as_person(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COUNTERSIGN_KEY", key_file(Path(), name))


def test_signing_a_report_changes_nothing_in_it(scene: Governed) -> None:
    before = page(build(scene.story.sources, MODEL, "2"))
    size = scene.story.log.size()
    assert "signed by this machine's service" in run("report", VERSION, *SIGN).output
    assert list(written().values()) and scene.story.log.size() == size + 1
    (said,) = pages(scene)
    assert said.page == sha256_bytes(written()[".html"]) and said.twin == sha256_bytes(
        written()[".json"]
    )
    assert (said.entries, said.verdict) == (size, "APPROVED WITH CONDITIONS")
    assert page(build(scene.story.sources, MODEL, "2")) == before
    run("report", VERSION, *SIGN)
    assert scene.story.log.size() == size + 1, "the same report by the same key is one entry"


@pytest.mark.slow
def test_a_report_of_the_past_stays_the_same_whatever_is_signed_and_said_afterwards(
    scene: Governed,
) -> None:
    times = ("2026-11-20T09:40:00Z", "2026-11-20T09:57:30Z")

    def past() -> list[bytes]:
        return [
            page(build(scene.story.sources, MODEL, "1", as_of=datetime.fromisoformat(one)))
            for one in times
        ]

    before = past()
    run("report", f"{MODEL}/1", *SIGN, "--at", times[1])
    run("report", VERSION, *SIGN)
    assert past() == before
    scene.incident("2", "open", reason="again")
    assert past() == before


@pytest.mark.slow
def test_the_next_report_says_which_were_signed_before_and_by_whom(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("report", VERSION, *SIGN)
    as_person(monkeypatch, "ben")
    run("report", VERSION, *SIGN, "--role", "risk", "--yes", "--reason", "for <the> committee")
    assert (
        "none: no report of this version was signed before"
        in run("show", VERSION, "reports").output
    )
    scene.story.register("sft", "3")
    report = build(scene.story.sources, MODEL, "2")
    assert [
        (one.by, one.report.role, one.report.reason) for one in report.signed_reports
    ] == [
        ("ci", None, "for the record"), ("ben", "risk", "for <the> committee"),
    ]  # fmt: skip
    assert {one.report.page for one in report.signed_reports} == {pages(scene)[0].page}
    html = page(report).decode()
    assert pages(scene)[0].page in html and "for &lt;the&gt; committee" in html
    told = run("show", VERSION, "reports").output
    assert "ben as risk" in told and pages(scene)[0].page in told
    assert build(scene.story.sources, MODEL, "1").signed_reports == []


def test_nobody_signs_without_a_reason(scene: Governed) -> None:
    assert "Missing option '--reason'" in run("report", VERSION, "--sign", code=2).output
    run("report", VERSION, "--sign", "--reason", " ", code=2)
    assert pages(scene) == []


def test_a_person_signs_in_a_role_of_theirs_or_not_at_all(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_person(monkeypatch, "ben")
    done = run("report", VERSION, *SIGN, "--yes", code=2)
    assert "ben may say this as" in str(done.exception)
    done = run("report", VERSION, *SIGN, "--yes", "--role", "ml-lead", code=4)
    assert "may not say this as" in str(done.exception)
    as_person(monkeypatch, "mallory")
    run("report", VERSION, *SIGN, "--yes", code=4)
    assert pages(scene) == []


@pytest.mark.parametrize("signer", ["", "env:OTHER"])
def test_a_key_that_nobody_vouches_for_signs_nothing(
    scene: Governed, monkeypatch: pytest.MonkeyPatch, signer: str
) -> None:
    monkeypatch.setenv("COUNTERSIGN_SIGNER", signer)
    monkeypatch.setenv("OTHER", keypair("mallory")[0].decode())
    done = run("report", VERSION, *SIGN, code=2)
    assert "do not name this key" in str(done.exception) and pages(scene) == []


def test_what_was_signed_comes_back_to_the_byte_from_another_version_of_countersign(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("report", VERSION, *SIGN)
    as_signed = written()
    monkeypatch.setattr(building, "generator", lambda: "countersign 9.9")
    told = run("report", VERSION).output
    assert (
        written() == as_signed
        and "as ci signed it" in told
        and sha256_bytes(as_signed[".html"]) in told
    )
    assert run("report", VERSION, "--json").stdout.encode() == as_signed[".json"] + b"\n"
    assert (
        run("report", "--kept", sha256_bytes(as_signed[".html"])).stdout_bytes == as_signed[".html"]
    )
    assert (
        run("report", "--kept", sha256_bytes(as_signed[".json"])[:16]).stdout_bytes
        == as_signed[".json"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("happened", ["an incident", "a deadline", "the registry"])
def test_what_was_signed_hides_nothing_that_came_to_light(
    scene: Governed, monkeypatch: pytest.MonkeyPatch, happened: str
) -> None:
    run("report", VERSION, *SIGN)
    as_signed = written()
    if happened == "an incident":
        scene.incident("2", "open", reason="again")
    elif happened == "a deadline":
        monkeypatch.setattr(
            "governance.commands.session.clock", lambda: datetime.fromisoformat(LATER)
        )
    else:
        _registry_that_says_otherwise(monkeypatch)
    run("report", VERSION, code=5 if happened == "the registry" else 4)
    assert written()[".html"] != as_signed[".html"]
    assert _warnings(written()) != _warnings(as_signed)
    assert (
        run("report", "--kept", sha256_bytes(as_signed[".html"])).stdout_bytes == as_signed[".html"]
    )


@pytest.mark.parametrize("field", ["model", "version", "digest", "as_of", "entries_read"])
def test_a_signed_report_about_something_else_is_not_returned(scene: Governed, field: str) -> None:
    report = building.build(scene.story.sources, MODEL, "2")
    signed = json.loads(json_twin(report))
    assert reports._differing(signed, report) == []
    signed[field] = "1"
    assert reports._differing(signed, report) == [field]


def _warnings(files: dict[str, bytes]) -> tuple[str, int]:
    found = json.loads(files[".json"])
    return found["verdict"]["word"], sum(one["kind"] == "fault" for one in found["exceptions"])


def _registry_that_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = finding(
        "REGISTRY_ALIAS_MOVED", f"{MODEL}@champion", "it was moved", expected="2", found="1"
    )
    monkeypatch.setattr(
        sources, "compared", lambda found, machine: replace(found, compare=lambda now: (moved,))
    )


def test_bytes_that_were_changed_are_refused(
    scene: Governed, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("report", VERSION, *SIGN)
    sha256 = sha256_bytes(written()[".html"])
    path = scene.story.machine.state / "pages" / sha256
    path.write_bytes(path.read_bytes().replace(b"APPROVED WITH CONDITIONS", b"APPROVED"))
    done = run("report", "--kept", sha256, code=5)
    assert "was changed" in str(done.exception) and done.stdout_bytes == b""
    monkeypatch.setattr(building, "generator", lambda: "countersign 9.9")
    told = run("report", VERSION).output
    assert "cannot be returned" in told and "countersign 9.9" in written()[".html"].decode()
    path.unlink()
    done = run("report", "--kept", sha256, code=3)
    assert "is not kept here" in str(done.exception)


def test_a_digest_that_nobody_signed_is_none(scene: Governed) -> None:
    assert "names no signed report" in str(run("report", "--kept", "0" * 64, code=3).exception)
    assert "8 characters or more" in str(run("report", "--kept", "abc", code=3).exception)
    assert "give one of" in str(run("report", VERSION, "--kept", "0" * 64, code=2).exception)


def test_nothing_is_signed_of_a_log_that_does_not_verify(scene: Governed) -> None:
    altered(scene.story.log, 9)
    run("report", VERSION, *SIGN, code=5)
    assert not list(scene.story.log.by_kind(["report"]))
    run("report", "--kept", "0" * 64, code=5)


@pytest.mark.slow
def test_a_bundle_carries_it_and_returns_it(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("report", VERSION, *SIGN)
    as_signed = written()
    run("bundle", VERSION, "-o", str(tmp_path / "b.json"))
    report = verify_bundle((tmp_path / "b.json").read_bytes(), TrustAnchors(pin(scene.story.log)))
    assert {file.sha256: file.signed_by for file in report.files} == {
        sha256_bytes(data): ("ci",) for data in as_signed.values()
    }
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("COUNTERSIGN_HOME", str(tmp_path / "nothing"))
    known = ("--bundle", str(tmp_path / "b.json"), "--origin", pin(scene.story.log))
    assert run("report", "--kept", pages(scene)[0].page, *known).stdout_bytes == as_signed[".html"]
    assert "a report signed by ci" in run("verify", str(tmp_path / "b.json"), *known[2:]).output
    done = run("report", VERSION, *SIGN, *known, code=2)
    assert "signed where the log can be added to" in str(done.exception)


def test_a_development_key_signs_its_own_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = told(tmp_path)
    for name, value in story.machine.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(story.root)
    assert "development key" in run("report", f"{MODEL}/1", *SIGN).output
    here = machine(MODEL, story.machine.environ)
    assert [
        one.kind for one in open_log(here, story.policies, lambda: START).by_kind(["report"])
    ] == ["report"]
    story.data("desk_rated", "rated", "rated", 10)
    assert build(story.sources, MODEL, "1").signed_reports[0].by == "development key"
