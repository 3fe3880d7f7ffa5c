"""LLaMA-Factory's DataArguments: which rows, how they become tokens."""

from __future__ import annotations

from typing import Literal

from finetune_trainer.config.key import Group, key
from finetune_trainer.config.types import Flag, Float, Int, Names, Shares


class DataGroup(Group):
    """Which data sets, which template, how rows become tokens."""

    template: str | None = key(None, "Name of the chat template that turns messages into text.")
    dataset: Names = key((), "Data sets to train on, by their names in dataset_info.json.")
    eval_dataset: Names = key((), "Data sets to evaluate on; not together with val_size.")
    dataset_dir: str = key("data", "Folder that holds dataset_info.json and the files that it names.")
    media_dir: str | None = key(
        None,
        "Folder of images, videos and audio files; dataset_dir unless said.",
        refused="only text models are trained, and data sets of text; leave it out",
    )
    cutoff_len: Int = key(2048, "Most tokens of one example; longer ones are cut, not dropped.", gt=0)
    train_on_prompt: Flag = key(False, "Learn the prompt's tokens too, not the answers alone.")
    mask_history: Flag = key(False, "Learn the last turn only; not together with train_on_prompt.")
    streaming: Flag = key(False, "Read rows while training instead of preparing them all before.")
    buffer_size: Int = key(16384, "Rows held for shuffling when streaming.", gt=0)
    mix_strategy: Literal["concat", "interleave_under", "interleave_over", "interleave_once"] = key(
        "concat", "How several data sets are mixed: one after the other, or interleaved."
    )
    interleave_probs: Shares = key((), "Share of each data set when interleaving; they add up to 1.")
    overwrite_cache: Flag = key(False, "Prepare the data anew instead of reading what an earlier run prepared.")
    preprocessing_batch_size: Int = key(1000, "Rows that are prepared together.", gt=0)
    preprocessing_num_workers: Int | None = key(None, "Processes that prepare the data.", gt=0)
    max_samples: Int | None = key(None, "Take no more than this many first rows of each data set.", gt=0)
    eval_num_beams: Int | None = key(None, "Beams when evaluating and predicting; num_beams unless said.", gt=0)
    ignore_pad_token_for_loss: Flag = key(True, "Leave padding out of the loss.")
    val_size: Float = key(0.0, "Held out for evaluation: a share below 1, or a number of rows above.", ge=0)
    eval_on_each_dataset: Flag = key(False, "Evaluate on each data set by itself.")
    packing: Flag | None = key(None, "Fill each sequence with several examples, which see each other.")
    neat_packing: Flag = key(False, "Fill each sequence with several examples that do not see each other.")
    tool_format: str | None = key(None, "Tool format to use in place of the template's.")
    default_system: str | None = key(None, "System message in place of the template's, for rows that bring none.")
    enable_thinking: Flag | None = key(
        True, "Thinking in reasoning templates: on, off, or null for both.", null_counts=True
    )
    preserve_thinking: Flag = key(False, "Keep the thinking of earlier turns.")
    tokenized_path: str | None = key(None, "Folder to keep prepared data in, and to read it from.")
    data_shared_file_system: Flag = key(False, "All nodes see one file system: one rank of the job prepares the data.")
    on_bad_row: Literal["skip", "fail"] = key(
        "skip",
        "Rows that cannot be used: skip them, count and list them in data_report.json; or fail before training.",
    )
    template_file: str | None = key(None, "YAML file of your own templates; `template` finds them by their names.")
    llamafactory_faults: Names = key(
        (), "Faults of LLaMA-Factory 0.9.5 to reproduce, by name, or all; the documentation about data lists them."
    )
