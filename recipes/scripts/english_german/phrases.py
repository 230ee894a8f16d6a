"""Noun phrases, with English and German forms."""

from dataclasses import dataclass

from .lexicon import ADJECTIVES, CATEGORIES, CITIES, COLORS, FAMILIES, FITTING, MEN, PLACES, WOMEN

CASES = ["nom", "acc", "dat", "gen"]
# Endings by gender (p: plural of any) in the order of CASES.
DER = {"m": "der den dem des", "f": "die die der der", "n": "das das dem des", "p": "die die den der"}
DIES = {"m": "er en em es", "f": "e e er er", "n": "es es em es", "p": "e e en er"}
EIN = {"m": "- en em es", "f": "e e er er", "n": "- - em es", "p": "e e en er"}
AFTER_DER = {"m": "e en en en", "f": "e e en en", "n": "e e en en", "p": "en en en en"}
AFTER_EIN = {"m": "er en en en", "f": "e e en en", "n": "es es en en", "p": "en en en en"}
ALONE = {"m": "er en em en", "f": "e e er er", "n": "es es em en", "p": "e e en er"}
CONTRACTED = {"in dem": "im", "an dem": "am", "zu dem": "zum", "zu der": "zur", "von dem": "vom", "in das": "ins", "an das": "ans"}

# English, German stem, whether the endings are those of dieser.
DETERMINERS = {
    "the": None,
    "this": ("dies", True),
    "a": ("ein", False),
    "my": ("mein", False),
    "your": ("dein", False),
    "his": ("sein", False),
    "her": ("ihr", False),
    "our": ("unser", False),
    "their": ("ihr", False),
    "no": ("kein", False),
}


def ending(table, gender, case):
    return table[gender].split()[CASES.index(case)].replace("-", "")


@dataclass(frozen=True)
class Phrase:
    """Somebody or something. English subject and object, German by case, and what agrees with it."""

    subject: str
    object: str
    german: dict
    person: int = 3
    plural: bool = False
    gender: str = "n"
    pronoun: bool = False
    no: bool = False  # kein

    @property
    def he(self):
        """The pronoun that stands for it."""
        if self.plural:
            return PRONOUNS["they"]
        if self.subject.endswith("girl"):
            return PRONOUNS["she"]
        return {"m": PRONOUNS["he"], "f": PRONOUNS["she"], "n": PRONOUNS["it"]}[self.gender]


def pronoun(subject, object_, nom, acc, dat, person=3, plural=False, gender="n"):
    return Phrase(subject, object_, {"nom": nom, "acc": acc, "dat": dat}, person, plural, gender, True)


PRONOUNS = {
    "I": pronoun("I", "me", "ich", "mich", "mir", 1),
    "you": pronoun("you", "you", "du", "dich", "dir", 2),
    "he": pronoun("he", "him", "er", "ihn", "ihm", gender="m"),
    "she": pronoun("she", "her", "sie", "sie", "ihr", gender="f"),
    "it": pronoun("it", "it", "es", "es", "ihm", gender="n"),
    "we": pronoun("we", "us", "wir", "uns", "uns", 1, True),
    "they": pronoun("they", "them", "sie", "sie", "ihnen", 3, True),
}
# A thing is `it`, and in German what its noun is.
THING_PRONOUNS = {
    gender: pronoun("it", "it", german["nom"], german["acc"], german["dat"], gender=gender)
    for gender, german in (("m", PRONOUNS["he"].german), ("f", PRONOUNS["she"].german), ("n", PRONOUNS["it"].german))
}


def syllables(word):
    """Groups of vowels."""
    vowels = [letter in "aeiouyäöü" for letter in word.lower()]
    return sum(now and not before for before, now in zip([False, *vowels], vowels))


def inflected(noun, case, plural):
    """The German noun in a case."""
    if plural:
        return noun.germans + ("n" if case == "dat" and noun.germans[-1] not in "ns" else "")
    if noun.weak and case != "nom":
        return noun.german + ("n" if noun.german[-1] in "er" else "en")
    if case == "gen" and noun.gender != "f":
        return noun.german + ("es" if noun.german[-1] in "sßxz" or syllables(noun.german) == 1 else "s")
    return noun.german


def article(word):
    """The English indefinite article before `word`."""
    return "an" if word[0] in "aeiou" else "a"


