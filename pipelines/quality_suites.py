"""Which quality suite fits which dataset."""

from __future__ import annotations

from collections.abc import Mapping

from governance.base.errors import ConfigError, did_you_mean


def suite_mistake(kinds: Mapping[str, str], name: str, kind: str, where: str) -> ConfigError | None:
    """The mistake that no quality suite has this name, or that it is for another kind of dataset.
    `kinds` has the kind of each suite.
    """
    if kinds.get(name) == kind:
        return None
    fitting = sorted(suite for suite in kinds if kinds[suite] == kind)
    found = f"there is no quality suite {name!r}"
    if name in kinds:
        found = f"the quality suite {name!r} is for {kinds[name]}"
    known = ", ".join(fitting) or "there is none yet"
    expected = f"a suite in policies/quality/ for {kind}: {known}"
    return ConfigError(found, where=where, expected=expected, fix=did_you_mean(name, fitting))
