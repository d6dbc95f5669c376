"""A project's evidence without its work: a support desk whose statements are made up, decided on by
the real code.

`desk()` gives a world in which `gate@grpo` allows: data with its whole chain, a parent and a scorer
trained behind gates down to an allowed base, evaluations that pass. A scenario changes one thing
(`Plan`) and looks at what the decision says. Evidence is kept in memory, or signed with real keys
in a real log (`in_log`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from governance.attest.predicates import PREDICATES, TYPE_PREFIX, Artifact, JudgeRef
from governance.attest.requests import (
    DataRef,
    FurtherSuite,
    GateRequest,
    GenerationRequest,
    ModelRef,
    ReleaseRequest,
    SuiteRef,
    judge_digest,
    judge_of,
)
from governance.gates.judging import MEASURES
from governance.log import evidence
from governance.log.evidence import Evidence, key_ring
from governance.log.rules import CURRENT
from governance.log.views import EvidenceView, log_evidence
from governance.machine.machine import machine, open_log, signer
from governance.policy.constitution import Constitution
from governance.policy.data import EntityPolicy, PiiPolicy, QualityCheck, QualitySuite
from governance.policy.declarations import Declaration
from governance.policy.evaluation import (
    Comparison,
    Demands,
    EvaluationPolicy,
    SliceThreshold,
    SuitePolicy,
    Threshold,
)
from governance.policy.policies import Policies
from governance.policy.rules import (
    AllowedBase,
    Datacard,
    Licences,
    ModelPolicy,
    Retention,
    Rules,
    Tier,
)

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MODEL = "support-desk"
ITEMS = 200
LANGUAGES = ["en"] * 150 + ["de"] * 50
"""Of the items, in order."""
Key = tuple[str, str]
"""Kind of evidence, and the dataset, stage or base it is about."""


def digest(text: str) -> str:
    """A digest that stands for something."""
    return hashlib.sha256(text.encode()).hexdigest()


DATASETS = {
    "text": "conversation",
    "chats": "conversation",
    "pairs": "preference",
    "tickets": "prompt",
    "eval": "prompt",
}
STAGES: dict[str, tuple[str, str, str, str]] = {
    # name: method, data, parent, scorer ("" where unused)
    "base": ("pretrain", "text", "tiny", ""),
    "sft": ("sft", "chats", "base", ""),
    "reward": ("reward", "pairs", "sft", ""),
    "dpo": ("dpo", "pairs", "sft", ""),
    "grpo": ("grpo", "tickets", "dpo", "reward"),
}
SCORES: dict[str, dict[str, list[float]]] = {
    "sft": {"exact": [1.0] * 190 + [0.0] * 10, "unsafe": [0.25] * ITEMS},
    "reward": {"accuracy": [1.0] * 180 + [0.0] * 20},
    "dpo": {"exact": [1.0] * 192 + [0.0] * 8, "unsafe": [0.0] * ITEMS},
    "grpo": {"exact": [1.0] * 196 + [0.0] * 4, "unsafe": [0.0] * ITEMS},
    "bought": {"exact": [1.0] * 194 + [0.0] * 6, "unsafe": [0.0] * ITEMS},
}


CONSTITUTION = {"title": "Desk", "principles": [{"name": "safe", "text": "It is safe."}]}


@dataclass
class Plan:
    """What one scenario does differently from a world in which all is well."""

    policies: Policies
    without: set[Key] = field(default_factory=set)
    """Evidence that was never recorded."""
    said: dict[Key, dict[str, Any]] = field(default_factory=dict)
    """Fields of predicates that say something else; `inputs` maps role to digest."""
    late: set[Key] = field(default_factory=set)
    """Evidence that is recorded only after everything else."""
    request: Callable[[GateRequest], GateRequest] = lambda request: request
    released: Callable[[ReleaseRequest], ReleaseRequest] = lambda request: request
    keyid: Callable[[str, str], tuple[str, bool]] = lambda kind, key: ("development-key", True)
    """Who signs evidence (kind, key): key id, and whether it is a development key."""
    at: datetime = NOON
    generation: GenerationRequest | None = None
    """What was asked before `tickets` was generated; None where it was not."""
    suites: dict[str, str] = field(
        default_factory=lambda: {name: digest(f"suite {name}") for name in ("eval", "pairs")}
    )
    """Evaluation suite to its digest."""
    further: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Row of a further evaluation to the model and the suite."""
    probes: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    """Model and stage of a leak probe, and what tells two of them apart, to what it found."""

    judges: dict[str, JudgeRef] = field(default_factory=dict)
    """Judges of evaluations that have a card, by its row."""

    def compare(self, suite: str, *models: str, **methods: Demands) -> None:
        """A judge compares the answers of `models` with those of sft; policy requires the suite."""
        self.require(suite, *models, **methods)
        judge = JudgeRef(
            kind="model",
            speaker=model("judge"),
            rubric=digest("rubric"),
            templates=digest("words"),
        )
        self.judges["wins_judge"] = judge
        for name in models:
            self.say(
                "evaluate",
                f"{name}_{suite}",
                scores={"win_rate": [1.0] * 150 + [0.5] * 40 + [0.0] * 10},
                judged_by=judged_by(judge),
            )

    def require(self, suite: str, *models: str, **methods: Demands) -> None:
        """Policy requires a further suite of the desk; rows evaluate `models` on it."""
        self.suites[suite] = digest(f"suite {suite}")
        self.further |= {f"{name}_{suite}": (name, suite) for name in models}
        required = SuitePolicy(role="safety", required_of=[MODEL], methods=methods)
        suites = {**self.policies.evaluation.suites, suite: required}
        self.policy(evaluation=self.policies.evaluation.model_copy(update={"suites": suites}))

    def policy(self, **changes: Any) -> None:
        """Other policies."""
        self.policies = replace(self.policies, **changes)

    def rules(self, **changes: Any) -> None:
        """Another policies/policy.yaml."""
        self.policy(rules=self.policies.rules.model_copy(update=changes))

    def tier(self, **changes: Any) -> None:
        """Other demands of the model's tier."""
        self.rules(
            tiers={"limited": self.policies.rules.tiers["limited"].model_copy(update=changes)}
        )

    def card(self, dataset: str, **changes: Any) -> None:
        """Another datacard."""
        card = self.policies.datacards[dataset].model_copy(update=changes)
        self.policy(datacards={**self.policies.datacards, dataset: card})

    def demand(self, suite: str, method: str, demands: Demands | None) -> None:
        """Other demands of one method on one suite; None: none at all."""
        methods = {**self.policies.evaluation.suites[suite].methods}
        methods.pop(method)
        if demands:
            methods[method] = demands
        suites = {**self.policies.evaluation.suites, suite: SuitePolicy(methods=methods)}
        self.policy(evaluation=self.policies.evaluation.model_copy(update={"suites": suites}))

    def generates(self, **changes: Any) -> None:
        """`tickets` was generated from `eval`, by sft, judged by dpo, as policy permits."""
        constitution = Constitution.model_validate(CONSTITUTION)
        self.policy(constitutions={"desk": constitution})
        self.card("tickets", generated_by="sft")
        self.generation = GenerationRequest(
            model=MODEL,
            stage="tickets",
            kind="pairs",
            data=DataRef(dataset="eval", sha256=ready("eval")),
            constitution="desk",
            constitution_digest=self.policies.constitution_digest("desk"),
            templates=self.policies.templates_digest("desk"),
            generator=reference("sft", self.suites),
            judge=reference("dpo", self.suites),
        ).model_copy(update=changes)

    def say(self, kind: str, key: str, /, **fields: Any) -> None:
        """Evidence that says something else."""
        self.said.setdefault((kind, key), {}).update(fields)


