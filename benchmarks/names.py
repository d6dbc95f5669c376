"""How many names, places and organisations each level finds, and how fast: a table of docs/pii.md.

    python -m benchmarks.names ../shared/data [MODEL ...]

Only sets that the tagger was not trained on. MODEL: as `ner` of policies/pii.yaml, for example
onnx:models/rampart. Recall and precision: a finding of that entity overlaps a label. Speed: one
million characters of gsm8k, hh_rlhf and SEC filings for list and tagger, a part for a model, in
CPU-seconds of this process.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from governance.policy.data import EntityPolicy, PiiPolicy
from pipelines.pii.ner import Source, model_folder, sources
from pipelines.pii.tagger.examples import Example, joined, labelled
from pipelines.pii.tagger.words import KINDS

CHARACTERS, OF_A_MODEL = 1_000_000, 20_000


def tables(data: Path, levels: list[str]) -> str:
    """Markdown: recall and precision by level, then speed."""
    _, held_out = labelled(data)
    sets = {name: [joined(example) for example in rows] for name, rows in held_out.items()}
    lines = ["| set | entity | labels |" + "".join(f" {level} |" for level in levels)]
    lines.append("|---|---|---:|" + "---|" * len(levels))
    found = {level: _sources(level) for level in levels}
    for name, examples in sets.items():
        figures = [_figures(found[level], examples) for level in levels]
        for kind, entity in enumerate(KINDS[1:], 1):
            count = sum(label[2] == kind for example in examples for label in example.labels)
            cells = "".join(f" {column[entity]} |" for column in figures)
            lines.append(f"| {name} | {entity} | {count} |{cells}")
    speeds = "".join(f" {_speed(found[level], level, data):,.0f} |" for level in levels)
    return "\n".join([*lines, f"| characters per CPU-second | | |{speeds}"])


def _sources(ner: str) -> list[Source]:
    policy = PiiPolicy(ner=ner, default=EntityPolicy(action="redact"))
    return sources(policy, model_folder(ner, Path.cwd()))


def _figures(found: list[Source], examples: list[Example]) -> dict[str, str]:
    """Entity to "recall/precision"."""
    counts = {entity: [0, 0, 0, 0] for entity in KINDS}
    for example in examples:
        spans = [named for source in found for named in source.find(example.text)]
        true = [(start, end, KINDS[kind]) for start, end, kind in example.labels if kind > 0]
        for start, end, entity in true:
            counts[entity][0] += 1
            counts[entity][1] += any(s < end and start < e and k == entity for s, e, k, _ in spans)
        for start, end, entity, _ in spans:
            if entity in counts:
                counts[entity][2] += 1
                hits = (s < end and start < e and k == entity for s, e, k in true)
                counts[entity][3] += any(hits)
    return {
        entity: f"{hit / max(1, labels):.2f}/{right / spans:.2f}" if spans else "-"
        for entity, (labels, hit, spans, right) in counts.items()
    }


def _speed(found: list[Source], level: str, data: Path) -> float:
    """Characters per CPU-second."""
    limit = OF_A_MODEL if ":" in level else CHARACTERS
    texts, size = [], 0
    for text in _texts(data):
        if size >= limit:
            break
        texts.append(text)
        size += len(text)
    began = time.process_time()
    for text in texts:
        for source in found:
            list(source.find(text))
    return size / (time.process_time() - began)


def _texts(data: Path) -> Iterator[str]:
    """Texts of the three sets in turn."""
    keys = {
        "gsm8k/train.jsonl": "answer",
        "hh_rlhf/harmless-base-test.part.jsonl": "chosen",
        "ner_real/SEC-filings/FIN5.txt.spans.jsonl": "text",
    }
    files = [(data / name).read_text(encoding="utf-8").splitlines() for name in keys]
    for lines in zip(*files, strict=False):
        for line, key in zip(lines, keys.values(), strict=True):
            yield json.loads(line)[key]


def main() -> None:
    """Prints the table."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    print(tables(data, ["name-list", "tagger", *sys.argv[2:]]))


if __name__ == "__main__":
    main()
