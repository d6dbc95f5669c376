"""What all tests share: a state folder of their own, and real public data where it is at hand."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Collection, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests import at_first_use
from tests.governance.registry.tables import mlflow_tables as mlflow_tables  # the fixture
from tests.in_time import LEFT_OUT, Schedule
from tests.postgres import cluster as cluster  # the fixture
from tests.project import before_registering as before_registering  # the fixtures
from tests.project import before_training as before_training
from tests.project import small as small

at_first_use.install()
ROOT = Path(__file__).parent.parent
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # started in a shell's background; processes would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
CI_LIMIT = 3000
"""CPU-seconds: 25 minutes of two cores."""
SCHEDULE = Schedule.of(os.environ)
WORTH_TELLING = 100
PROFILE = os.environ.get("TESTS_PROFILE", "ci")
"""`ci`; `nightly`: many examples, and the tests marked so; `mutation`: a failure is not made smaller."""
KILL_STEP = 1 if PROFILE == "nightly" else 4
"""A process is killed before each write at night, and before one of so many in CI."""
_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
# The same 50 examples in every run of CI, other ones each night; none is too slow on a busy machine.
settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, suppress_health_check=_QUIET
)
settings.register_profile(
    "nightly", max_examples=2000, deadline=None, suppress_health_check=_QUIET, print_blob=True
)
settings.register_profile(
    "mutation", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(PROFILE)


def examples(number: int) -> settings:
    """For a property whose examples take long: `number` of them in CI, forty times as many at night."""
    return settings(max_examples=number * settings().max_examples // 50)


def rows(table: Iterable[str], *, in_ci: Collection[str]) -> list[Any]:
    """The rows of a costly table for `parametrize`: those of `in_ci`, and at night all the others."""
    names = list(table)
    assert set(in_ci) <= set(names), sorted(set(in_ci) - set(names))
    marks = {name: () if name in in_ci else (pytest.mark.nightly,) for name in names}
    return [pytest.param(name, marks=marks[name]) for name in names]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Looks for no garbage while tests are collected: what is imported here stays, and is not looked
    at again.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # what `-m` leaves out has gone by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves the tests marked `nightly` to `make nightly`, and begins with those marked `long`."""
    if PROFILE != "nightly":
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        if left_out:
            config.hook.pytest_deselected(items=left_out)
            items[:] = [item for item in items if item not in set(left_out)]
    items[:] = _long_first(_in_turns(items))


def _in_turns(items: list[pytest.Item]) -> list[pytest.Item]:
    by_module: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_module.setdefault(item.path, []).append(item)
    return [item for module in SCHEDULE.order(list(by_module)) for item in by_module[module]]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves slow tests out when the time of a run is over (`tests.in_time`)."""
    slow = item.get_closest_marker("slow") is not None
    if SCHEDULE.leaves_out(slow=slow, now=time.time()):
        pytest.skip(LEFT_OUT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests were left out."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = sum(LEFT_OUT in str(report.longrepr) for report in skipped)
    if left_out:
        terminalreporter.write_line(f"{left_out} slow tests did not begin, since the time was over")


def _long_first(items: list[pytest.Item]) -> list[pytest.Item]:
    """Long tests at the places where each worker begins. Those of one module stay together: each
    worker would make its fixtures.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("long")]
    others = [item for item in items if not item.get_closest_marker("long")]
    modules = list(dict.fromkeys(item.path for item in long))
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        ordered += [item for item in long if modules.index(item.path) % workers == worker]
        end = len(items) * (worker + 1) // workers
        taken = max(0, end - len(ordered)) if worker + 1 < workers else len(others)
        ordered, others = ordered + others[:taken], others[taken:]
    return ordered


def pytest_unconfigure(config: pytest.Config) -> None:
    """Says what a long run cost. CPU time, as the workers' wall time depends on what else runs."""
    if hasattr(config, "workerinput"):
        return
    spent = os.times()  # the workers, and all that they waited for, count as children
    seconds = spent.user + spent.system + spent.children_user + spent.children_system
    if seconds > WORTH_TELLING:
        print(f"{seconds:.0f} CPU-seconds; CI's limit is {CI_LIMIT}, with lint and set-up")


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