@dataclass(frozen=True)
class World:
    """What a decision is made over."""

    request: GateRequest
    release: ReleaseRequest
    policies: Policies
    evidence: EvidenceView
    at: datetime


class InMemory(EvidenceView):
    """A view over a list."""

    def __init__(self) -> None:
        super().__init__(self)
        self.items: list[Evidence] = []

    def about(self, sha256: str) -> list[Evidence]:
        return [item for item in self.items if any(one.sha256 == sha256 for one in item.subjects)]

    def of_kind(self, kind: str | None) -> list[Evidence]:
        return [item for item in self.items if kind in (None, item.kind)]

    def rules_at(self, index: int) -> int:
        return CURRENT


Record = Callable[[str, str, list[Artifact], Any], None]
"""record(kind, key, subjects, predicate)."""


def desk() -> Plan:
    """The plan under which everything is allowed."""
    return Plan(policies())


def imported() -> Plan:
    """The plan under which `bought`, a model that was trained elsewhere, may be released."""
    plan = desk()
    allowed = AllowedBase(
        digest=model("bought"), weights=True, source="bought", licence="Apache-2.0"
    )
    plan.policy(
        bases={**plan.policies.bases, "bought": allowed},
        imports={"bought": Declaration.model_validate(declaration())},
    )
    plan.tier(imported=True)
    on_eval = plan.policies.evaluation.suites["eval"].methods
    plan.policy(evaluation=evaluation(imported=on_eval["sft"]))
    plan.released = lambda request: request.model_copy(
        update={"released": reference("bought", plan.suites)}
    )
    return plan


