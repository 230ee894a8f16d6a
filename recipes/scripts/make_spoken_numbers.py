#!/usr/bin/env python3
"""Makes the data set `recipes/data/spoken-numbers`: spoken numbers, dates, times, prices, phone digits and short
commands, said by the free synthesizer espeak-ng in several voices, with noise behind them.

    python3 recipes/scripts/make_spoken_numbers.py --out recipes/data/spoken-numbers

Needs: Python 3.9, numpy, and the programs espeak-ng and oggenc (vorbis-tools). Nothing is downloaded.

What holds afterwards; the script checks it and fails otherwise:
- One Ogg Vorbis file, mono, per row of `manifest.jsonl`: {"audio", "text", "split", "speaker", "noise", "snr_db"}.
- Texts are lower-case words separated by single spaces, so that a word error rate needs no normalization.
- A sentence is one to three clauses, FEWEST_WORDS to MOST_WORDS words.
- No sentence of `test` or `valid` occurs in another split, and none of them occurs twice.
- Every word of `test` and `valid` occurs in `train`.
- No utterance is longer than LONGEST_S.

Everything is drawn from one seed. The same versions of espeak-ng, oggenc and numpy give the same bytes.
"""

import argparse
import collections
import io
import json
import random
import subprocess
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

LONGEST_S = 3.9
FEWEST_WORDS, MOST_WORDS = 5, 12
SYNTHESIS_RATE = 22_050
SAMPLE_RATE = 12_000
VORBIS_QUALITY = -1
SNR_DB = (14.0, 30.0)

# Accent, and after `+` the espeak-ng variant: m* male, f* female.
SPEAKERS = ["en-us", "en-us+f2", "en-gb", "en-gb+f3"]
WORDS_PER_MINUTE = (165, 210)
PITCH = (35, 66)
NOISES = ["white", "pink", "hum", "babble"]

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
MONTHS = "january february march april may june july august september october november december".split()
DAYS_OF_MONTH = dict(zip(MONTHS, (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)))
DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
ROOMS = "kitchen bedroom bathroom garage office garden hallway".split()
THINGS = "lights heating radio fan alarm television".split()
MEASURES = "bottles boxes bags cups".split()
GOODS = "water milk sugar coffee rice apples lemons eggs".split()
PLACES = "page channel track platform gate flight bus".split()


