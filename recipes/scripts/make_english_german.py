#!/usr/bin/env python3
"""Makes the data set `recipes/data/english-german`: English sentences and their German translations from one grammar.

    python3 recipes/scripts/make_english_german.py --out recipes/data/english-german

Needs: Python 3.9 and nothing else. The words and the grammar are in `english_german/` beside this file.

What the two languages do differently is what there is to learn: the verb second in main clauses and last in subordinate ones, verbs
whose prefix goes to the end, the perfect with haben or sein, articles, adjectives and pronouns that agree in case, gender and number,
`nicht` and `kein`, relative clauses, half past six that is half seven, 7:45 p.m. that is 19:45, numbers whose ones come before their tens.

What holds afterwards; the script checks it and fails otherwise:
- One row per line of `manifest.jsonl`: {"source" (English), "text" (German), "split", "template"}.
- No English and no German sentence occurs twice, in whatever split.
- The templates of `test_templates` are in no other split; those of `test` and `valid` are all in `train`.
- Every English word of every split occurs in `train`, words with digits aside.
- No sentence is longer than MOST_WORDS.

Everything is drawn from one seed.
"""

import collections
import re

from english_german.more_templates import TEMPLATES
from shared import make_corpus

COUNTS = {"test": 500, "test_templates": 500, "valid": 300, "train": 24_000}
MOST_WORDS = 18
# Kinds of sentences that training never shows, though it shows everything that they are made of.
HELD_OUT = """
main/future/no/time main/past-modal/yes/time main/perfect/no/subject
sub/because/first sub/although/last sub/before/first that/modal whether/perfect
relative/dat/subject relative/prep/object relative/acc/object
question/yes-no/future gladly/question command/please-not purpose/first
comparison/not-as belonging/object number/buy-for it/because
""".split()


def written(sentence):
    """With capitals and a final stop."""
    sentence = re.sub(r"(^|\? )(\w)", lambda found: found[1] + found[2].upper(), sentence)
    return sentence if sentence[-1] in "?!." else sentence + "."


def rows(draw):
    """One row after the other, split by split."""
    seen = set()
    for split, count in COUNTS.items():
        names = [name for name in TEMPLATES if (name in HELD_OUT) == (split == "test_templates")]
        made = 0
        while made < count:
            name = draw.choice(names)
            english, german = map(written, TEMPLATES[name](draw))
            if max(len(english.split()), len(german.split())) > MOST_WORDS or english in seen or german in seen:
                continue
            seen.update((english, german))
            made += 1
            yield {"source": english, "text": german, "split": split, "template": name}


def words(row):
    """The English words, numbers in digits left out."""
    return re.findall(r"[a-z'-]+", row["source"].lower())


def check(made):
    """Fails unless the promises at the top of this file hold; prints the counts."""
    for column in ("source", "text"):
        twice = [text for text, times in collections.Counter(row[column] for row in made).items() if times > 1]
        assert not twice, f"{column}: {twice[:3]}"
    by_split = {split: [row for row in made if row["split"] == split] for split in COUNTS}
    templates = {split: {row["template"] for row in split_rows} for split, split_rows in by_split.items()}
    assert not templates["test_templates"] & (templates["train"] | templates["valid"] | templates["test"])
    assert templates["test"] | templates["valid"] <= templates["train"]
    known = collections.Counter(word for row in by_split["train"] for word in words(row))
    for split, split_rows in by_split.items():
        unseen = {word for row in split_rows for word in words(row)} - set(known)
        assert not unseen, f"words of {split} that training never says: {sorted(unseen)}"
        said = [sum(len(row[column].split()) for row in split_rows) for column in ("source", "text")]
        print(f"{split}: {len(split_rows)} pairs of {len(templates[split])} templates, {said[0]} English words, {said[1]} German words")
    print(f"{len(known)} distinct English words; rarest in train: {known.most_common()[-3:]}")


if __name__ == "__main__":
    make_corpus(__doc__, rows, check)
