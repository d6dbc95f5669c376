"""A command imports what it needs: people wait for the rest each time they look."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

NEVER = ("torch", "transformers", "mlflow", "sqlalchemy", "dvc", "pandas", "pyarrow", "numpy")
"""A base install has none of them."""
DRAWING = ("jinja2", "governance.report.html")
"""Text for a terminal is drawn when there is something to draw."""
REPORT = ("governance.report.model", "governance.report.build", "governance.exports")
WRITING = ("governance.release.shown", "governance.registry.governed.governor")
"""What only an entry that was added needs."""

IMPORTS = {
    "live": ("governance.report", *DRAWING, *REPORT, *WRITING),
    "history": ("governance.report", *DRAWING, *REPORT, *WRITING),
    "explain": ("governance.report", *DRAWING, *REPORT, *WRITING),
    "status": (*DRAWING, *REPORT, *WRITING),
    "verify": (*DRAWING, *REPORT, *WRITING),
    "show": ("governance.exports", *WRITING),
    "diff": ("governance.exports", *WRITING),
    "control": WRITING,
}
"""Command to the modules that it does not import."""


@pytest.mark.parametrize("command", IMPORTS)
def test_a_command_does_not_import(command: str) -> None:
    code = (
        "import json, sys\nfrom pipelines.cli import cli\ncli.get_command(None, sys.argv[1])\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, check=True
    )
    imported = set(json.loads(done.stdout))
    assert "governance.commands.session" in imported
    assert not imported & {*NEVER, *IMPORTS[command]}


def test_what_declares_stages_imports_no_library_that_stages_use() -> None:
    """Workers of gates and reports are forks of a process that has imported all declarations."""
    code = (
        "import json, sys\nfrom pipelines.families import all_families\nall_families()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "pipelines.stages.scan_pii" in imported
    assert not imported & {*NEVER, "pipelines.training.fit", "pipelines.kinds"}
