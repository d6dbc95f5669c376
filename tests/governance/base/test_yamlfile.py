"""YAML that people write: every mistake at once, with file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from governance.base.errors import ConfigError, Problems
from governance.base.model import Model, Slug
from governance.base.yaml import MAX_BYTES, edited, load_model, parse_yaml, place, read_yaml


class Inner(Model):
    limit: int = 1
    ratio: float = 0.5


class Outer(Model):
    name: Slug
    colour: Literal["green", "blue"] = "green"
    rows: dict[Slug, Inner] = {}
    listed: list[Inner] = []


def load(folder: Path, text: str) -> Outer:
    (folder / "x.yaml").write_text(text, encoding="utf-8")
    return load_model(folder / "x.yaml", Outer)


def test_a_file_becomes_its_model(tmp_path: Path) -> None:
    found = load(tmp_path, "name: desk\nrows:\n  one: {limit: 3}\nlisted: [{ratio: 1e-3}]\n")
    assert found == Outer(name="desk", rows={"one": Inner(limit=3)}, listed=[Inner(ratio=0.001)])


def test_every_mistake_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = (
        "name: Desk\ncolour: bleu\nrows:\n  one: {limit: three}\n  two:\n    ratio: .inf\n    limt:"
        " 3\nlisted:\n  - limit: 1\n  - limit: x\n"
    )
    with pytest.raises(Problems) as error:
        load(tmp_path, text)
    found = {
        (problem.where.split(":")[-2], problem.where.split(": ")[-1])
        for problem in error.value.problems
    }
    assert found == {
        ("1", "name"),
        ("2", "colour"),
        ("4", "rows.one.limit"),
        ("6", "rows.two.ratio"),
        ("7", "rows.two.limt"),
        ("10", "listed.1.limit"),
    }
    for told in (
        "did you mean 'limit'?",
        "did you mean 'blue'?",
        "'Desk': a name is lower-case letters",
    ):
        assert told in str(error.value)
    assert error.value.exit_code == 2


WRONG = {
    "alias": ("a: &x 1\nb: *x\n", "aliases are not accepted", ":2"),
    "merge": ("a: 1\n<<: {b: 1}\n", "merge keys are not accepted", ":2"),
    "merge in a list": ("a: [{<<: [{b: 1}, {b: 2}]}]\n", "merge keys are not accepted", ":1"),
    "tag that changes nothing": ("a: 1\nb: !!int '2'\n", "tags are not accepted", ":2"),
    "another version": ("%YAML 1.1\n---\na: yes\n", "directives are not accepted", ":2"),
    "bomb": ("a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n", "aliases are not accepted", ":2"),
    "duplicate key": ("a: 1\na: 2\n", "duplicate key", ""),
    "tag": ("a: !!python/object/apply:os.system [ls]\n", "tags are not accepted", ":1"),
    "broken": ("a: [1, 2\nb: 3\n", "", ":2"),
    "tab": ("a:\n\t- 1\n", "", ":2"),
    "control character": ("a: \x00\n", "", ""),
    "the order turned round": ("a: 1\n# \u202e2 :a\n", "U+202E", ":2"),
    "an isolate": ("a: 1\nb: \u2066x\n", "U+2066", ":2"),
    "a line that ends in the middle": ("a: 1\n# harmless\rb: 2\n", "U+000D", ":2"),
    "a line that ends by U+2028": ("a: 1\n\n# harmless\u2028b: 2\n", "U+2028", ":3"),
    "a line that ends by NEL": ("# harmless\x85b: 2\n", "U+0085", ":1"),
}


@pytest.mark.parametrize(("text", "says", "line"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_plain_yaml_is_refused_with_its_line(text: str, says: str, line: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_yaml(text, "x.yaml")
    assert says in str(error.value)
    assert error.value.where.startswith(f"x.yaml{line}")


def test_a_conflict_of_git_is_named(tmp_path: Path) -> None:
    text = "name: desk\n<<<<<<< yours\ncolour: blue\n=======\ncolour: green\n>>>>>>> theirs\n"
    with pytest.raises(ConfigError, match=r"x\.yaml:2: a merge conflict") as caught:
        load(tmp_path, text)
    assert "delete the marks" in caught.value.fix


def test_a_missing_large_or_undecodable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "large.yaml").write_text("a" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_yaml(tmp_path / "large.yaml")
    with pytest.raises(ConfigError, match="too large"):
        parse_yaml("a" * (MAX_BYTES + 1), "a proposal in the log")
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError):
        read_yaml(tmp_path)


def test_lines_that_end_as_on_windows_are_lines(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"name: desk\r\nrows: {}\r\n")
    assert load_model(tmp_path / "x.yaml", Outer).name == "desk"
    (tmp_path / "x.yaml").write_bytes(b"# harmless\rname: desk\n")
    with pytest.raises(ConfigError, match=r"U\+000D"):
        read_yaml(tmp_path / "x.yaml")


def test_an_empty_file_is_an_empty_model(tmp_path: Path) -> None:
    with pytest.raises(Problems, match=r"x\.yaml:1: name: Field required"):
        load(tmp_path, "")


@pytest.mark.parametrize("value", ["nan", ".inf", "-.Inf", ".nan"])
def test_numbers_are_finite(tmp_path: Path, value: str) -> None:
    with pytest.raises(Problems):
        load(tmp_path, f"name: desk\nlisted:\n  - ratio: {value}\n")


def test_a_field_that_is_missing_has_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    with pytest.raises(Problems) as error:
        load(tmp_path, "# a comment\n\ncolour: green\n")
    (problem,) = error.value.problems
    assert problem.where.split(":")[-2:] == ["3", " name"]


class Nested(Model):
    inner: Inner | None = None
    inners: dict[Slug, Inner | None] = {}


@pytest.mark.parametrize("text", ["inner: {limt: 1}\n", "inners:\n  one: {limt: 1}\n"])
def test_a_field_of_an_optional_table_is_known(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(Problems, match=r"unknown field\n  next: did you mean 'limit'\?"):
        load_model(tmp_path / "x.yaml", Nested)


def test_a_place_is_that_of_the_file_or_of_a_text_instead_of_it(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1\nb:\n  c: 2\n", encoding="utf-8")
    assert place(path, "b", "c") == f"{path}:3: b.c"
    assert place(path, "b", "c", text="b: {c: 2}\n") == f"{path}:1: b.c"
    assert place(tmp_path / "none", "a", text="\na: 2\n") == f"{tmp_path / 'none'}:2: a"
    with pytest.raises(ConfigError, match="no such file"):
        place(tmp_path / "none", "a")


def test_the_largest_text_is_read_and_one_character_more_is_not(tmp_path: Path) -> None:
    largest = "# " + "x" * (MAX_BYTES - 2)
    assert MAX_BYTES == 512 * 1024
    assert parse_yaml(largest, "x.yaml") is None
    with pytest.raises(ConfigError, match="too large"):
        parse_yaml(f"{largest}x", "x.yaml")
    (tmp_path / "x.yaml").write_text(largest, encoding="utf-8")
    assert read_yaml(tmp_path / "x.yaml") is None


def test_an_edit_keeps_comments_order_quotes_and_long_lines() -> None:
    long = "word " * 300
    text = f"b: \"{long}\"  # why\na:\n  - 'x'\n"

    roles = ["z"]

    def change(tree: Any) -> None:
        tree["a"].append({"name": "y", "roles": roles})
        tree["c"] = roles

    assert edited(text, change) == f"{text}  - name: y\n    roles: [z]\nc: [z]\n"
