"""A training script with transformers' Trainer, as people write it; it seeds itself from --seed."""

import argparse

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
    set_seed,
)

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=42)
options = parser.parse_args()
set_seed(options.seed)
config = BertConfig(
    vocab_size=32,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    hidden_act="relu",
)
examples = [
    {"input_ids": tokens, "labels": int(tokens.sum() > 124)}
    for tokens in torch.randint(0, 32, (256, 8))
]
arguments = TrainingArguments(
    output_dir="unused",
    num_train_epochs=1,
    per_device_train_batch_size=32,
    learning_rate=1e-3,
    save_strategy="no",
    report_to=[],
    use_cpu=True,
    seed=options.seed,
)
trainer = Trainer(
    model=BertForSequenceClassification(config),
    args=arguments,
    train_dataset=examples[:192],
    eval_dataset=examples[192:],
)
trainer.train()
print(trainer.evaluate())
