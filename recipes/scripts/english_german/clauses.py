"""Clauses: a subject, a verb with what it needs, time and place, in both languages and every order that German has."""

from dataclasses import dataclass

from .lexicon import VERBS, Verb
from .phrases import Phrase, contracted, place, some, whom

STATIVE = ["know", "need", "live", "trust", "remember"]
# Verbs whose object has a preposition.
ABOUT = ["prep", "self"]

# English: present of I, he, and past; German: ich, du, er, wir.
MODALS = {
    "can": ("can", "can", "kann kannst kann können"),
    "must": ("have to", "has to", "muss musst muss müssen"),
    "want": ("want to", "wants to", "will willst will wollen"),
    "should": ("should", "should", "sollte solltest sollte sollten"),
    "may": ("be allowed to", "be allowed to", "darf darfst darf dürfen"),
    "could": ("could", "could", "konnte konntest konnte konnten"),
    "had to": ("had to", "had to", "musste musstest musste mussten"),
    "wanted": ("wanted to", "wanted to", "wollte wolltest wollte wollten"),
}
PAST_MODALS = ["could", "had to", "wanted"]
FRAMES = "acc acc acc dat give prep self place goal alone"
BE = {"present": ("am", "is", "are"), "past": ("was", "was", "were")}


def persons(forms):
    """The German finite forms by (person, plural) from the four that differ; you is du."""
    ich, du, er, wir = forms.split()
    return {(1, False): ich, (2, False): du, (3, False): er, (1, True): wir, (3, True): wir}


HABEN = persons("habe hast hat haben")
SEIN = persons("bin bist ist sind")
WERDEN = persons("werde wirst wird werden")
WAR = persons("war warst war waren")
HATTE = persons("hatte hattest hatte hatten")
WURDE = persons("wurde wurdest wurde wurden")
AUX = {"haben": HABEN, "sein": SEIN}


def present(verb):
    """The German present of a verb without its prefix."""
    stem = verb.infinitive.removesuffix("n").removesuffix("e")
    root = verb.er.removesuffix("t")
    return persons(f"{stem}e {root}{'t' if root[-1] in 'sßz' else 'st'} {verb.er} {verb.infinitive}")


def agree(phrase):
    return phrase.person, phrase.plural


def third(phrase):
    """Whether an English verb takes -s."""
    return phrase.person == 3 and not phrase.plural


def be(phrase, tense="present"):
    am, is_, are = BE[tense]
    return am if phrase.subject == "I" else is_ if third(phrase) else are


def with_s(base):
    """The English third person of an infinitive with its particle."""
    word, _, rest = base.partition(" ")
    if word == "go" or word.endswith(("s", "sh", "ch", "x")):
        word += "es"
    else:
        word = word[:-1] + "ies" if word[-1] == "y" and word[-2] not in "aeiou" else word + "s"
    return f"{word} {rest}".strip()


def with_ing(base):
    """The English present participle of an infinitive with its particle."""
    word, _, rest = base.partition(" ")
    if word in ("get", "sit", "swim", "run", "cut"):
        word += word[-1]
    elif word[-1] == "e" and word != "see":
        word = word[:-1]
    return f"{word}ing {rest}".strip()


