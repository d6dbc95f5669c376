"""policies/constitutions/NAME.yaml as typed models: the principles by which generated answers are
criticised, revised and compared, and the words in which models are asked (docs/generated-data.md).

A constitution decides what models learn from generated data. So it is under approval like every
policy, and like data where a tier wants that.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from governance.base.model import Model, Slug

TemplateName = Literal["critique", "revision", "verdict"]
"""What models are asked: what is wrong with an answer, a better one, which of two is better."""
PLACES: dict[TemplateName, frozenset[str]] = {
    "critique": frozenset({"principle", "answer"}),
    "revision": frozenset({"principle", "critique"}),
    "verdict": frozenset({"principle", "conversation", "first", "second"}),
}
"""The places that a template has, and must have, as `{NAME}`."""
PLACE = re.compile(r"\{([a-z]+)\}")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]


class Principle(Model):
    """One rule for answers."""

    name: Slug
    text: Text
    """What a good answer does. It stands in every critique, revision and verdict by this rule."""


def _template(name: TemplateName) -> AfterValidator:
    def check(text: str) -> str:
        found = set(PLACE.findall(text))
        if found != PLACES[name]:
            wanted = ", ".join(f"{{{place}}}" for place in sorted(PLACES[name]))
            raise ValueError(f"a template of this name has exactly the places {wanted}")
        return text

    return AfterValidator(check)


class Templates(Model):
    """What models are asked; in the language of the data, if that is not English."""

    critique: Annotated[Text, _template("critique")] = (
        "Read the answer that you gave:\n\n{answer}\n\n"
        "Name every way in which it falls short of this principle: {principle}\n"
        "Do not write a new answer."
    )
    """Asked after the conversation and the draft."""
    revision: Annotated[Text, _template("revision")] = (
        "Here is a critique of your answer:\n\n{critique}\n\n"
        "Write the answer anew, so that it follows this principle: {principle}\n"
        "Write the answer alone, without a remark about the critique."
    )
    """Asked after the conversation and the draft."""
    verdict: Annotated[Text, _template("verdict")] = (
        "Compare two answers to a conversation by one principle: {principle}\n\n"
        "Conversation:\n{conversation}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}\n\n"
        "Which answer follows the principle better? Reply with the letter A or B alone."
    )
    """Asked alone. The reply is the letter A for `first` or B for `second`."""

    def filled(self, name: TemplateName, **values: str) -> str:
        """The text of a template. What a value holds is never read as a place."""
        text: str = getattr(self, name)
        return PLACE.sub(lambda place: values[place[1]], text)


class Constitution(Model):
    """One file of policies/constitutions/."""

    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    principles: list[Principle] = Field(min_length=1, max_length=100)
    templates: Templates = Templates()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        names = [principle.name for principle in self.principles]
        if len(set(names)) < len(names):
            raise ValueError("two principles have one name")
        return self
