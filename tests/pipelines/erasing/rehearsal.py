"""A small project with people, of which one may erase: what the tests of an erasure share."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from tests.governance.governed import KINDS, keypair
from tests.governance.terminal import key_file
from tests.project import Done, Project

PEOPLE = """\
people:
  ada: {key: ada.pub, roles: [policy-owner, ml-lead]}
  ben: {key: ben.pub, roles: [policy-owner, risk]}
  eve: {key: eve.pub, roles: [visitor]}
services:
  ci: {key: ci.pub, signs: [SIGNED]}
owners: {people: 1, roles: [policy-owner]}
approvers: [ml-lead, risk]
aliases: {champion: {requesters: [ml-lead]}}
waivers: {max_days: 20, accepted_by: [risk]}
"""
PERSON = "anna.weber@example.com"
"""Of the seeded sample conversations; it stands in one record."""
SOURCE = "data/source/desk_sft.jsonl"
CASE = "DSR-2026/17"
DATA = ("ingest@desk_sft", "scan_pii@desk_sft", "check_quality@desk_sft")
PIPELINE = (
    *(
        "ingest@desk_eval",
        "scan_pii@desk_eval",
        "check_quality@desk_eval",
        "suite@desk_eval",
        *DATA,
    ),
    *("import_base@tiny", "evaluate_base@tiny", "gate@base", "train@base", "evaluate@base"),
    *("gate@sft", "train@sft", "evaluate@sft", "register@support-desk"),
)
"""The stages of the small project, up to a registered version."""
TERMS = ("--reference", CASE, "--deadline", "2099-01-31")


def governed(project: Project, folder: Path) -> Project:
    """A copy of a project in a log of its own, which people govern. The log has no evidence yet."""
    moved = Project(folder / "project", folder / "home")
    shutil.copytree(project.root, moved.root, symlinks=True)
    for who in ("ada", "ben", "eve", "ci"):
        key_file(folder, who)
        (folder / f"{who}.pub").write_text(keypair(who)[1])
    signed = ", ".join([*KINDS, "candidate"])
    (folder / "people.yaml").write_text(PEOPLE.replace("SIGNED", signed))
    here = replace(moved, environ={"COUNTERSIGN_SIGNER": f"file2:{folder / 'ci.pem'}"})
    words = ("--people", str(folder / "people.yaml"), "--key", key(here, "ada"), "--yes")
    done = here.countersign("init", *words)
    assert done.code == 0, done.out
    return here


def moved(project: Project, folder: Path) -> Project:
    """A copy with its log and keys."""
    copy = project.copy(folder)
    for path in project.root.parent.glob("*.p*"):
        shutil.copy(path, folder)
    return replace(copy, environ={"COUNTERSIGN_SIGNER": f"file2:{folder / 'ci.pem'}"})


def stages(project: Project, *names: str) -> None:
    """Runs stages without DVC, whose cache has the outputs already."""
    for name in names:
        done = project.countersign("stage", *name.split("@"))
        assert done.code == 0, done.out


def key(project: Project, who: str) -> str:
    """A person's key."""
    return str(project.root.parent / f"{who}.pem")


def erase(project: Project, *words: str, who: str = "ben", **environ: str) -> Done:
    """`countersign erase`, signed."""
    signed = ("--key", key(project, who), "--yes") if who else ()
    return project.countersign("erase", *words, *TERMS, *signed, **environ)


def impact(project: Project, *words: str) -> dict[str, Any]:
    """What an erasure would reach."""
    done = erase(project, *words, "--json", who="")
    assert done.code == 0, done.out
    found: dict[str, Any] = json.loads(done.out)
    return found


def places_with(project: Project, value: str) -> set[str]:
    """Every file of project and state that has this value, read without our own search. Objects of
    DVC's cache and other names that depend on content are `cache`.
    """
    found = set()
    for top in (project.root, project.home):
        for path in sorted(each for each in top.rglob("*") if each.is_file()):
            name = path.relative_to(top).as_posix()
            if name.startswith((".git/", "pipelines/")):
                continue
            data = path.read_bytes()
            if data[:4] == b"PAR1":
                data = json.dumps(pq.read_table(path).to_pylist(), default=str).encode()
            if value.encode() in data:
                found.add("cache" if "/cache/files/" in name else name)
    return found


def person_rows(project: Project) -> list[tuple[int, str]]:
    """Number and text of the source's rows about the person."""
    rows = (project.root / SOURCE).read_text().splitlines()
    return [(at, row) for at, row in enumerate(rows, start=1) if PERSON in row]