@dataclass
class Clause:
    subject: Phrase
    verb: Verb
    tense: str  # present, progressive, perfect, future, or a modal
    negated: bool = False
    indirect: Phrase | None = None  # dative
    direct: Phrase | None = None  # accusative, or the only object whatever its case
    time: tuple | None = None  # English, German
    where: tuple | None = None  # English, German
    gladly: bool = False  # likes to do it
    asked: str = ""  # what a question asks for and the clause therefore leaves out: direct, time, where

    # English

    def english_verb(self, form):
        """The verb with its objects: `form` is base, s, past, participle or ing."""
        words = {
            "base": self.verb.base,
            "s": with_s(self.verb.base),
            "ing": with_ing(self.verb.base),
            "past": self.swapped(self.verb.past),
            "participle": self.swapped(self.verb.participle),
        }[form]
        direct = self.direct.object if self.direct and self.asked != "direct" else ""
        if self.verb.frame in ABOUT:
            return join(words, self.verb.prep[0], direct)
        if self.verb.frame == "give":
            return join(words, self.indirect.object, direct)
        head, _, particle = words.partition(" ")
        if particle in ("up", "on", "off", "along", "aloud") and direct and (self.direct.pronoun or particle in ("along", "aloud")):
            return f"{head} {direct} {particle}"
        return f"{words} {direct}".strip()

    def swapped(self, word):
        """`word` with the particle of the verb."""
        _, _, particle = self.verb.base.partition(" ")
        return f"{word} {particle}".strip()

    def english_finite(self):
        """The English auxiliary if there is one, and the rest."""
        no = " not" if self.negated else ""
        if self.gladly:
            return "", f"{'likes' if third(self.subject) else 'like'} to {self.english_verb('base')}"
        if self.tense == "progressive":
            return be(self.subject) + no, self.english_verb("ing")
        if self.tense == "future":
            return "will" + no, self.english_verb("base")
        if self.tense == "may":
            return be(self.subject) + no, f"allowed to {self.english_verb('base')}"
        if self.tense in MODALS:
            first, he, _ = MODALS[self.tense]
            first = he if third(self.subject) else first
            auxiliary, to = (first.split()[0], first.split()[1:]) if " " in first else (first, [])
            if not to:
                return auxiliary + no, self.english_verb("base")
            base = {"had": "have", "has": "have", "have": "have"}.get(auxiliary, "want")
            if no:
                return self.do(), f"not {base} to {self.english_verb('base')}"
            return "", f"{first} {self.english_verb('base')}"
        if no:
            return self.do(), f"not {self.english_verb('base')}"
        form = "past" if self.tense == "perfect" else "s" if third(self.subject) else "base"
        return "", self.english_verb(form)

    def do(self):
        past = self.tense == "perfect" or self.tense in PAST_MODALS
        return "did" if past else "does" if third(self.subject) else "do"

    def english(self):
        """I do not see the dog"""
        return join(self.subject.subject, *self.english_finite(), *self.english_tail()).replace("can not", "cannot")

    def english_tail(self):
        place_ = self.where[0] if self.where and self.asked != "where" else ""
        return place_, self.time[0] if self.time and self.asked != "time" else ""

    def english_question(self):
        """do I not see the dog"""
        auxiliary, rest = self.english_finite()
        if not auxiliary:
            auxiliary = self.do()
            if self.tense in MODALS:
                base = "have to" if "had" in self.tense or self.tense == "must" else "want to"
                rest = f"{base} {self.english_verb('base')}"
            elif self.gladly:
                rest = f"like to {self.english_verb('base')}"
            else:
                rest = self.english_verb("base")
        auxiliary, _, no = auxiliary.partition(" ")
        return join(auxiliary, self.subject.subject, no, rest, *self.english_tail())

    def english_infinitive(self):
        """to see the dog"""
        return join("to", self.english_verb("base"), *self.english_tail())

    # German

    def absorbed(self):
        """Whether the object says no itself: kein."""
        return self.direct is not None and self.direct.no

    def finite(self):
        """The German finite verb, and what stands at the end of a main clause."""
        who = agree(self.subject)
        if self.tense in ("present", "progressive"):
            return present(self.verb)[who], self.verb.prefix
        if self.tense == "perfect":
            return AUX[self.verb.aux][who], self.verb.partizip
        if self.tense == "future":
            return WERDEN[who], self.verb.prefix + self.verb.infinitive
        return persons(MODALS[self.tense][2])[who], self.verb.prefix + self.verb.infinitive

    def objects(self):
        """German objects: pronouns, then the time would come, then the others."""
        case = "dat" if self.verb.frame == "dat" else "acc"
        pairs = []
        if self.indirect:
            pairs.append((self.indirect, self.indirect.german["dat"]))
        if self.direct and self.asked != "direct" and self.verb.frame not in ABOUT:
            pairs.append((self.direct, self.direct.german[case]))
        # A pronoun in the accusative comes before one in the dative.
        pronouns = [text for phrase, text in pairs[::-1] if phrase.pronoun]
        return pronouns, [text for phrase, text in pairs if not phrase.pronoun]

    def middle(self, front=""):
        """What stands between the finite verb or the conjunction and the end, the subject left out."""
        pronouns, others = self.objects()
        time = self.time[1] if self.time and front != "time" and self.asked != "time" else ""
        place_ = self.where[1] if self.where and front != "where" and self.asked != "where" else ""
        no = "nicht" if self.negated and not self.absorbed() else ""
        with_ = ""
        if self.verb.frame in ABOUT and self.asked != "direct":
            _, german, case = self.verb.prep
            with_ = contracted(german, self.direct.german[case])
        return [self.reflexive(), *pronouns, time, "gern" if self.gladly else "", *others, no, with_, place_]

    def reflexive(self):
        """mich, dich, sich of a verb that has it."""
        if self.verb.frame != "self":
            return ""
        return "sich" if self.subject.person == 3 else self.subject.german["acc"]

    def german(self, front="subject"):
        """ich sehe den Hund nicht; `front` stands first: subject, time, where, or a text such as `warum`."""
        finite, end = self.finite()
        subject = self.subject.german["nom"]
        middle = self.middle(front)
        if front == "subject":
            return join(subject, finite, *middle, end)
        first = {"time": self.time and self.time[1], "where": self.where and self.where[1]}.get(front, front)
        return join(first, finite, subject, *middle, end)

    def german_last(self):
        """weil [ich den Hund nicht sehe]: the finite verb at the end."""
        finite, end = self.finite()
        prefix = self.tense in ("present", "progressive")
        end = [end + finite] if prefix else [end, finite]
        return join(self.subject.german["nom"], *self.middle(), *end)

    def german_infinitive(self):
        """den Hund zu sehen"""
        to = f"{self.verb.prefix}zu{self.verb.infinitive}" if self.verb.prefix else f"zu {self.verb.infinitive}"
        return join(*self.middle(), to)


def join(*words):
    return " ".join(filter(None, words))


def clause(draw, subject, tense, frames=FRAMES, negated=False, time=None, where=0.3):
    """A clause of `subject` with a verb of one of `frames`; some have a place."""
    determiners = "the the my his this no no no" if negated else "the the the a a this my your his her our their"
    frame = draw.choice(frames.split())
    static = tense == "progressive" or tense == "perfect" or tense in MODALS
    verb = draw.choice([verb for verb in VERBS if verb.frame == frame and not (static and verb.base in STATIVE)])
    made = Clause(subject, verb, tense, negated, time=time)
    if frame == "give":
        made.indirect = whom(draw, subject)
        made.direct = some(draw, verb.objects, determiners=determiners)
    elif frame in ("place", "goal"):
        made.where = place(draw, frame == "goal")
    elif frame != "alone":
        categories = [category for category in verb.objects.split() if category != "place"]
        category = draw.choice(categories)
        made.direct = whom(draw, subject) if category == "person" else some(draw, category, determiners=determiners)
    if frame in ("acc", "alone") and draw.random() < where and verb.base not in ("get up", "look for"):
        made.where = place(draw, False)
    return made