def in_memory(plan: Plan) -> World:
    """The world of a plan, its evidence in a list."""
    view = InMemory()

    def record(kind: str, key: str, subjects: list[Artifact], predicate: Any) -> None:
        keyid, development = plan.keyid(kind, key)
        index = len(view.items)
        view.items.append(
            Evidence(
                index,
                kind,
                tuple(subjects),
                predicate,
                keyid,
                development,
                digest(f"{index} {kind} {key}"),
            )
        )

    _tell(plan, record)
    return _world(plan, view)


def in_log(plan: Plan, home: Path) -> World:
    """The same, each statement signed with a development key and appended to a log below `home`."""
    here = machine(MODEL, {"COUNTERSIGN_HOME": str(home), "COUNTERSIGN_REQUESTER": "ada"})
    log = open_log(here, plan.policies, lambda: NOON)

    def record(kind: str, key: str, subjects: list[Artifact], predicate: Any) -> None:
        evidence.record(log, signer(here), kind, subjects, predicate)

    _tell(plan, record)
    return _world(plan, log_evidence(log, key_ring(log, plan.policies.keys)))


def model(name: str) -> str:
    """The digest of a model."""
    return digest(f"model {name}")


def ready(dataset: str) -> str:
    """The digest of a dataset's ready records."""
    return digest(f"ready {dataset}")


def suite_of(name: str) -> str:
    """The dataset a model is evaluated on."""
    return "pairs" if name == "reward" else "eval"


Rows = Mapping[str, tuple[str, str]]
NO_ROWS: Rows = {}


def gate_request(stage: str, suites: dict[str, str], further: Rows = NO_ROWS) -> GateRequest:
    """What the gate of a stage is asked."""
    method, data, parent, scorer = STAGES[stage]
    suite = suite_of(stage)
    return GateRequest(
        model=MODEL,
        stage=stage,
        method=method,
        kind=DATASETS[data],
        data=DataRef(dataset=data, sha256=ready(data)),
        suite=SuiteRef(name=suite, digest=suites[suite], records=ready(suite), split="test"),
        parent=reference(parent, suites, further),
        scorer=reference(scorer, suites, further) if scorer else None,
        objective=digest(f"objective {stage}"),
        rewards={"route_exact": digest("route_exact"), "model": digest("model")} if scorer else {},
    )


def reference(name: str, suites: dict[str, str], further: Rows = NO_ROWS) -> ModelRef:
    """A model as a request names it."""
    suite = suite_of(name)
    files = (
        ["config.json"]
        if name == "tiny"
        else ["config.json", "model.safetensors", "tokenizer.json"]
    )
    return ModelRef(
        name=name,
        outside=name in ("tiny", "bought"),
        sha256=model(name),
        files=files,
        suite=suite,
        suite_digest=suites[suite],
        further=[
            FurtherSuite(name=of, digest=suites[of], records=ready(of), split="test", row=row)
            for row, (model_, of) in further.items()
            if model_ == name
        ],
    )


def policies() -> Policies:
    """Policies under which the desk is allowed."""
    check = QualityCheck(name="rows", check="expect_table_row_count_to_be_between", column="(table)", min_value=1,
                         action="block", reason="TOO_FEW_RECORDS")  # fmt: skip
    kinds = sorted(set(DATASETS.values()))
    suites = {
        kind: QualitySuite.model_validate({"kind": kind, "expectations": [check]}) for kind in kinds
    }
    limited = Tier(promotable=True, approvals=2, classifications=["public", "internal"])
    return Policies(
        digest=digest("policies"),
        rules=Rules(
            models={MODEL: ModelPolicy(tier="limited", purpose="customer-support", region="EU")},
            tiers={"limited": limited},
            licences=Licences(data=["MIT"], bases=["Apache-2.0"]),
            lawful_bases=["no_personal_data", "contract"],
            rewards=["route_exact", "model"],
            development_keys="candidate",
        ),
        bases={
            "tiny": AllowedBase(
                digest=model("tiny"), weights=False, source="tiny.json", licence="Apache-2.0"
            )
        },
        evaluation=evaluation(),
        datacards={name: card(kind) for name, kind in DATASETS.items()},
        pii=PiiPolicy(
            default=EntityPolicy(action="redact"),
            entities={"URL": EntityPolicy(action="allow", reason="public links")},
            minimum_recall={"EMAIL_ADDRESS": 0.7},
        ),
        quality=suites,
    )


