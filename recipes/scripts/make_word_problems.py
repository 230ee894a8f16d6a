#!/usr/bin/env python3
"""Makes the data set `recipes/data/word-problems`: word problems in the manner of GSM8K, whose answers are worked step by step.

    python3 recipes/scripts/make_word_problems.py --out recipes/data/word-problems

Needs: Python 3.9 and nothing else. The kinds of problems are in `word_problems/templates.py` beside this file.

What holds afterwards; the script checks it and fails otherwise:
- One row per line of `manifest.jsonl`: {"source" (the question), "text" (the worked answer), "split", "template"}.
- An answer is two or three sentences, one a line, each with one computation, and then a line `#### RESULT`.
- Every computation is right, and every number of it is in the question or the result of an earlier one (2 for twice, 4 for legs).
- No question occurs twice, and no answer is in two splits.
- `test` has names that no other split has, and no combination of numbers that training has in the same template.
- The templates of `test_templates` are in no other split.

Everything is drawn from one seed.
"""

import re

from shared import make_corpus
from word_problems.templates import TEMPLATES, Person

COUNTS = {"test": 400, "test_templates": 400, "valid": 300, "train": 16_000}
HELD_OUT = "theater two-jobs gift boxes-shared younger".split()
NAMES = {
    "he": "Tom Ben Sam Leo Max Noah Adam Luke Paul Eric Finn Jack Hugo Ivan Omar Carl Dean Kofi Theo Ray",
    "she": "Mia Eva Ana Zoe Lily Emma Nora Ruth Sara Kate Jane Rosa Alma Inga Lena Maya Tina Vera Ivy Dora",
}
NEW_NAMES = {"he": "Igor Walt Yusuf Neil Otto Gus", "she": "Greta Hana Wilma Joan Olga Fay"}


def people(draw, names):
    """Two of different names."""
    known = [Person(name, he) for he, of in names.items() for name in of.split()]
    return draw.sample(known, 2)


def rows(draw):
    """One row after the other, split by split."""
    questions, answers, tested = set(), {}, set()
    for split, count in COUNTS.items():
        names = [name for name in TEMPLATES if (name in HELD_OUT) == (split == "test_templates")]
        made = 0
        while made < count:
            name = draw.choice(names)
            problem = TEMPLATES[name](draw, *people(draw, NEW_NAMES if split == "test" else NAMES))
            answer = "\n".join([*problem.steps, f"#### {problem.result}"])
            if problem.question in questions or answers.get(answer, split) != split:
                continue
            if split == "test":
                tested.add((name, problem.numbers))
            elif (name, problem.numbers) in tested:
                continue
            questions.add(problem.question)
            answers[answer] = split
            made += 1
            yield {"source": problem.question, "text": answer, "split": split, "template": name}


def check_answer(row):
    """Fails unless every computation is right and uses what is known."""
    *steps, last = row["text"].split("\n")
    known = {int(number) for number in re.findall(r"\d+", row["source"])} | {2, 4}
    for step in steps:
        (left, right), = re.findall(r"(\d+(?: [-+*/] \d+)+) = (\d+)", step)
        assert eval(left) == int(right), row
        assert {int(number) for number in re.findall(r"\d+", left)} <= known, row
        known.add(int(right))
    assert last == f"#### {right}" and len(steps) in (2, 3), row


def check(made):
    """Fails unless the promises at the top of this file hold; prints the counts."""
    for row in made:
        check_answer(row)
    assert len({row["source"] for row in made}) == len(made)
    by_split = {split: [row for row in made if row["split"] == split] for split in COUNTS}
    for split, split_rows in by_split.items():
        others = [row for row in made if row["split"] != split]
        assert not {row["text"] for row in split_rows} & {row["text"] for row in others}
        templates = {row["template"] for row in split_rows}
        assert not templates & {row["template"] for row in others} or split != "test_templates"
        words = sum(len(row["source"].split()) + len(row["text"].split()) for row in split_rows)
        print(f"{split}: {len(split_rows)} problems of {len(templates)} templates, {words} words")
    new = set(" ".join(NEW_NAMES.values()).split())
    assert not any(new & set(re.findall(r"\w+", row["source"])) for row in made if row["split"] != "test")


if __name__ == "__main__":
    make_corpus(__doc__, rows, check)