def cardinal(n):
    """The English words of 0 <= n < 100 000."""
    if n < 20:
        return ONES[n]
    for unit, name in ((1000, "thousand"), (100, "hundred")):
        if n >= unit:
            rest = n % unit
            return f"{cardinal(n // unit)} {name}" + (f" {cardinal(rest)}" if rest else "")
    return TENS[n // 10 - 2] + (f" {ONES[n % 10]}" if n % 10 else "")


def ordinal(n):
    """The English words of the day 1 <= n <= 31 of a month."""
    if n <= 20:
        return ORDINALS[n - 1]
    return "thirtieth" if n == 30 else f"{TENS[n // 10 - 2]} {ORDINALS[n % 10 - 1]}"


def number(draw):
    return cardinal(draw.randrange(draw.choice([20, 100, 1_000, 10_000])))


def day_and_month(draw):
    month = draw.choice(MONTHS)
    return ordinal(draw.randint(1, DAYS_OF_MONTH[month])), month


def date(draw):
    day, month = day_and_month(draw)
    said = draw.choice([f"the {day} of {month}", f"{month} {day}"])
    year = f" {draw.choice(['nineteen', 'twenty'])} {cardinal(draw.randint(10, 99))}"
    return draw.choice(["", "on "]) + draw.choice([said, said, said + year])


def clock(draw):
    minutes = draw.choice(["", " fifteen", " thirty", " forty five", f" {cardinal(draw.randint(10, 59))}"])
    hour = cardinal(draw.randint(1, 12))
    said = draw.choice([hour + minutes, hour + minutes, f"{draw.choice(['half past', 'quarter past', 'quarter to'])} {hour}"])
    part = draw.choice(["", " in the morning", " in the evening", " tonight"])
    return f"{draw.choice(['at', 'wake me at', 'meet me at', 'call me at'])} {said}{part}"


def price(draw):
    cents = draw.choice(["", f" and {cardinal(draw.randint(1, 99))} cents"])
    money = f"{cardinal(draw.randint(1, 99))} {draw.choice(['dollars', 'pounds', 'euros'])}"
    return draw.choice(["", "it costs ", "pay ", "the price is "]) + money + cents


def digits(draw):
    return " ".join(draw.choice(ONES[:10]) for _ in range(draw.randint(1, 7)))


def switch(draw):
    verb = draw.choice(["turn on", "turn off", "switch on", "switch off"])
    where = draw.choice(["", f" in the {draw.choice(ROOMS)}"])
    return f"{verb} the {draw.choice(THINGS)}{where}"


def timer(draw):
    verb = draw.choice(["set a timer for", "remind me in", "wait for"])
    return f"{verb} {cardinal(draw.randint(2, 59))} {draw.choice(['seconds', 'minutes', 'hours'])}"


def level(draw):
    verb = draw.choice(["set the volume to", "set the temperature to", "turn the heating to", "dim the lights to"])
    return f"{verb} {cardinal(draw.randint(2, 99))}{draw.choice(['', ' percent', ' degrees'])}"


def appointment(draw):
    day = draw.choice(["", "next ", "on ", "every ", "call me on "]) + draw.choice(DAYS)
    when = " the {} of {}".format(*day_and_month(draw))
    hour = f" at {cardinal(draw.randint(1, 12))}{draw.choice(['', ' thirty'])}"
    return day + draw.choice(["", when, hour, hour])


def order(draw):
    verb = draw.choice(["order", "buy", "bring me", "add"])
    return f"{verb} {cardinal(draw.randint(2, 30))} {draw.choice(MEASURES)} of {draw.choice(GOODS)}"


def place(draw):
    verb = draw.choice(["go to", "play", "find", "show me", "what is"])
    return f"{verb} {draw.choice(PLACES)} {cardinal(draw.randrange(1, 400))}"


CLAUSES = [number, date, clock, price, digits, switch, timer, level, appointment, order, place]
CONNECTIVES = ["and", "then", "and then"]


def sentence(draw):
    """Clauses joined until the next one would be a word too many."""
    said = draw.choice(CLAUSES)(draw)
    while True:
        longer = f"{said} {draw.choice(CONNECTIVES)} {draw.choice(CLAUSES)(draw)}"
        if len(longer.split()) <= MOST_WORDS:
            said = longer
        elif len(said.split()) >= FEWEST_WORDS:
            return said


def sentences(draw, counts):
    """Pairs of split and sentence. Held-out sentences are distinct; training may repeat one, in another voice."""
    rows, held_out = [], set()
    for split in ("test", "valid"):
        wanted = len(rows) + counts[split]
        while len(rows) < wanted:
            text = sentence(draw)
            if text not in held_out:
                held_out.add(text)
                rows.append((split, text))
    wanted = len(rows) + counts["train"]
    while len(rows) < wanted:
        text = sentence(draw)
        if text not in held_out:
            rows.append(("train", text))
    return rows


def check_splits(rows):
    """Fails unless the promises about sentences and words at the top of this file hold; prints the counts."""
    texts = {split: [text for s, text in rows if s == split] for split in ("train", "valid", "test")}
    train_words = collections.Counter(word for text in texts["train"] for word in text.split())
    for split, other in (("test", "train"), ("test", "valid"), ("valid", "train")):
        shared = set(texts[split]) & set(texts[other])
        assert not shared, f"{split} and {other} share sentences: {sorted(shared)[:3]}"
        print(f"sentences shared by {split} and {other}: {len(shared)}")
    for split in ("test", "valid"):
        assert len(set(texts[split])) == len(texts[split]), f"a sentence occurs twice in {split}"
        unseen = {word for text in texts[split] for word in text.split()} - set(train_words)
        assert not unseen, f"words of {split} that training never says: {sorted(unseen)}"
    for split, said in texts.items():
        print(f"{split}: {len(said)} utterances, {sum(len(text.split()) for text in said)} words")
    print(f"{len(train_words)} distinct words; rarest in train: {train_words.most_common()[-1]}")


def synthesize(text, speaker, words_per_minute, pitch):
    """Speech without its silent ends, [samples] at SAMPLE_RATE, root mean square 1."""
    command = ["espeak-ng", "-v", speaker, "-s", str(words_per_minute), "-p", str(pitch), "--stdout", text]
    sound = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(sound)) as reader:
        assert reader.getframerate() == SYNTHESIS_RATE, reader.getframerate()
        # espeak-ng writes to a pipe, so the length in its header is not the true one.
        samples = np.frombuffer(sound[44:], dtype="<i2").astype(np.float64)
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    samples = resample(samples[loud[0] : loud[-1] + 1])
    return samples / np.sqrt(np.mean(samples**2))


