"""Adds to `policies/policy.yaml` what `countersign add` found, and keeps comments and order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from governance.base.errors import ConfigError
from governance.base.yaml import edited, parse_yaml

POLICY = Path("policies/policy.yaml")


def with_ignored_fields(text: str, dataset: str, patterns: list[str]) -> str:
    """`text` with `ingest.ignored_fields.DATASET`, in place of an earlier one. Raises `ConfigError`
    where this would change anything else.
    """
    where = str(POLICY)
    before = parse_yaml(text, where)
    if not isinstance(before, dict):
        raise ConfigError("no table", where=where, expected="models, tiers, ingest and more")
    ingest = before.get("ingest") or {}
    ignored = {**(ingest.get("ignored_fields") or {}), dataset: patterns}

    def change(policy: Any) -> None:
        if not policy.get("ingest"):
            policy["ingest"] = {}
        if not policy["ingest"].get("ignored_fields"):
            policy["ingest"]["ignored_fields"] = {}
        policy["ingest"]["ignored_fields"][dataset] = patterns

    made = edited(text, change)
    if parse_yaml(made, where) != {**before, "ingest": {**ingest, "ignored_fields": ignored}}:
        found = f"ingest.ignored_fields.{dataset} cannot be added without changing other rules"
        raise ConfigError(found, where=where, fix=f"add it by hand: {dataset}: {patterns}")
    return made
