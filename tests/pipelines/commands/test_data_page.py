"""The commands of docs/data.md, run in their order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project
from tests.project import small as small  # fixture

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.slow
@pytest.mark.nightly
def test_the_commands_of_the_page_work_in_their_order(small: Project, tmp_path: Path) -> None:
    project = small.copy(tmp_path)
    remote, teammate, branch, version = BLOCKS
    places = {
        "s3://your-bucket/desk": str(tmp_path / "store"),
        "https://git.example.org/desk.git": str(project.root),
    }

    def run(block: str) -> str:
        for named, here in places.items():
            block = block.replace(named, here)
        done = project.run("bash", "-e", "-c", block)
        assert done.code == 0, done.out
        return done.out

    run(remote)
    status = run(teammate)
    always = ("import_base", "gate", "register", "report")
    named = re.findall(r"^([\w-]+)(?:@[\w-]+)?:$", status, re.MULTILINE)
    assert set(named) <= set(always), status
    assert "didn't change, skipping" in run(branch)
    said = run(version)
    assert "5 of 5 restored and proven" in said
    assert (tmp_path / "support-desk-1" / "models" / "sft" / "model").is_dir()