def resample(samples):
    """From SYNTHESIS_RATE to SAMPLE_RATE, by leaving out the part of the spectrum that the lower rate cannot hold."""
    length = len(samples) * SAMPLE_RATE // SYNTHESIS_RATE
    return np.fft.irfft(np.fft.rfft(samples)[: length // 2 + 1], length)


def synthesize_to_fit(text, speaker, words_per_minute, pitch, longest_s):
    """`synthesize`, spoken faster where it would be longer than `longest_s`."""
    while True:
        speech = synthesize(text, speaker, words_per_minute, pitch)
        if len(speech) <= longest_s * SAMPLE_RATE:
            return speech
        words_per_minute += 15


def noise(kind, length, draw, babble):
    """Background of root mean square 1, [length] at SAMPLE_RATE."""
    if kind == "white":
        samples = draw.standard_normal(length)
    elif kind == "pink":
        spectrum = np.fft.rfft(draw.standard_normal(length))
        samples = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), length)
    elif kind == "hum":
        time_s = np.arange(length) / SAMPLE_RATE
        mains_hz = draw.choice([50.0, 60.0])
        tones = [draw.uniform(0, 1) / k * np.sin(2 * np.pi * (k * mains_hz * time_s + draw.uniform())) for k in range(1, 12)]
        samples = np.sum(tones, axis=0) + 0.05 * draw.standard_normal(length)
    else:
        voices = [np.resize(babble[draw.integers(len(babble))], length) for _ in range(4)]
        samples = np.sum([np.roll(voice, draw.integers(length)) for voice in voices], axis=0)
    return samples / np.sqrt(np.mean(samples**2))


def make_utterance(index, split, text, seed, babble, folder):
    """Writes one file and returns its row of the manifest. Depends on `seed` and `index` alone, never on order."""
    draw = np.random.default_rng([seed, index])
    speaker = SPEAKERS[draw.integers(len(SPEAKERS))]
    margins_s = draw.uniform(0.03, 0.15, size=2)
    speech = synthesize_to_fit(
        text, speaker, int(draw.integers(*WORDS_PER_MINUTE)), int(draw.integers(*PITCH)), LONGEST_S - margins_s.sum()
    )
    before, after = (int(margin * SAMPLE_RATE) for margin in margins_s)
    speech = np.pad(speech, (before, after))
    kind = NOISES[draw.integers(len(NOISES))]
    snr_db = draw.uniform(*SNR_DB)
    mixed = speech + 10 ** (-snr_db / 20) * noise(kind, len(speech), draw, babble)
    mixed *= draw.uniform(0.3, 0.9) / np.abs(mixed).max()
    name = f"{split}/{index:05}.ogg"
    encode(mixed, index, folder / name)
    row = {"audio": name, "text": text, "split": split, "speaker": speaker, "noise": kind, "snr_db": round(snr_db, 1)}
    return row, len(mixed) / SAMPLE_RATE


def encode(samples, serial, path):
    """Ogg Vorbis. A given `serial` number keeps the bytes the same from run to run."""
    sound = io.BytesIO()
    with wave.open(sound, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SAMPLE_RATE)
        writer.writeframes((samples * 32_767).astype("<i2").tobytes())
    command = ["oggenc", "-Q", "-q", str(VORBIS_QUALITY), "--serial", str(serial), "-o", path, "-"]
    subprocess.run(command, check=True, input=sound.getvalue())


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, required=True, help="folder to write; made if missing")
    arguments.add_argument("--train", type=int, default=1_500)
    arguments.add_argument("--valid", type=int, default=60)
    arguments.add_argument("--test", type=int, default=300)
    arguments.add_argument("--seed", type=int, default=17)
    arguments.add_argument("--jobs", type=int, default=2)
    options = arguments.parse_args()

    counts = {"train": options.train, "valid": options.valid, "test": options.test}
    rows = sentences(random.Random(options.seed), counts)
    check_splits(rows)
    for split in counts:
        (options.out / split).mkdir(parents=True, exist_ok=True)
    spoken = [text for split, text in rows if split == "train"][:40]
    babble = [synthesize(text, SPEAKERS[i % len(SPEAKERS)], 175, 50) for i, text in enumerate(spoken)]

    def make(job):
        index, (split, text) = job
        return make_utterance(index, split, text, options.seed, babble, options.out)

    with ThreadPoolExecutor(options.jobs) as pool:
        made = list(pool.map(make, enumerate(rows, start=1)))
    lengths_s = [length for _, length in made]
    assert max(lengths_s) <= LONGEST_S, max(lengths_s)
    manifest = "".join(json.dumps(row) + "\n" for row, _ in made)
    (options.out / "manifest.jsonl").write_text(manifest, encoding="utf-8")
    total_bytes = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{sum(lengths_s) / 60:.1f} minutes, longest {max(lengths_s):.2f} s, {total_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
