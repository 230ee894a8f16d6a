#!/usr/bin/env python3
"""Loads an exported folder with transformers and compressed-tensors, and compares it with what sparsec computed.

    pip install torch transformers compressed-tensors
    python runtime/scripts/check_export.py out/whisper-75 out/whisper-75.parity.safetensors

The second file is written by `cargo run -p sparsec-runtime --example export_parity -- FOLDER FILE [FAMILY]`: a batch as the model reads it (`input_features`,
or `input_ids` with `attention_mask`, or neither, and `decoder_input_ids`), the `logits` that sparsec computed, and `weight/P` for some layers `P` as sparsec multiplies with them.

Checked, in this order; exit status 1 if one fails:
1. transformers finds every tensor it wants and no other;
2. the weights that it dequantizes are those of sparsec, bit for bit, zeros included;
3. logits agree when activations are rounded as sparsec rounds them: per token, scale = max |x| / 127. Rounding is a step, and an
   activation that the last bits of FP32 put on the other side of it moves the logits; so the limit is how far they move in
   transformers itself when the input changes by one part in a million, where that is more than --tolerance;
4. logits agree, less closely, with compressed-tensors' own rounding of activations (scale = max |x| / 127.5).
"""

import argparse
import json
import pathlib
import sys

import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq
from transformers.utils.quantization_config import CompressedTensorsConfig

transformers.utils.logging.disable_progress_bar()


CLASSES = {"whisper": AutoModelForSpeechSeq2Seq, "t5": AutoModelForSeq2SeqLM, "mpt": AutoModelForCausalLM}


def load(folder, **options):
    """The model in `folder`; stops when tensors are missing or left over."""
    family = CLASSES[json.loads((folder / "config.json").read_text())["model_type"]]
    model, info = family.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, **options)
    tied = set(getattr(model, "all_tied_weights_keys", {}) or {})
    problems = {kind: sorted(set(info[kind]) - tied) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    if any(problems.values()):
        sys.exit(f"transformers does not find the tensors it wants: {problems}")
    return model.eval()


def round_tokens(x):
    """INT8 per token and back, as sparsec does it."""
    scale = x.abs().amax(-1, keepdim=True) / 127
    scale = torch.where(scale < torch.finfo(torch.float32).tiny, torch.finfo(torch.float32).eps, scale)
    return (x / scale).round().clamp(-127, 127) * scale


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("parity", type=pathlib.Path)
    parser.add_argument("--tolerance", type=float, default=1e-3, help="largest difference of logits in check 3, as a share of the largest logit")
    parser.add_argument("--loose", type=float, default=5e-2, help="the same for check 4")
    arguments = parser.parse_args()

    with safe_open(arguments.parity, "pt") as file:
        parity = {name: file.get_tensor(name) for name in file.keys()}
    names = ("input_features", "input_ids", "attention_mask", "decoder_input_ids")
    inputs = {name: parity[name] for name in names if name in parity}
    if not inputs.keys() & {"input_features", "input_ids"}:
        inputs = {"input_ids": inputs["decoder_input_ids"]}
    quantization = json.loads((arguments.folder / "config.json").read_text()).get("quantization_config")

    plain = load(arguments.folder, **({"quantization_config": CompressedTensorsConfig(dequantize=True)} if quantization else {}))
    print("1. every tensor found")
    expected = {name.removeprefix("weight/"): weight for name, weight in parity.items() if name.startswith("weight/")}
    for path, weight in expected.items():
        loaded = plain.get_submodule(path).weight.detach()
        if not torch.equal(loaded, weight):
            sys.exit(f"2. {path}: {(loaded != weight).sum()} of {weight.numel()} weights differ, by {(loaded - weight).abs().max():.2e} at most")
    zeros = sum((weight == 0).sum().item() for weight in expected.values()) / max(1, sum(weight.numel() for weight in expected.values()))
    print(f"2. {len(expected)} weights are the same bit for bit; {zeros:.1%} of them are zero")

    if quantization:
        ignored = set(quantization["ignore"])
        for path, module in plain.named_modules():
            if isinstance(module, torch.nn.Linear) and path not in ignored:
                module.register_forward_pre_hook(lambda _, args: (round_tokens(args[0]), *args[1:]))
    limit = max(arguments.tolerance, unsteadiness(plain, inputs))
    failed = compare("3. with sparsec's rounding of activations", plain, inputs, parity["logits"], limit)
    if quantization:
        theirs = load(arguments.folder)
        failed |= compare("4. with compressed-tensors' rounding of activations", theirs, inputs, parity["logits"], arguments.loose)
    sys.exit(failed)


@torch.no_grad()
def unsteadiness(model, inputs):
    """How far the logits of `model` move when what it reads (sound, or the vectors of tokens) changes by one part in a million: the
    most of eight draws, as a share."""
    logits = model(**inputs).logits
    draw = torch.Generator().manual_seed(17)
    changed = lambda values: values * (1 + 1e-6 * torch.randn(values.shape, generator=draw))
    if "input_features" in inputs:
        moved = [model(**{**inputs, "input_features": changed(inputs["input_features"])}).logits for _ in range(8)]
    else:
        hook = model.get_input_embeddings().register_forward_hook(lambda _, __, vectors: changed(vectors))
        moved = [model(**inputs).logits for _ in range(8)]
        hook.remove()
    return (max((moved - logits).abs().max() for moved in moved) / logits.abs().max()).item()


@torch.no_grad()
def compare(what, model, inputs, expected, tolerance):
    """Prints how far the logits of `model` are from `expected`; whether that is too far."""
    logits = model(**inputs).logits
    difference = ((logits - expected).abs().max() / expected.abs().max()).item()
    agreement = (logits.argmax(-1) == expected.argmax(-1)).float().mean().item()
    verdict = "within" if difference <= tolerance else "MORE THAN"
    print(f"{what}: logits differ by {difference:.2e} of the largest, {verdict} {tolerance:.1e}; {agreement:.2%} of the tokens agree")
    return difference > tolerance


main()
