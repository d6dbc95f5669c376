"""A stage that does not exist is a mistake of the caller: exit code 2, with the nearest name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from governance.base.errors import ConfigError
from governance.base.progress import Progress
from pipelines.families import all_families
from pipelines.harness import run_stage
from pipelines.project import Project, open_project
from tests.conftest import ROOT

NEAR = {
    "train": ("sftt", "sft"),
    "gate": ("dpoo", "dpo"),
    "evaluate": ("grppo", "grpo"),
    "evaluate_base": ("tinny", "tiny"),
    "ingest": ("desk_sftt", "desk_sft"),
    "suite": ("desk_evall", "desk_eval"),
    "sample": ("desk_evall", "desk_eval"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    home = tmp_path_factory.mktemp("home")
    return open_project(ROOT, {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_REQUESTER": "ada"})


def refused(family: str, key: str, project: Project) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        run_stage(family, key, project, lambda: datetime(2026, 11, 20, tzinfo=UTC), Progress())
    assert caught.value.exit_code == 2
    return caught.value


@pytest.mark.parametrize("family", all_families())
def test_a_stage_without_a_row_is_a_usage_error(family: str, project: Project) -> None:
    assert "NOSUCH" in str(refused(family, "NOSUCH", project))
    assert not Path(project.machine.state / "scratch").exists()


@pytest.mark.parametrize("family", [name for name, one in all_families().items() if one.table])
def test_a_family_of_many_stages_needs_a_name(family: str, project: Project) -> None:
    refused(family, "", project)


@pytest.mark.parametrize(("family", "given", "meant"), [(k, *v) for k, v in NEAR.items()])
def test_the_nearest_name_is_shown(family: str, given: str, meant: str, project: Project) -> None:
    assert f"did you mean {meant!r}?" in str(refused(family, given, project))
