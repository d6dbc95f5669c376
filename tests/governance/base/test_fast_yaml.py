"""The fast reader returns what the strict one returns, or leaves the text to it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from governance.base import fast_yaml, yaml
from governance.base.errors import ConfigError
from tests.conftest import ROOT

PARTS = [
    *[
        "a",
        "b: ",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        ": ",
        ":",
        "? ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
    ],
    *['"', "'", "#", " #", "| ", "|\n  ", ">\n   ", ">-", "|+", "1", "01", "0.5", "1e3", ".5"],
    *["true", "Null", "~", "<<", "=", "x y", "é", "\\n", "\\u0041", "*", "&a ", "!", "%", "---\n"],
    *['"a"', '"b": ', "0x1", "1_0", "2020-01-01", "12:30", "-1", "+1", "\t", "\x7f", '"k":v'],
    *["b:c", ":d", "{a: b:c}", "[", "]", "{", "}"],
]
FILES = [*sorted((ROOT / "policies").rglob("*.yaml")), ROOT / "params.yaml"]


def _agrees(text: str) -> bool:
    """Whether the fast reader read the text; if so, the strict one reads the same."""
    try:
        fast = fast_yaml.read(text)
    except fast_yaml.Unusual:
        return False
    yaml.refuse_deceiving(text, "")
    assert repr(fast) == repr(yaml._parse_strictly(text, "")), text
    return True


@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_both_readers_agree_on_any_text(text: str) -> None:
    _agrees(text)


@given(st.sampled_from(FILES), st.integers(0), st.integers(0, 2), st.sampled_from(PARTS))
def test_both_readers_agree_on_spoiled_policies(path: Path, at: int, cut: int, part: str) -> None:
    text = path.read_text(encoding="utf-8")[:3000]
    at %= len(text)
    _agrees(text[:at] + part + text[at + cut :])


def test_the_projects_own_files_are_read_fast() -> None:
    slow = [path.name for path in FILES if not _agrees(path.read_text(encoding="utf-8"))]
    assert not slow


@pytest.mark.parametrize(
    "text",
    [
        "25.0.1",
        "2026.11.15",
        "2.13.0+cpu",
        "1.2.3rc1",
        "1.2.3e5",
        "0.0.0",
        "2.1, 2.3, 2.11",
        "1(a)(2)-(4)",
        "0123456789abcdef0123456789abcdef",
        "8f14e45fceea167a5a36dedd4bea2543.dir",
        ".5(x)",
    ],
)
def test_versions_lists_and_digests_are_text(text: str) -> None:
    assert (
        fast_yaml.read(f"a: {text}")
        == {"a": text}
        == YAML(typ="safe", pure=True).load(f"a: {text}")
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: !!str 1",
        "a: &x 1\nb: *x",
        "a: [",
        "--- a\n--- b",
        "1: a",
        "a: True",
        "['a':b]",
    ],
)
def test_what_takes_more_than_a_simple_rule_is_left_to_the_strict_reader(text: str) -> None:
    with pytest.raises(fast_yaml.Unusual):
        fast_yaml.read(text)


def test_an_error_is_worded_by_the_strict_reader_with_its_line() -> None:
    with pytest.raises(ConfigError) as error:
        yaml.parse_yaml("a: 1\nb: 2\na: 3\n", "policy.yaml")
    assert error.value.where == "policy.yaml:3"
