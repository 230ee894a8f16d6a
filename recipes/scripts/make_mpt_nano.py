#!/usr/bin/env python3
"""Makes every file of `recipes/models/mpt-nano` but the weights: an MPT of one million parameters in the Hugging Face layout, so that
`transformers` loads the folder as it is.

    python3 recipes/scripts/make_mpt_nano.py --manifest recipes/data/word-problems/manifest.jsonl --out recipes/models/mpt-nano

Needs: Python 3.9 and the package `tokenizers`. The vocabulary is a byte-level byte-pair encoding learned from the training problems,
in which every digit is a token; the one that ends a text is the last. The weights come from `recipes/mpt-pretrain.sq`.
"""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from shared import read_training_rows, write_model

TOKENS = 600
END = "<|endoftext|>"
LONGEST = 256


def learn_tokenizer(texts):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS - 1, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    return tokenizer


def model_config(tokenizer):
    """`config.json`: the shape of the model."""
    return {
        "architectures": ["MptForCausalLM"],
        "model_type": "mpt",
        "vocab_size": tokenizer.get_vocab_size(),
        "d_model": 128,
        "n_heads": 4,
        "n_layers": 4,
        "expansion_ratio": 4,
        "max_seq_len": LONGEST,
        "no_bias": True,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.05,
        "learned_pos_emb": False,
        "attn_config": {"attn_type": "multihead_attention", "alibi": True, "alibi_bias_max": 8, "clip_qkv": None, "qk_ln": False},
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": tokenizer.token_to_id(END),
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(END),
        "torch_dtype": "float32",
    }


def generation_config(tokenizer):
    end = tokenizer.token_to_id(END)
    return {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "max_new_tokens": LONGEST // 2}


def tokenizer_config():
    """`tokenizer_config.json`: what `GPTNeoXTokenizerFast` is told."""
    return {
        "tokenizer_class": "GPTNeoXTokenizer",
        "bos_token": END,
        "eos_token": END,
        "unk_token": END,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": LONGEST,
    }


def main():
    rows, out = read_training_rows(__doc__)
    tokenizer = learn_tokenizer([row[column] for row in rows for column in ("source", "text")])
    files = {
        "config.json": model_config(tokenizer),
        "generation_config.json": generation_config(tokenizer),
        "tokenizer_config.json": tokenizer_config(),
    }
    write_model(out, tokenizer, files)
    lengths = [[len(tokenizer.encode(row[column]).ids) for row in rows] for column in ("source", "text")]
    longest = max(map(sum, zip(*lengths)))
    print(f"{tokenizer.get_vocab_size()} tokens; the longest training problem with its answer is {longest} tokens")
    assert longest <= LONGEST


if __name__ == "__main__":
    main()
