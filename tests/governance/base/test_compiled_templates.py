"""Compiled templates are kept, and used only as what they are."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from jinja2 import DictLoader, Environment

from governance.base import text
from governance.base.compiled_templates import FOLDER, compiled_templates

HERE = sys.modules[__name__]


def environment(home: Path, source: str, *modules: ModuleType, name: str = "test") -> Environment:
    kept = compiled_templates({"COUNTERSIGN_HOME": str(home)}, name, *(modules or (HERE,)))
    return Environment(loader=DictLoader({"a": source}), bytecode_cache=kept, autoescape=True)


def compiles(made: Environment, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the template is compiled, not read."""
    seen: list[str] = []
    plain = made.compile
    monkeypatch.setattr(made, "compile", lambda *given: seen.append("a") or plain(*given))
    made.get_template("a")
    return bool(seen)


def test_a_template_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiles(environment(tmp_path, "{{ x }}!"), monkeypatch)
    second = environment(tmp_path, "{{ x }}!")
    assert not compiles(second, monkeypatch)
    assert second.get_template("a").render(x="<") == "&lt;!"


@pytest.mark.parametrize("changed", ["source", "name", "module"])
def test_what_it_is_made_of_decides(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiles(environment(tmp_path, "1"), monkeypatch)
    other = {
        "source": lambda: environment(tmp_path, "2"),
        "name": lambda: environment(tmp_path, "1", name="other"),
        "module": lambda: environment(tmp_path, "1", text),
    }[changed]()
    assert compiles(other, monkeypatch)


@pytest.mark.parametrize("content", [b"", b"no code", b"N."])
def test_a_spoiled_file_costs_time_only(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(tmp_path, "right").get_template("a")
    (kept,) = (tmp_path / FOLDER).iterdir()
    kept.write_bytes(content)
    again = environment(tmp_path, "right")
    assert compiles(again, monkeypatch)
    assert again.get_template("a").render() == "right"


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    environment(tmp_path, "1").get_template("a")
    (tmp_path / FOLDER).chmod(0o770)
    assert environment(tmp_path, "1").bytecode_cache is None


def test_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / FOLDER).symlink_to("elsewhere")
    (tmp_path / "elsewhere").chmod(0o700)
    assert environment(tmp_path, "1").bytecode_cache is None


def test_no_state_folder_is_made(tmp_path: Path) -> None:
    assert environment(tmp_path / "none", "1").bytecode_cache is None
    assert not (tmp_path / "none").exists()


def test_a_kept_file_is_for_this_account_only(tmp_path: Path) -> None:
    environment(tmp_path, "1").get_template("a")
    folder = tmp_path / FOLDER
    assert [path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())] == [0, 0]
    assert folder.stat().st_uid == os.geteuid()
