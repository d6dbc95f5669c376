"""`countersign unpack`: what stands in the folder afterwards is what was registered, or what stood
there before.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from governance.attest.digests import manifest, tree_digest
from governance.attest.predicates import ModelFile, Read
from governance.base.errors import CountersignError, InputError, StorageError, VerificationError
from governance.commands.unpack import command, ended_in_order
from governance.history.state import state
from governance.models import folder as modelfolder
from governance.release import serving, unpacking
from tests.governance.forged import forge
from tests.governance.governed import RULES, Governed, governed
from tests.governance.proxy.world import made, promoted, two_versions
from tests.governance.story import MODEL
from tests.governance.terminal import key_file

NAME = f"countersign://{MODEL}@champion"
READERS = "readers: {datasets: {}, models: {support-desk: [release-manager]}}\n"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Governed:
    """Version 2 is champion and version 3 may be; read only."""
    found = governed(tmp_path_factory.mktemp("once"))
    two_versions(found)
    return found


@pytest.fixture
def scene(once: Governed, tmp_path: Path) -> Governed:
    return once.copy(tmp_path / "scene")


def files(scene: Governed, version: str = "2") -> Path:
    return scene.story.machine.artifact_root / f"{int(version):032x}" / "artifacts" / "model"


def run(scene: Governed, monkeypatch: pytest.MonkeyPatch, *arguments: str, **more: str) -> Result:
    monkeypatch.chdir(scene.story.root)
    for name, value in {**scene.story.machine.environ, **more}.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(command, list(arguments))


def code(result: Result) -> int:
    error = result.exception
    return error.exit_code if isinstance(error, CountersignError) else result.exit_code


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# -- The folder ------------------------------------------------------------------------------------
@pytest.mark.parametrize("is_there", [False, True])
def test_it_writes_the_registered_files_and_nothing_else(
    is_there: bool, once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a volume is mounted: an empty folder. Or a name that does not exist."""
    target = tmp_path / "models"
    if is_there:
        target.mkdir()
    done = run(once, monkeypatch, NAME, str(target), "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["version"], found["alias"]) == ("2", "champion")
    assert found["sha256"] == tree_digest(target) == tree_digest(files(once))
    assert {path.stat().st_mode & 0o777 for path in target.iterdir()} == {0o444}
    assert target.stat().st_mode & 0o777 == 0o755
    assert names(tmp_path) == ["models", *(f"models/{name}" for name in names(target))]


def test_it_says_so_in_words(
    once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(once, monkeypatch, f"{MODEL}/3", str(tmp_path / "models"))
    assert done.output.startswith(f"UNPACKED: {tmp_path}/models is support-desk/3 (sha256 ")


def test_what_is_there_is_left_alone(
    once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for arguments in ((), ("--replace",)):
        assert code(run(once, monkeypatch, NAME, str(tmp_path), *arguments)) == 3
    assert names(tmp_path) == ["notes.txt"]
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert code(run(once, monkeypatch, NAME, str(tmp_path / "link"), "--replace")) == 3
    assert code(run(once, monkeypatch, NAME, str(tmp_path / "notes.txt"))) == 3
    assert code(run(once, monkeypatch, NAME, str(tmp_path / "a" / "b"))) == 3


def test_a_link_by_the_name_of_a_file_is_not_replaced(
    once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "config.json").symlink_to(tmp_path / "mine")
    assert code(run(once, monkeypatch, NAME, str(tmp_path / "models"), "--replace")) == 3


def test_a_container_that_starts_again_replaces_what_it_wrote(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias has moved in between, and another start was killed while it copied."""
    target = tmp_path / "models"
    assert run(scene, monkeypatch, NAME, str(target)).exit_code == 0
    assert code(run(scene, monkeypatch, NAME, str(target))) == 3  # without --replace
    left = target / f"{serving.COPY}killed" / "model"
    left.mkdir(parents=True)
    (left / "config.json").write_text("{}")
    (target / "config.json").chmod(0o644)
    (target / "config.json").write_text("spoiled")
    promoted(scene)
    done = run(scene, monkeypatch, NAME, str(target), "--replace")
    assert done.exit_code == 0, done.output
    assert tree_digest(target) == tree_digest(files(scene, "3")) != tree_digest(files(scene))
    assert not left.exists()


class KilledError(Exception):
    """As a kill: nothing is cleaned up by whoever meets it."""


def killed_after(steps: int, patch: pytest.MonkeyPatch) -> None:
    """Removes and moves this many files, and no more."""
    left = [steps]

    def counted(real: Any) -> Any:
        def act(*paths: Path) -> None:
            if not left[0]:
                raise KilledError
            left[0] -= 1
            real(*paths)

        return act

    patch.setattr(Path, "unlink", counted(Path.unlink))
    patch.setattr(Path, "rename", counted(Path.rename))


def test_a_kill_at_any_move_leaves_no_folder_that_loads(
    once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any time, the folder has every verified file, or no file with which a loader begins."""
    served = serving.resolve(state(once.story.log), f"{MODEL}@champion")
    old, new = files(once, "3"), files(once)
    allowed = unpacking.replaceable(state(once.story.log), MODEL)
    steps = 2 * len(manifest(new))
    seen = []
    for last in range(steps + 1):
        target = tmp_path / f"at{last}"
        shutil.copytree(old, target)
        with monkeypatch.context() as patch, suppress(KilledError):
            killed_after(last, patch)
            unpacking.unpack(served, new, target, allowed)
        loads = (target / "config.json").exists()
        digest = tree_digest(target) if loads else ""
        seen.append("" if not loads else "old" if digest == tree_digest(old) else "new")
        assert digest in ("", tree_digest(old), served.registration.model_digest)
    assert seen[0] == "old" and seen[-1] == "new" and set(seen[1:-1]) == {""}


# -- What it refuses -------------------------------------------------------------------------------
def test_spoiled_files_reach_no_folder(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "models"
    shutil.copytree(files(scene, "3"), target)
    (files(scene) / "config.json").write_text('{"a": 1}')
    before = tree_digest(target)
    assert code(run(scene, monkeypatch, NAME, str(target), "--replace")) == 5
    assert tree_digest(target) == before
    assert code(run(scene, monkeypatch, NAME, str(tmp_path / "new"))) == 5
    (files(scene) / "config.json").unlink()
    assert code(run(scene, monkeypatch, NAME, str(tmp_path / "new"))) == 5
    assert names(tmp_path / "models") == names(files(scene, "3"))
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(f"{serving.COPY}*"))


ARGUMENTS: dict[str, tuple[tuple[str, ...], int]] = {
    "no name": ((MODEL,), 2),
    "the latest": ((f"countersign://{MODEL}@latest",), 2),
    "two schemes": ((f"countersign://models:/{MODEL}@champion",), 2),
    "another scheme": ((f"s3://{MODEL}@champion",), 2),
    "an alias that nobody holds": ((f"countersign://{MODEL}@challenger",), 3),
    "an unknown version": ((f"countersign://{MODEL}/9",), 3),
    "a version without files here": ((f"countersign://{MODEL}/1",), 3),
    "another log": ((NAME, "--origin", "0" * 64), 5),
}


@pytest.mark.parametrize("row", ARGUMENTS)
def test_what_it_cannot_unpack_is_an_error(
    row: str, once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name, *options), expected = ARGUMENTS[row]
    result = run(once, monkeypatch, name, str(tmp_path / "models"), *options)
    assert code(result) == expected, result.exception
    assert not (tmp_path / "models").exists()


def test_an_alias_under_an_incident_is_refused_and_a_version_tells_of_it(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `countersign serve`, and as the loader."""
    scene.story.models["sft"] = tree_digest(files(scene))
    scene.incident("2", "open")
    refused = run(scene, monkeypatch, NAME, str(tmp_path / "a"))
    assert code(refused) == 4 and "INCIDENT_OPEN" in str(refused.exception)
    told = run(scene, monkeypatch, f"{MODEL}/2", str(tmp_path / "b"))
    assert told.exit_code == 0 and "INCIDENT OPEN" in told.output


def test_a_forged_move_is_refused(
    scene: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge(scene, "3")
    assert code(run(scene, monkeypatch, NAME, str(tmp_path / "models"))) == 5
    assert not (tmp_path / "models").exists()


def test_the_read_is_asked_for_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = governed(tmp_path / "scene", RULES + READERS)
    made(scene, "2")
    scene.released("2")
    target = str(tmp_path / "models")
    assert code(run(scene, monkeypatch, NAME, target)) == 4  # the machine's key may not
    assert not Path(target).exists() and not list(state(scene.story.log).evidence.all(Read))
    key = key_file(tmp_path, "cleo")
    more = {"COUNTERSIGN_KEY": key, "COUNTERSIGN_PURPOSE": "serving"}
    done = run(scene, monkeypatch, NAME, target, **more)
    assert done.exit_code == 0, done.output
    (said,) = state(scene.story.log).evidence.all(Read)
    read = said.predicate
    assert (read.command, read.reader, read.purpose) == ("unpack", "cleo", "serving")
    assert {subject.sha256 for subject in said.subjects} == {tree_digest(Path(target))}


def test_a_disk_that_refuses_is_an_error_of_the_disk(once: Governed, tmp_path: Path) -> None:
    served = serving.resolve(state(once.story.log), f"{MODEL}@champion")

    def full(file: ModelFile, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        unpacking.unpack(served, full, tmp_path / "models")
    assert names(tmp_path) == []


def test_a_server_that_cannot_be_reached_is_an_error_to_try_again(
    once: Governed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"COUNTERSIGN_LOG": "https://127.0.0.1:9", "COUNTERSIGN_HOME": str(tmp_path / "home")}
    assert code(run(once, monkeypatch, NAME, str(tmp_path / "models"), **more)) == 8
    assert not (tmp_path / "models").exists()


def test_a_change_during_the_copy_is_found_in_the_copy(once: Governed, tmp_path: Path) -> None:
    served = serving.resolve(state(once.story.log), f"{MODEL}@champion")
    real = modelfolder.from_folder(files(once))

    def changing(file: ModelFile, target: Path) -> None:
        real(file, target)
        if file.path == "config.json":
            target.write_bytes(target.read_bytes() + b" ")

    (tmp_path / "models").mkdir()
    with pytest.raises(VerificationError, match=r"config\.json"):
        unpacking.unpack(served, changing, tmp_path / "models")
    assert names(tmp_path) == ["models"]


def test_a_folder_is_judged_before_anything_is_read(once: Governed, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    served = serving.resolve(state(once.story.log), f"{MODEL}@champion")

    def never(file: ModelFile, target: Path) -> None:
        pytest.fail("read")

    with pytest.raises(InputError, match="not empty"):
        unpacking.unpack(served, never, tmp_path)


def test_sigterm_removes_the_copy(once: Governed, tmp_path: Path) -> None:
    served = serving.resolve(state(once.story.log), f"{MODEL}@champion")
    before = signal.getsignal(signal.SIGTERM)

    def ended(file: ModelFile, target: Path) -> None:
        target.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt), ended_in_order():
        unpacking.unpack(served, ended, tmp_path / "models")
    assert names(tmp_path) == [] and signal.getsignal(signal.SIGTERM) == before