def noun_phrase(noun, determiner, adjective=None, plural=False, count=None):
    """`determiner` is a key of DETERMINERS, or "" before a plural; `count` is a pair of English and German number words.

    After `not`, English says a book and any books where German says kein Buch and keine Bücher.
    """
    gender = "p" if plural else noun.gender
    words = [*([count[0]] if count else []), *([adjective[0]] if adjective else []), noun.plural if plural else noun.singular]
    if determiner:
        indefinite = "any" if plural else article(words[0])
        words.insert(0, {"this": "these" if plural else "this", "a": indefinite, "no": indefinite}.get(determiner, determiner))
    german = {}
    for case in CASES:
        if determiner == "the":
            before, table = ending(DER, gender, case), AFTER_DER
        elif determiner:
            stem, strong = DETERMINERS[determiner]
            before, table = stem + ending(DIES if strong else EIN, gender, case), AFTER_DER if strong else AFTER_EIN
        else:
            before, table = "", ALONE
        described = adjective[1] + ending(table, gender, case) if adjective else ""
        number = count[1] if count else ""
        german[case] = " ".join(filter(None, [before, number, described, inflected(noun, case, plural)]))
    english = " ".join(words)
    return Phrase(english, english, german, 3, plural, noun.gender, no=determiner == "no")


def described(draw, category, share):
    """An adjective that fits `category`, English and German stem, or None."""
    if draw.random() >= share:
        return None
    if category in ("thing", "device") and draw.random() < 0.3:
        return draw.choice(COLORS)
    adjective = predicate(draw, category)
    return adjective.english, adjective.stem


def predicate(draw, category):
    """An adjective to say of something of `category`."""
    return draw.choice([adjective for adjective in ADJECTIVES if adjective.english in FITTING[category]])


def some(draw, categories, adjectives=0.45, plurals=0.25, determiners="the the the a a this my your his her our their"):
    """Something of one of `categories`."""
    category = draw.choice(categories.split())
    determiner, plural = draw.choice(determiners.split()), draw.random() < plurals
    if plural and determiner == "a":
        determiner = ""
    return noun_phrase(draw.choice(CATEGORIES[category]), determiner, described(draw, category, adjectives), plural)


def named(draw):
    """Somebody with a name."""
    if draw.random() < 0.25:
        family = draw.choice(FAMILIES)
        title, herr, herrn, gender = draw.choice([("Mr.", "Herr", "Herrn", "m"), ("Mrs.", "Frau", "Frau", "f")])
        english = f"{title} {family}"
        german = {case: f"{herr if case == 'nom' else herrn} {family}" for case in ("nom", "acc", "dat")}
        return Phrase(english, english, german, gender=gender)
    name, gender = draw.choice([(name, "m") for name in MEN] + [(name, "f") for name in WOMEN])
    return Phrase(name, name, {"nom": name, "acc": name, "dat": name, "gen": name + ("'" if name[-1] in "sx" else "s")}, gender=gender)


def someone(draw, pronouns="I you he she we they"):
    """Somebody who can do something."""
    kind = draw.random()
    if kind < 0.4 and pronouns:
        return PRONOUNS[draw.choice(pronouns.split())]
    return named(draw) if kind < 0.6 else some(draw, "person", 0.25, 0.2, "the the the this my your his her our")


def whom(draw, subject):
    """Somebody to whom `subject` does something: not itself."""
    while True:
        if draw.random() < 0.35:
            other = PRONOUNS[draw.choice("I you he she we they".split())]
        else:
            other = named(draw) if draw.random() < 0.5 else some(draw, "person", 0.35, 0.2, "the the my this our his her")
        same = {subject.person, other.person} <= {1} or {subject.person, other.person} <= {2}
        if not same and not (subject.pronoun and other.pronoun and subject.person == other.person == 3):
            if other.subject != subject.subject:
                return other


def contracted(preposition, german):
    """A German preposition before a noun phrase: in dem Garten -> im Garten."""
    first, _, rest = german.partition(" ")
    short = CONTRACTED.get(f"{preposition} {first}")
    return f"{short} {rest}" if short and rest else f"{preposition} {german}"


def place(draw, goal):
    """Where, or whereto if `goal`: English and German."""
    if draw.random() < 0.3:
        english, german = draw.choice(list(CITIES.items()))
        return (f"to {english}", f"nach {german}") if goal else (f"in {english}", f"in {german}")
    noun, at, an, to, zu, case = draw.choice(PLACES)
    where = noun_phrase(noun, draw.choice("the the the this our".split()), described(draw, "place", 0.25))
    if goal:
        return f"{to} {where.object}", contracted(zu, where.german[case])
    return f"{at} {where.object}", contracted(an, where.german["dat"])
