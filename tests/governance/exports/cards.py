"""A model card as its readers have it: Hugging Face's of its metadata, CommonMark's of its page."""

from __future__ import annotations

from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from governance.exports.formats.model_card import model_card
from governance.exports.records import Records

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def read(text: str) -> ModelCard:
    return ModelCard(text, ignore_metadata_errors=False)


def body(records: Records) -> str:
    return model_card(records).partition("\n---\n")[2]


def shape(text: str) -> list[str]:
    """Every element of a page, in order, less the text."""
    found: list[str] = []

    def walk(tokens: list[Token]) -> None:
        for token in tokens:
            if token.type not in ("text", "text_special", "inline"):
                found.append(f"{token.type} {token.tag} {sorted(token.attrs.items())}")
            walk(token.children or [])

    walk(MARKDOWN.parse(text))
    return found
