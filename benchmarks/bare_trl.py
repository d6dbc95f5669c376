"""The plain alternative of a training stage: what a person writes with TRL alone, for any of its
methods. Run in a project's folder.

python bare_trl.py ROW OUTPUT, where ROW is a JSON file: method, seed, data, parent, scorer, lora,
rewards and trainer, as in params.yaml.
"""

import importlib
import json
import sys
from pathlib import Path

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import set_seed

TRAINERS = {
    "sft": "trl:SFT",
    "reward": "trl:Reward",
    "dpo": "trl:DPO",
    "kto": "trl:KTO",
    "orpo": "trl.experimental.orpo:ORPO",
    "grpo": "trl:GRPO",
    "rloo": "trl:RLOO",
}
COLUMNS = {
    "sft": ["messages"],
    "kto": ["prompt", "completion", "label"],
    "grpo": ["prompt", "answer"],
    "rloo": ["prompt", "answer"],
}
PAIRS = ["prompt", "chosen", "rejected"]


def plain(messages):
    """Role and content, which is all that these records have."""
    return [{"role": each["role"], "content": each["content"]} for each in messages]


def reward_function(name):
    """A function of one answer, as TRL calls it."""
    rule = getattr(importlib.import_module(f"pipelines.rewards.{name}"), name)

    def score(completions, answer, **columns):
        return [rule(one[-1]["content"], known) for one, known in zip(completions, answer)]  # noqa: B905

    score.__name__ = name
    return score


row, output = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
method, scores = row["method"], row["method"] == "reward"
torch.set_num_threads(1)
set_seed(row["seed"])

files = f"data/ready/{row['data']}/records/*.parquet"
data = load_dataset("parquet", data_files=files, split="train")
data = data.filter(lambda split: split == "train", input_columns="split")
data = data.select_columns(COLUMNS.get(method, PAIRS))
messages = [name for name in data.column_names if name not in ("label", "answer")]
data = data.map(
    lambda each: {name: plain(each[name]) for name in messages}, remove_columns=messages
)

module, _, family = TRAINERS[method].partition(":")
rewards = row["rewards"]
online = {}
if rewards:
    online["reward_funcs"] = [
        f"models/{row['scorer']}/model"
        if each["name"] == "model"
        else reward_function(each["name"])
        for each in rewards
    ]
    row["trainer"]["reward_weights"] = [each["weight"] for each in rewards]
trainer = getattr(importlib.import_module(module), f"{family}Trainer")(
    model=f"models/{row['parent']}/model",
    args=getattr(importlib.import_module(module), f"{family}Config")(
        output_dir=output,
        seed=row["seed"],
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        **row["trainer"],
    ),
    train_dataset=data,
    peft_config=LoraConfig(
        **row["lora"],
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
        modules_to_save=["score"] if scores else None,
    ),
    **online,
)
trainer.train()
trainer.model.merge_and_unload().save_pretrained(f"{output}/model")
trainer.processing_class.save_pretrained(f"{output}/model")
