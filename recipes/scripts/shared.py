"""What the scripts beside this file share: how a corpus of texts and the folder of a model without weights are written."""

import argparse
import json
import random
from pathlib import Path


def make_corpus(doc, rows, check):
    """The command of a script that makes `manifest.jsonl` of what `rows` draws, once `check` has passed it."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    made = list(rows(random.Random(options.seed)))
    check(made)
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
    (options.out / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")


def read_training_rows(doc):
    """The flags of a script that makes a model from a manifest: the rows of its split `train`, and the folder to write."""
    arguments = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--manifest", type=Path, required=True, help="its rows of the split `train` are read")
    arguments.add_argument("--out", type=Path, required=True, help="folder to write; made if missing")
    options = arguments.parse_args()
    rows = [json.loads(line) for line in options.manifest.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["split"] == "train"], options.out


def write_model(out, tokenizer, files):
    """Writes `tokenizer.json` and the JSON `files` into the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    for name, value in files.items():
        (out / name).write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
