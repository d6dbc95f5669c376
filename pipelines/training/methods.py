"""The training methods: the dataset kind, trainer and signals of each.

Nothing heavy is imported: trainer and config are `module:Class` strings. To add a method of TRL:
one entry in `METHODS`, then `python -m pipelines.training.arguments` to write the argument names of
its config class.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from governance.base.errors import unknown

ModelClass = Literal["language", "scorer"]
"""A causal language model, or a sequence classifier with one output (a reward model)."""


@dataclass(frozen=True)
class Method:
    """One way to train."""

    name: str
    family: str
    """`module:Name`, to which `Trainer` and `Config` are added."""
    kind: str
    """The dataset kind it trains on (`pipelines.kinds`)."""
    signals: tuple[str, ...]
    """The signals it logs, with TRL's names; the first is the most useful one."""
    model: ModelClass = "language"
    """The class of the trained model. The parent is always a language model."""
    rewards: bool = False
    """Whether it learns from reward functions (and so can use the stage's scorer)."""
    critic: bool = False
    """Whether a critic is trained beside it."""
    tools: bool = False
    """Whether its trainer renders the tools of a record."""
    calls_tools: bool = False
    """Whether the model may call tools while it answers."""
    from_scratch: bool = False
    """Whether the parent is an architecture without weights: the tokenizer is trained too."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Our defaults where TRL's would surprise. They are part of the objective's digest."""

    @property
    def trainer(self) -> str:
        """`module:Class` of the trainer."""
        return f"{self.family}Trainer"

    @property
    def config(self) -> str:
        """`module:Class` of its configuration, whose fields `trainer:` of a stage may name."""
        return f"{self.family}Config"

    @property
    def learns_texts(self) -> bool:
        """Whether the model learns to write texts of its records, so that canaries can be
        planted.
        """
        return self.kind != "prompt" and self.model == "language"

    @property
    def columns(self) -> tuple[str, ...]:
        """The record's columns that the trainer gets."""
        return COLUMNS[self.kind]


COLUMNS = {
    "conversation": ("messages", "tools"),
    "preference": ("prompt", "chosen", "rejected", "tools"),
    "unpaired": ("prompt", "completion", "label", "tools"),
    "prompt": ("prompt", "answer", "tools", "turns", "extra"),
}
"""Dataset kind to the columns that trainers get, as far as a record has them."""

_STEPS = ("grad_norm", "learning_rate")
_LANGUAGE = ("loss", "mean_token_accuracy", "entropy", *_STEPS)
_BOTH = ("rewards/margins", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected")
_PAIRS = ("loss", "rewards/accuracies", *_BOTH, *_STEPS)
_SCORER = ("loss", "accuracy", "margin", "mean_reward", "min_reward", "max_reward", *_STEPS)
_ODDS = ("nll_loss", "log_odds_ratio", "log_odds_chosen")
_ONLINE = (
    "reward", "reward_std", "frac_reward_zero_std", "kl", "entropy", "completions/mean_length",
    "completions/clipped_ratio", "loss", *_STEPS,
)  # fmt: skip
_CRITIC = ("value_loss", "explained_variance")
_KL = {"beta": 0.02}
"""TRL's 0 switches GRPO's KL penalty off, and its figure too."""
_ASSISTANT = {"assistant_only_loss": True}

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("pretrain", "trl:SFT", "conversation", _LANGUAGE, tools=True, from_scratch=True),
        Method("sft", "trl:SFT", "conversation", _LANGUAGE, tools=True, defaults=_ASSISTANT),
        Method("reward", "trl:Reward", "preference", _SCORER, model="scorer", tools=True),
        Method("dpo", "trl:DPO", "preference", _PAIRS, tools=True),
        Method("kto", "trl:KTO", "unpaired", ("loss", *_BOTH, "kl", *_STEPS), tools=True),
        Method("orpo", "trl.experimental.orpo:ORPO", "preference", (*_PAIRS, *_ODDS)),
        Method("grpo", "trl:GRPO", "prompt", _ONLINE, rewards=True, calls_tools=True, defaults=_KL),
        Method("rloo", "trl:RLOO", "prompt", _ONLINE, rewards=True, defaults=_KL),
        Method(
            "ppo",
            "pipelines.training.ppo:PPO",
            "prompt",
            (*_ONLINE, *_CRITIC),
            rewards=True,
            critic=True,
            defaults=_KL,
        ),
    )
}
"""Method name to method."""


def method(name: str, where: str = "") -> Method:
    """The method called `name`. Raises `ConfigError` with the nearest name."""
    if name in METHODS:
        return METHODS[name]
    raise unknown("training method", name, METHODS, where)