def evaluation(**more: Demands) -> EvaluationPolicy:
    """Thresholds that the scores of `SCORES` meet. `more`: those of further methods on `eval`."""
    exact, safe = Threshold(at_least=0.9), Threshold(at_most=0.05)
    online = Demands(
        thresholds={"exact": exact, "unsafe": safe},
        compare=[
            Comparison(reference="parent", metric="exact", may_fall=0.05),
            Comparison(reference="champion", metric="exact", may_fall=0.05),
        ],
        slices=[SliceThreshold(by="language", metric="exact", at_least=0.5)],
    )
    on_eval = {
        "base": Demands(none="an architecture without weights"),
        "pretrain": Demands(none="it was not taught to answer"),
        "sft": Demands(thresholds={"exact": exact}),
        "dpo": online,
        "grpo": online,
        **more,
    }
    on_pairs = {"reward": Demands(thresholds={"accuracy": Threshold(at_least=0.8)})}
    return EvaluationPolicy(
        confidence=0.95,
        minimum_items=50,
        suites={"eval": SuitePolicy(methods=on_eval), "pairs": SuitePolicy(methods=on_pairs)},
    )


def card(suite: str) -> Datacard:
    """A datacard without blanks."""
    return Datacard(
        title="Tickets",
        steward="support",
        origin="made up",
        licence="MIT",
        lawful_basis="no_personal_data",
        purposes=["customer-support"],
        regions=["EU"],
        classification="internal",
        retention=Retention(until=date(2030, 1, 1), then="erase"),
        labelling="none",
        suite=suite,
    )


def declaration() -> dict[str, Any]:
    """What is declared of `bought`, a model that was trained elsewhere; nothing is unknown."""
    dataset = {
        "name": "their/chats",
        "licence": "MIT",
        "lawful_basis": "contract",
        "personal_data": "present",
        "classification": "internal",
        "purposes": ["customer-support"],
        "regions": ["EU"],
        "sha256": digest("their chats"),
    }
    return {
        "digest": model("bought"),
        "trained_by": {"organisation": "Acme", "tool": "verl", "tool_version": "0.6.1"},
        "methods": ["sft", "grpo"],
        "parent": {"model": "acme/base@1", "licence": "Apache-2.0"},
        "datasets": [dataset],
        "built_from": {"commit": "1" * 40, "container": digest("image")},
        "documents": [{"title": "model card", "sha256": digest("card")}],
        "declared_by": "cleo",
        "declared_on": "2026-11-20",
    }


def _world(plan: Plan, view: EvidenceView) -> World:
    release = ReleaseRequest(model=MODEL, released=reference("grpo", plan.suites, plan.further))
    return World(
        plan.request(gate_request("grpo", plan.suites, plan.further)),
        plan.released(release),
        plan.policies,
        view,
        plan.at,
    )


def _tell(plan: Plan, record: Record) -> None:
    """Every statement of the desk in the order a pipeline records them; the late ones at the
    end.
    """
    statements = [*_data(plan), *_models(plan)]
    statements = [item for item in statements if item[:2] not in plan.without]
    for kind, key, subjects, fields in sorted(statements, key=lambda item: item[:2] in plan.late):
        predicate = PREDICATES[f"{TYPE_PREFIX}{kind}/v1"].model_validate(
            _said(plan, kind, key, fields)
        )
        record(kind, key, subjects, predicate)


Statement = tuple[str, str, list[Artifact], dict[str, Any]]


PLANTED = {"planted": 25, "found": 25}


