"""Optional packages that a library imports if they are there, and that no stage needs from it."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager

OF_PRESIDIO = (
    *("stanza", "flair", "gliner", "azure", "openai", "langextract"),
    *("tensorflow", "jax", "cupy", "mxnet"),
)
"""What Presidio never uses here."""
OF_NER = ("torch", "transformers", "spacy_transformers", "spacy_huggingface_pipelines")
"""What it uses for a NER model only (4 s and 500 MB)."""
OF_TRAINING = ("bitsandbytes",)
"""What PEFT and the libraries around it import for a quantised parent only (2 s)."""
OF_EXPECTATIONS = ("rfc3987", "rfc3987_syntax", "rfc3986_validator", "rfc3339_validator")
"""Formats of text that Great Expectations' drawings could check (1 s)."""


@contextmanager
def hidden(names: Collection[str]) -> Iterator[None]:
    """Hides packages that this process has not imported."""
    hides = [name for name in names if name not in sys.modules]
    for name in hides:
        sys.modules[name] = None  # type: ignore[assignment] # `import` raises ImportError
    try:
        yield
    finally:
        for name in hides:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
