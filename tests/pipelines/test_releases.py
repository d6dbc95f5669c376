"""A project that releases several models: the table `releases` of params.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from governance.base.errors import ConfigError, CountersignError, Problems
from pipelines.commands.graph import text
from pipelines.params import Params, load_params
from pipelines.plan.graph import graph, needed
from pipelines.stages import gate
from tests.pipelines import gated

ROOT = Path(__file__).parent.parent.parent
SHIPPED = (ROOT / "params.yaml").read_text(encoding="utf-8")
TABLE = "releases:\n  support-desk: {stage: grpo}"
assert TABLE in SHIPPED


def _params(folder: Path, releases: str) -> Params:
    (folder / "params.yaml").write_text(SHIPPED.replace(TABLE, releases), encoding="utf-8")
    return load_params(folder)


BOTH = "releases: {support-desk: {stage: grpo}, desk-scorer: {stage: reward}}"


def test_each_released_model_is_a_row_of_stages(tmp_path: Path) -> None:
    params = _params(tmp_path, BOTH)
    stages = graph(params)
    assert stages["register@desk-scorer"] == {"train@reward"}
    assert stages["report@desk-scorer"] == {"register@desk-scorer"}
    assert "train@grpo" not in needed(stages, ["register@desk-scorer"])
    assert {"register@support-desk", "register@desk-scorer"} <= {*needed(stages, ["register"])}
    (row,) = [line for line in text(stages) if line.startswith("desk-scorer")]
    assert row.split() == ["desk-scorer", "register", ">", "report", "<-", "reward"]


def test_a_stage_belongs_to_every_model_that_is_made_from_it(tmp_path: Path) -> None:
    alone = "releases: {support-desk: {stage: sft}, desk-scorer: {stage: reward}}"
    params = _params(tmp_path, alone)
    assert params.released_from("sft") == ["support-desk", "desk-scorer"]
    assert params.released_from("reward") == ["desk-scorer"]
    assert params.released_from("grpo") == ["support-desk", "desk-scorer"]  # leads to none
    scored = _params(tmp_path, BOTH)
    assert scored.released_from("reward") == ["support-desk", "desk-scorer"]  # scorer of grpo
    assert scored.released_from("dpo") == ["support-desk"]
    assert gate.declared_request(scored, "reward").models == ("support-desk", "desk-scorer")


def _first(work: Callable[[], object]) -> CountersignError:
    with pytest.raises((ConfigError, Problems)) as error:
        work()
    raised = error.value
    return raised.problems[0] if isinstance(raised, Problems) else raised


@pytest.mark.parametrize(
    ("releases", "field", "says"),
    [
        ("release: {model: support-desk, stage: grpo}", "release",
         "releases: {support-desk: {stage: grpo}}"),
        ("release: grpo", "release", "releases: {MODEL: {stage: STAGE}}"),
        ("releases: {support-desk: {stage: gpro}}", "releases.support-desk.stage", "grpo"),
        ("releases: {}", "releases", ""),
        ("releases: {Support Desk: {stage: grpo}}", "releases", ""),
    ],
)  # fmt: skip
def test_a_mistake_in_the_table_names_the_place_and_the_way_out(
    tmp_path: Path, releases: str, field: str, says: str
) -> None:
    error = _first(lambda: _params(tmp_path, releases))
    assert f"params.yaml:{SHIPPED[: SHIPPED.index(TABLE)].count(chr(10)) + 1}" in error.where
    assert field in error.where
    assert says in str(error)


def test_a_release_asks_about_its_own_stage(tmp_path: Path) -> None:
    gated.files(tmp_path)
    params = gated.params().model_copy(update={"releases": _params(tmp_path, BOTH).releases})
    asked = {name: gate.release_request(params, tmp_path, name) for name in params.releases}
    assert {name: request.released.name for name, request in asked.items()} == {
        "support-desk": "grpo",
        "desk-scorer": "reward",
    }
    assert all(request.model == name for name, request in asked.items())


def test_a_base_can_be_released(tmp_path: Path) -> None:
    params = _params(tmp_path, "releases: {support-desk: {stage: grpo}, bought: {stage: tiny}}")
    stages = graph(params)
    assert stages["register@bought"] == {"import_base@tiny"}
    assert params.released_from("grpo") == ["support-desk"]
    message = _first(lambda: _params(tmp_path, "releases: {support-desk: {stage: nothing}}"))
    assert "stage or base" in str(message)
