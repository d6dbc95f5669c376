"""A small project with people, of which one may erase: what the tests of an erasure share."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.governance.governed import KINDS, keypair
from tests.project import Done, Project, fresh

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
TERMS = ("--reference", CASE, "--deadline", "2099-01-31")


def begun(folder: Path) -> Project:
    """The small project in a governed log; nothing is made yet."""
    project = fresh(folder)
    for who in ("ada", "ben", "eve", "ci"):
        private, public = keypair(who)
        (folder / f"{who}.pem").write_bytes(private)
        (folder / f"{who}.pem").chmod(0o600)
        (folder / f"{who}.pub").write_text(public)
    signed = ", ".join([*KINDS, "candidate"])
    (folder / "people.yaml").write_text(PEOPLE.replace("SIGNED", signed))
    here = replace(project, environ={"COUNTERSIGN_SIGNER": f"file2:{folder / 'ci.pem'}"})
    done = here.countersign(
        "init", "--people", str(folder / "people.yaml"), "--key", key(here, "ada"), "--yes"
    )
    assert done.code == 0, done.out
    return here


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


def person_rows(project: Project) -> list[tuple[int, str]]:
    """Number and text of the source's rows about the person."""
    rows = (project.root / SOURCE).read_text().splitlines()
    return [(at, row) for at, row in enumerate(rows, start=1) if PERSON in row]
