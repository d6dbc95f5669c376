"""Adds this repository's own project to the wheel: what `countersign new` makes others from.

All else about the packages stands in pyproject.toml.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHARED = ("params.yaml", "dvc.yaml", "policies", "ci", "constraints.txt", ".dvcignore")
"""The files that are this repository's own and other projects' too."""
PLACE = Path("pipelines/templates/shared")
"""Their place in the wheel. A checkout has no such folder: `pipelines.template` reads its root."""


class BuildWithProject(build_py):
    """Copies the files beside the packages; an editable installation needs no copy."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        place = Path(self.build_lib) / PLACE
        place.mkdir(parents=True, exist_ok=True)
        for name in SHARED:
            if Path(name).is_dir():
                shutil.copytree(name, place / name, dirs_exist_ok=True)
            else:
                shutil.copy(name, place / name)


setup(cmdclass={"build_py": BuildWithProject})
