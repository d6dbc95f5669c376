"""Searches answers of a version in service as `scan_pii` searches records: a process that
`countersign serve` starts. `governance.proxy.searching` says what it reads and writes.

It has the lowest priority, so that no answer waits for it. No text is kept.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from governance.base.distribution import pip_install
from governance.base.errors import ConfigError, CountersignError
from governance.policy.data import PiiPolicy

if TYPE_CHECKING:
    from pipelines.pii.engine import PlainEngine

COMMAND = (sys.executable, "-P", "-m", "pipelines.pii.answer_search")
NEEDED = ("presidio_analyzer", "py3langid")
UNDETERMINED = "und"
LOWEST = 19
"""Of `nice`."""
Answered = Callable[[str], dict[str, Any] | None]


def command() -> tuple[str, ...]:
    """What starts the process. Raises `ConfigError` where it cannot run here."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        found = f"the search of answers needs {', '.join(missing)}, which is not installed"
        where = "policies/policy.yaml: monitoring.search"
        raise ConfigError(found, where=where, fix=pip_install("pipeline"))
    return COMMAND


def searcher(engine: PlainEngine) -> Answered:
    """Finds types of findings, whether one of them may not stay, and the language of a text; None
    where a text could not be searched completely.
    """
    from pipelines.features.languages import language_of
    from pipelines.pii import allowances
    from pipelines.pii.scan import significant
    from pipelines.pii.search import Search

    policy = engine.policy
    texts, listed = Search(engine, None, secrets.token_bytes(32)), allowances.entries(policy)

    def search(text: str) -> dict[str, Any] | None:
        (found,) = texts.find([text])
        if found.problem:
            return None
        not_allowed, _ = allowances.split(text, found.spans, listed)
        spans = significant(not_allowed, policy)
        return {
            "entities": dict(Counter(span.entity for span in spans)),
            "holds": any(policy.entity(span.entity).action != "allow" for span in spans),
            "language": language_of(text) or UNDETERMINED,
        }

    return search


def replies(lines: Iterator[str], root: Path) -> Iterator[str]:
    """One line for each line that is read. `root`: where the models lie that policy names."""
    from pipelines.pii.engine import PlainEngine
    from pipelines.pii.scan import check_names

    first = next(lines, None)
    if first is None:
        return
    try:
        engine = PlainEngine(PiiPolicy.model_validate_json(first), root)
        check_names(engine.policy, engine)
    except CountersignError as error:
        yield json.dumps({"problem": error.found})
        return
    search = searcher(engine)
    yield "{}"
    for line in lines:
        yield json.dumps(search(json.loads(line)))


def main(source: IO[str], target: IO[str]) -> None:
    """Answers until the input ends."""
    os.nice(LOWEST)
    for reply in replies(iter(source), Path.cwd()):
        target.write(f"{reply}\n")
        target.flush()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
