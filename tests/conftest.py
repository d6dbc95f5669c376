"""What all tests share: a state folder of their own, and real public data where it is at hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import cluster as cluster  # the fixture
from tests.project import small as small  # the fixture

ROOT = Path(__file__).parent.parent
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # started in a shell's background; processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples in every run, and none too slow on a machine that is busy; others:
# --hypothesis-profile=default
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the log, registry or keys of the person who runs it."""
    home = tmp_path / "countersign-home"
    for name in [
        name
        for name in os.environ
        if name.startswith("COUNTERSIGN_") and name != "COUNTERSIGN_PUBLIC_DATA"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COUNTERSIGN_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Real public data, from $COUNTERSIGN_PUBLIC_DATA or beside the project; the test skips without
    it.
    """
    folder = Path(os.environ.get("COUNTERSIGN_PUBLIC_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "gsm8k").is_dir():
        pytest.skip(f"no public data in {folder}")
    return folder