def _data(plan: Plan) -> Iterator[Statement]:
    for name, kind in DATASETS.items():
        steps = {step: digest(f"{step} {name}") for step in ("source", "ingested", "scanned")}
        common = {"dataset": name, "counts": _counts()}
        if name == "tickets" and plan.generation is not None:
            yield from _judge_card("desk_judge", judge_of(plan.generation))
            yield _generation(plan.generation, steps["source"])
        fields = {
            "kind": kind,
            "record_key": "development",
            "fields_unused": {},
            "inputs": {"source": steps["source"]},
        }
        yield "ingest", name, [_at("records", steps["ingested"])], {**common, **fields}
        fields = {
            "passed": True,
            "engine": {"ner": "name-list"},
            "config": policies().pii_digest,
            "languages": ["en"],
            "entities_searched": ["URL", "PERSON"],
            "cannot_find": [],
            "found": {"PERSON": 3, "URL": 1},
            "remaining": {"URL": 1},
            "actions": {},
            "inputs": {"records": steps["ingested"]},
            "recall": {
                "seeds": digest("seeds"),
                "texts": 3,
                "entities": {"EMAIL_ADDRESS": PLANTED},
            },
        }
        yield "scan", name, [_at("records", steps["scanned"])], {**common, **fields}
        expectation = {"name": "rows", "column": "(table)", "severity": "critical", "success": True, "unexpected": 0,
                       "expected": "1 or more", "action": "block"}  # fmt: skip
        held = {"held_out": digest("scanned eval")} if name != "eval" else {}
        fields = {
            "kind": kind,
            "passed": True,
            "suite": policies().suite_digest(kind),
            "expectations": [expectation],
            "inputs": {"records": steps["scanned"], **held},
        }
        yield "quality", name, [_at("records", ready(name))], {**common, **fields}


KAPPA = {"value": 0.8, "low": 0.7, "high": 0.9}
FIGURES: dict[str, Any] = {
    "agreement": {"items": 200, "raters": 1, "kappa": KAPPA},
    "orders": {"items": 200, "won": 195, "once": 0},
    "measures": {name: {"items": 100, "won": 0, "once": 0} for name in MEASURES},
}
"""Of a judge that passes."""


def fooled(plan: Plan) -> None:
    """One text wins against the judge, whatever was asked."""
    measures = {**FIGURES["measures"], "constant": {"items": 100, "won": 60, "once": 10}}
    plan.say("judge_card", "desk_judge", figures={**FIGURES, "measures": measures})


JUDGE = JudgeRef(
    kind="model", speaker=digest("reward"), rubric=digest("rubric"), templates=digest("words")
)


def judged_by(judge: JudgeRef) -> dict[str, Any]:
    """What an evaluation of 200 items says of its judge."""
    return {
        "judge": judge.model_dump(mode="json"), "name": "reward", "row": "wins_judge",
        "prompts": "eval", "opponent": model("sft"), "opponent_name": "sft",
        "consistent": 160, "inconsistent": 30, "equal": 10,
        "lengths": [20] * 200, "opponent_lengths": [18] * 200,
    }  # fmt: skip


def _judge_card(key: str, judge: JudgeRef | None) -> Iterator[Statement]:
    """The card of a judge, which passes."""
    if judge is None:
        return
    yield (
        "judge_card",
        key,
        [_at("judge", judge_digest(judge)), _at("card", digest(f"card {key}"))],
        {
            "judge": judge_digest(judge),
            "judged_by": judge.model_dump(mode="json"),
            "name": "dpo",
            "labelled": "labels",
            "split": "test",
            "probes": digest("probes"),
            "figures": FIGURES,
            "until": "2027-05-01",
            "inputs": {"labelled": digest("labels")},
        },
    )


def _generation(request: GenerationRequest, source: str) -> Statement:
    roles = ("prompts", "generator", "judge")
    decided = request.decided_on
    return (
        "generation",
        "tickets",
        [
            _at("source", source),
            *(_at(f"decided_on/{role}", at) for role, at in decided.items()),
        ],
        {
            "allowed": True,
            "tier": "limited",
            "decided_on": decided,
            "findings": [],
            "at": "2026-11-20T10:00:00Z",
            "counts": {"asked": 10, "kept": 8, "dropped": {"INCONSISTENT": 2}},
            "parameters": request.model_dump(mode="json"),
            "inputs": {role: decided[role] for role in roles if role in decided},
        },
    )


