"""What became of the records that somebody asks about: the index, the log, and what the person may
read.

1. The log says which contents belong to which steps; the index says which records are in them. New
   contents are read first, from the project and from DVC's cache.
2. A content that is in neither place, and that was never indexed, is "not looked up", never "no".
3. Where policy says who may read, a dataset that the person may not read is neither read nor looked
   up. The reads of the others are recorded first.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from governance.base.errors import ConfigError
from governance.base.progress import Progress
from governance.commands import sources
from governance.commands.admitting import admitted
from governance.commands.session import Call
from governance.history.state import LogState
from pipelines.trace.answer import Held, Traced, held, holders, traced
from pipelines.trace.files import Files
from pipelines.trace.fill import fill
from pipelines.trace.index import FILE, MEMBERS, Index
from pipelines.trace.made_from import Touched, made_from
from pipelines.trace.question import Asked, Check, checked, ids_of, words_for
from pipelines.trace.rights import allowed_and_closed
from pipelines.trace.steps import Step, steps

AWAY, ODD = "neither here nor in DVC's cache", "its file cannot be read as records"
CLOSED = "policy does not let you read it"


@dataclass(frozen=True)
class LookedUp:
    """The answer."""

    now: LogState
    files: Files
    steps: list[Step]
    """The steps that the person may look into."""
    records: list[Traced]
    touched: list[Touched]
    missing: list[tuple[Step, str]]
    """Steps that were not looked into, and why."""
    check: Check | None

    @property
    def aliases(self) -> dict[str, list[Held]]:
        """The aliases of each that was made from the records."""
        return {user.what: held(self.now, user) for user in self.touched}


def look_up(call: Call, asked: Asked, command: str, *, exhaustive: bool) -> LookedUp:
    """Answers a question. `exhaustive`: the files are read, too. Raises as `admitted`."""
    now, _ = sources.verified(sources.of(call)).read
    _, closed = allowed_and_closed(call, now, steps(now))
    chosen = [step for step in steps(now) if step.digest not in closed]
    files = Files.of(Path.cwd(), now)
    with ExitStack() as stack:
        index = stack.enter_context(Index(_index_file(call, stack)))
        words = words_for(asked, stack)
        odd = fill(index, files, chosen, words, Progress())
        known = index.contents(MEMBERS)
        wanted, _ = allowed_and_closed(call, now, (one for one in chosen if one.digest in known))
        if wanted:
            admitted(call, command, now, lambda: wanted)
        ids = ids_of(index, asked, words)
        check = checked(index, files, chosen, asked, words, ids) if exhaustive else None
        records = traced(index, chosen, ids.union(check.lacking if check else ()))
    missing = [
        (step, ODD if step.digest in odd else AWAY) for step in chosen if step.digest not in known
    ]
    missing += [(step, CLOSED) for step in steps(now) if step.digest in closed]
    touched = list(made_from(now, holders(records)))
    return LookedUp(now, files, chosen, records, touched, missing, check)


def _index_file(call: Call, stack: ExitStack) -> Path:
    """The index of this machine; of a bundle away from any project, one for this call alone."""
    try:
        return call.machine.state / FILE
    except ConfigError:
        if call.bundle is None:
            raise
        return Path(stack.enter_context(TemporaryDirectory())) / FILE.name
