"""The sdist and the wheel of this tree, and an environment in which only the wheel is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

BACKEND = "import setuptools.build_meta as b; b.build_sdist('..')"


@dataclass(frozen=True)
class Built:
    """What is uploaded to an index."""

    sdist: Path
    wheel: Path


def files_of_the_tree() -> list[str]:
    """Every file that git would commit."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return sorted(name for name in set(listed.stdout.split("\0")) if (ROOT / name).is_file())


def build(folder: Path) -> Built:
    """The sdist of a copy of this tree, and the wheel that the sdist gives. Nothing is downloaded."""
    tree = folder / "tree"
    for name in files_of_the_tree():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    _run([sys.executable, "-c", BACKEND], tree)
    (sdist,) = folder.glob("*.tar.gz")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps"]
    _run([*pip, "-w", str(folder), str(sdist)], folder)
    (wheel,) = folder.glob("*.whl")
    return Built(sdist, wheel)


def environment(folder: Path, wheel: Path) -> Path:
    """An environment with the wheel, and the dependencies of this one; its folder of programs."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    _run([*pip, "install", "-q", "--no-deps", "--no-index", str(wheel)], folder)
    # After the wheel's own folder, so that it is found before an installation in that one.
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin"


@dataclass(frozen=True)
class Place:
    """A folder outside the checkout, for somebody who has the wheel and an empty home."""

    folder: Path
    environ: dict[str, str]

    def run(self, *command: str, within: str = ".") -> str:
        """A command that has to succeed; what it said."""
        done = subprocess.run(
            command,
            cwd=self.folder / within,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout


def place(folder: Path, wheel: Path) -> Place:
    """Installs the wheel there."""
    programs = environment(folder / "venv", wheel)
    (folder / "home").mkdir()
    person = {"NAME": "Test", "EMAIL": "test@example.org"}
    path = [str(programs), os.environ.get("PATH", "")]
    return Place(
        folder,
        {
            "PATH": os.pathsep.join(path),
            "HOME": str(folder / "home"),
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "COUNTERSIGN_HOME": str(folder / "state"),
            "DVC_NO_ANALYTICS": "1",
            **{
                f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER")
                for what, value in person.items()
            },
        },
    )


def _run(command: list[str], folder: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
