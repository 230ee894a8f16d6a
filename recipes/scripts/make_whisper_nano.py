#!/usr/bin/env python3
"""Makes every file of `recipes/models/whisper-nano` but the weights: a Whisper of 1.3 million parameters, with a window
of 4 s and mel frames every 20 ms, in the Hugging Face layout, so that `transformers` loads the folder as it is.

    python3 recipes/scripts/make_whisper_nano.py --manifest recipes/data/spoken-numbers/manifest.jsonl \\
        --out recipes/models/whisper-nano

Needs: Python 3.9 and the package `tokenizers`. The vocabulary is a byte-level byte-pair encoding learned from the
training sentences alone; the special tokens follow it in the order Whisper gives them, with one language, English.
The weights come from `recipes/whisper-pretrain.sq`.
"""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from shared import read_training_rows, write_model

TEXT_TOKENS = 1_000
WINDOW_S = 4
SAMPLE_RATE = 16_000
HOP = 320
TARGET_POSITIONS = 48
SPECIAL_TOKENS = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>",
    "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
]  # fmt: skip


def learn_tokenizer(texts):
    """A byte-level BPE; every text starts with a space, as Whisper's training texts do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TEXT_TOKENS, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator((f" {text}" for text in texts), trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    prompt = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=" ".join(prompt) + " $A <|endoftext|>",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in [*prompt, "<|endoftext|>"]],
    )
    return tokenizer


def model_config(tokenizer):
    """`config.json`: the shape of the model and the tokens that start and end a text."""
    end, start = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|startoftranscript|>")
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "vocab_size": tokenizer.get_vocab_size(),
        "num_mel_bins": 80,
        "d_model": 128,
        "encoder_layers": 3,
        "encoder_attention_heads": 4,
        "encoder_ffn_dim": 512,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_ffn_dim": 512,
        "max_source_positions": WINDOW_S * SAMPLE_RATE // HOP // 2,
        "max_target_positions": TARGET_POSITIONS,
        "activation_function": "gelu",
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "encoder_layerdrop": 0.0,
        "decoder_layerdrop": 0.0,
        "init_std": 0.06,
        "is_encoder_decoder": True,
        "scale_embedding": False,
        "tie_word_embeddings": True,
        "use_cache": True,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "torch_dtype": "float32",
    }


def generation_config(tokenizer):
    """`generation_config.json`: the prompt, and the tokens that greedy decoding never chooses."""
    token = tokenizer.token_to_id
    space = token("Ġ")
    never = [name for name in SPECIAL_TOKENS if name != "<|endoftext|>"]
    return {
        "bos_token_id": token("<|endoftext|>"),
        "eos_token_id": token("<|endoftext|>"),
        "pad_token_id": token("<|endoftext|>"),
        "decoder_start_token_id": token("<|startoftranscript|>"),
        "no_timestamps_token_id": token("<|notimestamps|>"),
        "prev_sot_token_id": token("<|startofprev|>"),
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": token("<|en|>")},
        "task_to_id": {"transcribe": token("<|transcribe|>"), "translate": token("<|translate|>")},
        "language": "en",
        "task": "transcribe",
        "return_timestamps": False,
        "suppress_tokens": sorted(token(name) for name in never),
        "begin_suppress_tokens": [space, token("<|endoftext|>")],
        "max_initial_timestamp_index": 50,
        "max_length": TARGET_POSITIONS,
    }


def preprocessor_config():
    """`preprocessor_config.json`: what `WhisperFeatureExtractor` is told."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": 80,
        "sampling_rate": SAMPLE_RATE,
        "hop_length": HOP,
        "n_fft": 400,
        "chunk_length": WINDOW_S,
        "n_samples": WINDOW_S * SAMPLE_RATE,
        "nb_max_frames": WINDOW_S * SAMPLE_RATE // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def tokenizer_config():
    """`tokenizer_config.json`: what `WhisperTokenizerFast` is told."""
    return {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": TARGET_POSITIONS,
    }


def main():
    rows, out = read_training_rows(__doc__)
    texts = [row["text"] for row in rows]
    tokenizer = learn_tokenizer(texts)
    files = {
        "config.json": model_config(tokenizer),
        "generation_config.json": generation_config(tokenizer),
        "preprocessor_config.json": preprocessor_config(),
        "tokenizer_config.json": tokenizer_config(),
    }
    write_model(out, tokenizer, files)
    longest = max(len(tokenizer.encode(f" {text}").ids) for text in texts)
    print(f"{tokenizer.get_vocab_size()} tokens; the longest training text is {longest} tokens with its prompt")


if __name__ == "__main__":
    main()
