"""The plain alternative: what a person writes with TRL alone for the stage `sft`. Run in a
project's folder.

python bare_sft.py STEPS OUTPUT
"""

import sys

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import set_seed
from trl import SFTConfig, SFTTrainer

steps, output = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
set_seed(1)
data = load_dataset("parquet", data_files="data/ready/desk_sft/records/*.parquet", split="train")
trainer = SFTTrainer(
    model="models/base/model",
    args=SFTConfig(
        output_dir=output,
        max_steps=steps,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        assistant_only_loss=True,
        seed=1,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    ),
    train_dataset=data.select_columns(["messages"]),
    peft_config=LoraConfig(
        r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    ),
)
trainer.train()
trainer.save_model(f"{output}/adapter")
trainer.model.merge_and_unload().save_pretrained(f"{output}/model")
trainer.processing_class.save_pretrained(f"{output}/model")
