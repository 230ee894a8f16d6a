#!/usr/bin/env python3
"""Makes every file of `recipes/models/t5-nano` but the weights: a T5 (v1.0) of 1.5 million parameters in the Hugging Face layout, so
that `transformers` loads the folder as it is.

    python3 recipes/scripts/make_t5_nano.py --manifest recipes/data/english-german/manifest.jsonl --out recipes/models/t5-nano

Needs: Python 3.9 and the package `tokenizers`. The vocabulary is a unigram model, as T5's: its pieces are those that byte-pair merges
find in the training sentences of both languages, and score how often they occur there. Every digit is a token, and the first three
tokens are those of T5. The weights come from `recipes/t5-pretrain.sq`.
"""

import collections
import math

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from shared import read_training_rows, write_model

TOKENS = 1_500
PREFIX = "translate English to German: "
LONGEST = 64
SPECIAL_TOKENS = ["<pad>", "</s>", "<unk>"]


def dressed(model):
    """A tokenizer around `model` that splits and joins texts as T5's does."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"), pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Punctuation(),
    ])  # fmt: skip
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def learn_tokenizer(texts):
    """The trainer of unigram models does not give the same pieces twice; the one of byte-pair merges does."""
    merging = dressed(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=TOKENS - len(SPECIAL_TOKENS), show_progress=False)
    merging.train_from_iterator(texts, trainer)
    counts = collections.Counter(token for text in texts for token in merging.encode(text).tokens)
    pieces = [(token, math.log(max(counts[token], 0.5) / counts.total())) for token in sorted(merging.get_vocab())]
    pieces.sort(key=lambda piece: -piece[1])
    tokenizer = dressed(models.Unigram([(token, 0.0) for token in SPECIAL_TOKENS] + pieces, unk_id=2))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def model_config(tokenizer):
    """`config.json`: the shape of the model, and what is put before a text to have it translated."""
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "model_type": "t5",
        "vocab_size": tokenizer.get_vocab_size(),
        "d_model": 128,
        "d_kv": 32,
        "d_ff": 512,
        "num_layers": 3,
        "num_decoder_layers": 3,
        "num_heads": 4,
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.0,
        "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0,
        "feed_forward_proj": "relu",
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "use_cache": True,
        "n_positions": LONGEST,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        "prefix": PREFIX,
        "task_specific_params": {
            "translation_en_to_de": {"early_stopping": True, "max_length": LONGEST, "num_beams": 5, "prefix": PREFIX}
        },
        "torch_dtype": "float32",
    }


def generation_config():
    return {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0, "max_length": LONGEST}


def tokenizer_config():
    """`tokenizer_config.json`: what `PreTrainedTokenizerFast` is told."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": LONGEST,
    }


def main():
    rows, out = read_training_rows(__doc__)
    tokenizer = learn_tokenizer([PREFIX.strip()] * len(rows) + [row[column] for row in rows for column in ("source", "text")])
    files = {
        "config.json": model_config(tokenizer),
        "generation_config.json": generation_config(),
        "tokenizer_config.json": tokenizer_config(),
    }
    write_model(out, tokenizer, files)
    longest = [max(len(tokenizer.encode(prefix + row[column]).ids) for row in rows) for prefix, column in ((PREFIX, "source"), ("", "text"))]
    print(f"{tokenizer.get_vocab_size()} tokens; the longest training texts are {longest[0]} and {longest[1]} tokens")
    assert max(longest) <= LONGEST


if __name__ == "__main__":
    main()