def _models(plan: Plan) -> Iterator[Statement]:
    yield (
        "base",
        "tiny",
        [_at("model", model("tiny"))],
        {"source": "tiny.json", "files": 1, "weights": False},
    )
    yield _evaluate("tiny", plan.suites)
    if "bought" in plan.policies.bases:
        fields = {"source": "bought", "files": 3, "weights": True}
        yield "base", "bought", [_at("model", model("bought"))], fields
        yield _evaluate("bought", plan.suites)
    for name, (method, data, parent, scorer) in STAGES.items():
        request = gate_request(name, plan.suites, plan.further)
        answer = digest(f"gate {name}")
        subjects = [
            _at("gate", answer),
            *(_at(f"decided_on/{role}", at) for role, at in request.decided_on.items()),
        ]
        yield (
            "gate",
            name,
            subjects,
            {
                "allowed": True,
                "method": method,
                "tier": "limited",
                "decided_on": request.decided_on,
                "findings": [],
                "at": "2026-11-20T11:00:00Z",
                "parameters": request.model_dump(mode="json"),
                "inputs": {},
            },
        )
        used = {"gate": answer, "data": ready(data), "parent": model(parent)}
        used |= {"scorer": model(scorer)} if scorer else {}
        yield (
            "train",
            name,
            [_at("model", model(name))],
            {
                "method": method,
                "objective": request.objective,
                "records": 10,
                "steps": 2,
                "final": {"loss": 0.5},
                "use": {"train": {"offered": 100, "used": 100, "dropped": {}, "truncated": 0}},
                "device": "cpu",
                "threads": 1,
                "adapter": None,
                "inputs": used,
            },
        )
        yield _evaluate(name, plan.suites)
    for key, judge in plan.judges.items():
        yield from _judge_card(key, judge)
    for row, (name, suite) in plan.further.items():
        yield _evaluate_further(row, name, suite, plan.suites)
    for key, found in plan.probes.items():
        yield _probe("_".join(key), key[0], key[1], found)


def _probe(row: str, name: str, stage: str, found: dict[str, Any]) -> Statement:
    _, data, parent, _ = STAGES[stage]
    used = {"model": model(name), "data": ready(data), "parent": model(parent)}
    subjects = [_at("leaks", digest(f"leaks {row}")), _at("scored", model(name))]
    stated = {**used, "trained": stage, "referenced": parent != "tiny", "inputs": used}
    return "leak_probe", row, subjects, {**stated, **found, "stage": f"probe_leaks@{row}"}


def _evaluate_further(row: str, name: str, suite: str, suites: dict[str, str]) -> Statement:
    _, _, subjects, fields = _evaluate(name, suites)
    scores = {"refuses": [1.0] * 190 + [0.0] * 10}
    fields |= {"suite": suites[suite], "suite_name": suite, "scores": scores, "slices": {}}
    return "evaluate", row, subjects, {**fields, "stage": f"evaluate_further@{row}"}


def _evaluate(name: str, suites: dict[str, str]) -> Statement:
    suite, scores = suite_of(name), SCORES.get(name, {})
    subjects = [_at("scores", digest(f"scores {name}")), _at("scored", model(name))]
    return (
        "evaluate",
        name,
        subjects,
        {
            "model": model(name),
            "suite": suites[suite],
            "suite_name": suite,
            **({"stage": f"evaluate_base@{name}"} if name in ("tiny", "bought") else {}),
            "scores": scores,
            "not_run": None if scores else "nothing to score",
            "inputs": {"model": model(name), "records": ready(suite)},
            "slices": {"language": LANGUAGES} if scores else {},
        },
    )


_FAMILIES = {
    "generation": "generate",
    "scan": "scan_pii",
    "quality": "check_quality",
    "base": "import_base",
}


def _said(plan: Plan, kind: str, key: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The predicate's fields as the plan has them, over those every stage has."""
    common = {
        "stage": f"{_FAMILIES.get(kind, kind)}@{key}",
        "inputs": {},
        "parameters": {},
        "policy": plan.policies.digest,
        "code": {"commit": "0" * 40, "dirty": False, "sources": digest("sources")},
        "environment": {
            "python": "3.11",
            "platform": "Linux",
            "versions": {},
            "distributions": digest("installed"),
            "files": digest("files"),
        },
        "run": {
            "started": "2026-11-20T11:00:00Z",
            "finished": "2026-11-20T11:01:00Z",
            "seconds": 60.0,
            "requested_by": {"name": "ada", "authenticated": False},
        },
    }
    merged = {**common, **fields, **plan.said.get((kind, key), {})}
    merged["inputs"] = [_at(role, at) for role, at in merged["inputs"].items()]
    return merged


def _at(role: str, sha256: str) -> Artifact:
    places = {model(name): f"models/{name}/model" for name in ("tiny", "bought", *STAGES)}
    return Artifact(role=role, name=places.get(sha256, f"somewhere/{role}"), sha256=sha256)


def _counts() -> dict[str, Any]:
    root = digest("root")
    return {"records_in": 10, "records_out": 10, "excluded": {}, "splits": {"train": 10}, "records_root": root,
            "excluded_root": root}  # fmt: skip
