"""Checks of a model that was trained elsewhere and is released as it was imported: its declaration,
and what the tier permits.

1. They are silent about a model that was trained here: its gates check the same of its own data.
2. A declared dataset is held to the rules of a datacard. `unknown` meets none of them.
3. Older policies have no declarations and permit no import, and no version was ever registered of
   one, so no older decision changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from governance.attest.predicates import Finding
from governance.gates.checks.context import Context, Findings, ModelFacts
from governance.policy.declarations import NONE, UNKNOWN, Declaration, DeclaredDataset


def import_allowed(context: Context) -> Findings:
    """The tier permits models that were trained elsewhere."""
    for facts in _imported(context):
        if context.tier is None or not context.tier.imported:
            yield context.finding(
                "IMPORT_NOT_ALLOWED",
                f"model {facts.node.name}",
                expected="a model that was trained here",
                found="trained elsewhere",
            )


def import_declared(context: Context) -> Findings:
    """Policy has a declaration of exactly these bytes."""
    for facts in _imported(context):
        if context.policies.declaration_of(facts.ref.sha256) is None:
            other = context.policies.imports.get(facts.node.name)
            yield context.finding(
                "IMPORT_NOT_DECLARED",
                f"model {facts.node.name}",
                expected=f"policies/imports/{facts.node.name}.yaml about {facts.ref.sha256[:12]}",
                found=f"about {other.digest[:12]}" if other else "none",
                figures=[facts.ref.sha256],
            )


def import_thresholds(context: Context) -> Findings:
    """Its evaluation has thresholds: nothing else about it was measured here."""
    for facts in _imported(context):
        if facts.demands is not None and facts.demands.none is not None:
            expected, found = "thresholds", f"none: {facts.demands.none}"
            yield facts.finding("THRESHOLDS_MISSING", expected=expected, found=found)


def import_approvals(context: Context) -> Findings:
    """The tier asks for no approval before training: none can be given any more."""
    wanted = context.tier.approved_before_training if context.tier else []
    for facts in _imported(context) if wanted else ():
        yield context.finding(
            "IMPORT_TRAINED_BEFORE",
            f"model {facts.node.name}",
            expected=f"approved before training: {', '.join(wanted)}",
            found="trained elsewhere",
            figures=list(wanted),
        )


def import_parent(context: Context) -> Findings:
    """Policy permits the licence of the model that it was trained from."""
    permitted = context.policies.rules.licences.bases
    for name, declared in _declarations(context):
        licence = declared.parent.licence
        if licence != NONE and licence not in permitted:
            yield _refused(
                context, "LICENCE_NOT_PERMITTED", f"parent of {name}", name, permitted, licence
            )


def import_data(context: Context) -> Findings:
    """What is declared of the data suffices, and policy permits it."""
    for name, declared in _declarations(context):
        if declared.datasets == UNKNOWN:
            yield _unknown(context, f"data of {name}", name, "its datasets")
        for dataset in declared.declared_datasets:
            if dataset.personal_data == UNKNOWN:
                about = f"dataset {dataset.name} of {name}"
                yield _unknown(context, about, name, "whether it has personal data")
            yield from _rules_of_a_card(context, name, dataset)


def _rules_of_a_card(context: Context, name: str, dataset: DeclaredDataset) -> Iterator[Finding]:
    rules, tier, model = context.policies.rules, context.tier, context.model_policy
    purposes, regions = _listed(dataset.purposes), _listed(dataset.regions)
    wanted: list[tuple[str, Sequence[str], list[str]]] = [
        ("LICENCE_NOT_PERMITTED", rules.licences.data, [dataset.licence]),
        ("LAWFUL_BASIS_NOT_PERMITTED", rules.lawful_bases, [dataset.lawful_basis]),
    ]
    if tier is not None:
        classified: list[str] = [dataset.classification]
        wanted.append(("CLASSIFICATION_NOT_PERMITTED", tier.classifications, classified))
    if model is not None:
        wanted.append(("PURPOSE_NOT_PERMITTED", [model.purpose], purposes))
        wanted.append(("REGION_NOT_PERMITTED", [model.region, "anywhere"], regions))
    for code, allowed, declared in wanted:
        if not set(allowed) & set(declared):
            about = f"dataset {dataset.name} of {name}"
            yield _refused(context, code, about, name, allowed, ", ".join(declared))


def _listed(values: list[str] | str) -> list[str]:
    return [values] if isinstance(values, str) else values


def _refused(
    context: Context, code: str, about: str, name: str, permitted: Sequence[str], declared: str
) -> Finding:
    return context.finding(
        code,
        about,
        message="policy does not permit what is declared of it",
        expected=", ".join(permitted),
        found=declared,
        figures=[declared],
        next=_ask(name),
    )


def _unknown(context: Context, about: str, name: str, what: str) -> Finding:
    return context.finding(
        "IMPORT_DATA_UNKNOWN",
        about,
        expected=f"{what}, declared",
        found=UNKNOWN,
        figures=[UNKNOWN],
        next=_ask(name),
    )


def _ask(name: str) -> str:
    return f"ask its maker, then policies/imports/{name}.yaml; or countersign waive"


def _declarations(context: Context) -> Iterator[tuple[str, Declaration]]:
    for facts in _imported(context):
        declared = context.policies.declaration_of(facts.ref.sha256)
        if declared is not None:
            yield declared


def _imported(context: Context) -> Iterator[ModelFacts]:
    """The released model, where it was imported and not trained here."""
    return (facts for facts in context.models if facts.node.imported)
