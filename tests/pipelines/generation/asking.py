"""Prompts, a constitution, and who is asked, for tests of generated records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from governance.attest.requests import EndpointRef
from governance.base.progress import Bar
from governance.policy.constitution import Constitution
from governance.policy.policies import load_policies
from pipelines.generation.endpoint import Endpoint
from pipelines.generation.replies import Replies
from pipelines.generation.speakers import Elsewhere
from pipelines.generation.work import Made, Work
from pipelines.params import Generate
from pipelines.pii.clean import Cleaned, clean
from pipelines.pii.engine import PlainEngine
from pipelines.pii.search import Search
from tests.pipelines.generation.peer import Peer, peer, said

CONSTITUTION = Constitution.model_validate(
    {
        "title": "Two principles",
        "principles": [
            {"name": "short", "text": "The answer is short."},
            {"name": "kind", "text": "The answer is kind, even to {people} in a hurry."},
        ],
    }
)
PROMPTS = [
    {"id": f"{at:032x}", "prompt": [{"role": "user", "content": f"question {at}"}]}
    for at in range(12)
]


def row(**changes: Any) -> Generate:
    fields = {
        "kind": "pairs", "prompts": "tickets", "constitution": "two", "generator": "sft",
        "judge": "sft", "seed": 4, "max_new_tokens": 8, **changes,
    }  # fmt: skip
    return Generate.model_validate(fields)


def elsewhere(server: Peer, folder: Path, settings: Generate) -> Elsewhere:
    ref = EndpointRef(name="frontier", url=server.uri, model="m")
    endpoint = Endpoint(ref, Replies(folder), {}, Bar(None, 0, ""))
    return Elsewhere(endpoint, CONSTITUTION.templates, settings)


def work(settings: Generate) -> Work:
    return Work(settings, CONSTITUTION, "a" * 64, "b" * 64, unchanged)


def unchanged(texts: Sequence[str]) -> list[Cleaned]:
    """Nothing is searched."""
    return [Cleaned(text) for text in texts]


def searched(texts: Sequence[str]) -> list[Cleaned]:
    """As the default policy says."""
    policy = load_policies(Path(__file__).parents[3] / "policies").pii
    with Search(PlainEngine(policy, Path()), None, b"none") as search:
        return clean(texts, policy, search, b"")


def model(body: dict[str, Any], judges: Any) -> str:
    """A draft that its seed determines, no number that could be a telephone's; a critique; a revision; or what `judges` says."""
    last = body["messages"][-1]["content"]
    if last.startswith("Compare two answers"):
        return str(judges(last))
    if "falls short" in last:
        return "too long"
    return "revised" if "critique" in last else f"draft {body['seed'] % 9973}"


def generated(folder: Path, settings: Generate, judges: Any, prompts: Any = PROMPTS) -> Made:
    with peer(lambda body, before: (200, {}, said(model(body, judges)))) as server:
        asked = elsewhere(server, folder, settings)
        made = Made()
        doing = work(settings)
        tasks = doing.tasks(prompts, made)
        if settings.kind == "pairs":
            doing.compare(tasks, asked, asked, made)
        else:
            doing.revise(tasks, asked, asked, made)
    return made


def honest(question: str) -> str:
    """Prefers the draft of the higher number, wherever it stands."""
    first, second = (int(part.split()[0]) for part in question.split("draft ")[1:])
    return "A" if first > second else "B"
