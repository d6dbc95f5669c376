"""Sources of reward functions that cannot be read. What a good one declares: `pipelines.training`."""

from __future__ import annotations

import pytest

from governance.attest.reward_source import declared, parsed
from governance.base.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("PURPOSE =", "it is not valid Python"),
        ("PURPOSE = " + "[" * 5000, "it is not valid Python"),
        ("PURPOSE = " + "-" * 100_000 + "1", "it is not valid Python"),
        ("x = 1\0", "it is not valid Python"),
        ("PURPOSE = text()", "PURPOSE is computed"),
        ("BLIND_SPOTS = {[]: 1}", "BLIND_SPOTS is computed"),
        (r"PURPOSE = '\ud800'", "PURPOSE cannot be read"),
        (r"BLIND_SPOTS = ['\ud800']", "BLIND_SPOTS cannot be read"),
        ("PURPOSE = 1", "PURPOSE cannot be read"),
        ("RANGE = (0, " + "9" * 400 + ")", "RANGE cannot be read"),
        ("RANGE = (1 + 2j, 3)", "RANGE cannot be read"),
        ("RANGE = (1, 0)", "RANGE cannot be read"),
    ],
)
def test_a_source_that_cannot_be_read_is_refused(source: str, found: str) -> None:
    with pytest.raises(ConfigError) as refused:
        declared(parsed(source, "rewards/x.py"), "rewards/x.py")
    assert refused.value.found == found
