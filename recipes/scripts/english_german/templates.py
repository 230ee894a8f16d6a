"""Kinds of sentences. A template has a name, and yields English and German without capitals and final stops."""

from dataclasses import replace

from . import numbers
from .clauses import HABEN, MODALS, PAST_MODALS, SEIN, WAR, WERDEN, WURDE, agree, be, clause, join, third
from .lexicon import CATEGORIES, CITIES, VERBS
from .phrases import CASES, DER, PRONOUNS, THING_PRONOUNS, Phrase, contracted, described, ending, named, noun_phrase, place
from .phrases import predicate, some, someone, whom

TENSES = ["present", "progressive", "perfect", "future", "modal", "past-modal"]
RELATIVE = {gender: {case: ending(DER, gender, case) for case in CASES} for gender in DER}
RELATIVE["p"]["dat"] = "denen"
WHOSE = {"m": "dessen", "n": "dessen", "f": "deren", "p": "deren"}
TEMPLATES = {}


def template(name):
    def listed(make):
        TEMPLATES[name] = make
        return make

    return listed


def drawn(draw, tense):
    """A tense, or one of the modals."""
    if tense == "modal":
        return draw.choice([modal for modal in MODALS if modal not in PAST_MODALS])
    return draw.choice(PAST_MODALS) if tense == "past-modal" else tense


def pronominal(phrase):
    """The pronoun for it in the next clause."""
    return phrase if phrase.pronoun else phrase.he


def simple(draw, tense, subject=None, negated=False, timed=0.5, **more):
    """A clause; some have a time."""
    tense = drawn(draw, tense)
    time = numbers.when(draw, tense, negated) if draw.random() < timed or tense == "present" and timed else None
    return clause(draw, subject or someone(draw), tense, negated=negated, time=time, **more)


def main(tense, negated, front):
    def make(draw):
        made = simple(draw, tense, negated=negated, timed=1.0 if front == "time" else 0.5)
        if front == "time":
            rest = replace(made, time=None)
            return f"{made.time[0]} {rest.english()}", made.german("time")
        return made.english(), made.german()

    return make


for tense in TENSES:
    for negated in (False, True):
        for front in ("subject", "time"):
            TEMPLATES[f"main/{tense}/{'no' if negated else 'yes'}/{front}"] = main(tense, negated, front)


def compound(english, german, tenses, first):
    """A main and a subordinate clause; `tenses` lists the pairs of theirs. With `first`, the subordinate one leads."""

    def make(draw):
        outer, inner = draw.choice(tenses.split()).split("+")
        subject = someone(draw)
        main_ = simple(draw, outer, subject, draw.random() < 0.15, timed=0, where=0.15)
        same = draw.random() < 0.4
        sub = simple(draw, inner, pronominal(subject) if same else someone(draw), draw.random() < 0.2, timed=0.25, where=0.15)
        if first and same:
            main_, sub = replace(main_, subject=sub.subject), replace(sub, subject=subject)
        if first:
            return f"{english} {sub.english()}, {main_.english()}", f"{german} {sub.german_last()}, {main_.german('')}"
        return f"{main_.english()} {english} {sub.english()}", f"{main_.german()}, {german} {sub.german_last()}"

    return make


for english, german, tenses in [
    ("because", "weil", "perfect+past-modal perfect+perfect modal+present modal+modal future+modal future+perfect"),
    ("although", "obwohl", "perfect+perfect perfect+past-modal modal+modal future+present"),
    ("if", "wenn", "future+present modal+present modal+modal future+modal"),
    ("when", "als", "perfect+perfect past-modal+perfect"),
    ("before", "bevor", "perfect+perfect future+present modal+present"),
    ("while", "während", "perfect+perfect future+present"),
    ("as soon as", "sobald", "future+present modal+present"),
]:
    for first in (False, True):
        TEMPLATES[f"sub/{english}/{'first' if first else 'last'}"] = compound(english, german, tenses, first)

SAYING = [("say", "says", "said", "sage sagst sagt sagen", "gesagt"), ("hope", "hopes", "hoped", "hoffe hoffst hofft hoffen", "gehofft"),
          ("believe", "believes", "believed", "glaube glaubst glaubt glauben", "geglaubt"),
          ("know", "knows", "knew", "weiß weißt weiß wissen", "gewusst")]


def said(draw, subject, past):
    """Somebody says: English, German."""
    verb, verbs, did, forms, partizip = draw.choice(SAYING)
    who = agree(subject)
    german = dict(zip([(1, False), (2, False), (3, False), (1, True), (3, True)], [*forms.split(), forms.split()[3]]))
    if past:
        return f"{subject.subject} {did}", f"{subject.german['nom']} {HABEN[who]} {partizip}"
    return f"{subject.subject} {verbs if third(subject) else verb}", f"{subject.german['nom']} {german[who]}"


def that(tense):
    def make(draw):
        subject = someone(draw)
        english, german = said(draw, subject, tense in ("perfect", "past-modal") and draw.random() < 0.5)
        inner = pronominal(subject) if draw.random() < 0.4 else someone(draw)
        made = simple(draw, tense, inner, draw.random() < 0.25, where=0.2)
        return f"{english} that {made.english()}", f"{german}, dass {made.german_last()}"

    return make


def whether(tense):
    def make(draw):
        subject = someone(draw)
        who = agree(subject)
        made = simple(draw, tense, someone(draw), draw.random() < 0.15, where=0.2)
        english, german = draw.choice([("whether", "ob"), ("whether", "ob"), ("why", "warum"), ("when", "wann")])
        if english == "when":
            made = replace(made, time=None, negated=False)
            if made.direct and made.direct.no:
                made = replace(made, direct=whom(draw, made.subject), verb=by_base("visit"))
        do = "does" if third(subject) else "do"
        weiß = {(1, False): "weiß", (2, False): "weißt", (3, False): "weiß"}.get(who, "wissen")
        return (f"{subject.subject} {do} not know {english} {made.english()}",
                f"{subject.german['nom']} {weiß} nicht, {german} {made.german_last()}")

    return make


def by_base(base):
    return next(verb for verb in VERBS if verb.base == base)


for tense in TENSES:
    TEMPLATES[f"that/{tense}"] = that(tense)
    TEMPLATES[f"whether/{tense}"] = whether(tense)


def relative(role, where):
    """A noun with a clause about it, in which it has `role`; the noun is the subject or the object (`where`) of the main clause."""

    def make(draw):
        person = role != "acc" or draw.random() < 0.4
        category = "person" if person else draw.choice(["thing", "text", "device", "animal"])
        noun = some(draw, category, 0.2, 0.3, "the the the this" if where == "subject" else "the the a my")
        gender = "p" if noun.plural else noun.gender
        word = RELATIVE[gender]
        tense = draw.choice(["perfect", "present", "future", "modal"])
        if role == "nom":
            who = Phrase("who", "whom", {"nom": word["nom"]}, 3, noun.plural, noun.gender)
            made = simple(draw, tense, who, timed=0.2, where=0.15)
            english, german = made.english(), made.german_last()
        elif role == "gen":
            owned = some(draw, "thing device", 0, 0.2, "the")
            made_of = predicate(draw, "thing")
            bare = owned.german["nom"].split(" ", 1)[1]
            english = f"whose {owned.subject.removeprefix('the ')} {be(owned)} {made_of.english}"
            german = f"{WHOSE[gender]} {bare} {made_of.german} {SEIN[agree(owned)]}"
        else:
            frame = {"acc": "acc", "dat": "dat", "prep": "prep"}[role]
            verbs = [verb for verb in VERBS if verb.frame == frame and category in verb.objects.split()]
            made = replace(simple(draw, tense, timed=0.2, where=0, frames=frame), verb=draw.choice(verbs), direct=noun, asked="direct")
            if made.tense != "present" and made.verb.base in ("know", "need", "trust"):
                made = replace(made, tense="present")
            pronoun = "whom" if person else "that"
            if role == "prep":
                preposition, vor, case = made.verb.prep
                english = f"{preposition} {pronoun} {made.english().replace(' ' + preposition + ' ', ' ').removesuffix(' ' + preposition)}"
                german = f"{vor} {word[case]} {made.german_last()}"
            else:
                english, german = f"{pronoun} {made.english()}", f"{word[role]} {made.german_last()}"
        if where == "subject":
            if person:
                about = predicate(draw, "person")
            else:
                about = predicate(draw, "animal" if category == "animal" else "thing")
            return (f"{noun.subject} {english} {be(noun)} {about.english}",
                    f"{noun.german['nom']}, {german}, {SEIN[agree(noun)]} {about.german}")
        verb = by_base(draw.choice(["see", "ask", "meet"] if person else ["see", "find", "look for"]))
        outer = replace(simple(draw, draw.choice(["perfect", "modal", "future"]), timed=0, frames="acc", where=0), verb=verb, direct=noun)
        return f"{outer.english()} {english}", f"{outer.german()}, {german}"

    return make


for role in ("nom", "acc", "dat", "prep", "gen"):
    for where in ("subject", "object"):
        TEMPLATES[f"relative/{role}/{where}"] = relative(role, where)


def question(tense, negated=False):
    def make(draw):
        made = simple(draw, tense, negated=negated, timed=0.4)
        return made.english_question() + "?", made.german("") + "?"

    return make


for tense in TENSES:
    TEMPLATES[f"question/yes-no/{tense}"] = question(tense)
TEMPLATES["question/yes-no/perfect/no"] = question("perfect", True)
TEMPLATES["question/yes-no/modal/no"] = question("modal", True)


def asks(english, german, asked="", frames=None, tenses="present perfect future modal", category=None):
    def make(draw):
        tense = draw.choice(tenses.split())
        more = {"frames": frames} if frames else {}
        made = simple(draw, tense, timed=0 if asked == "time" else 0.3, where=0.15, **more)
        if category:
            verbs = [verb for verb in VERBS if verb.frame == frames and category in verb.objects.split() and verb.base != "know"]
            made = replace(made, verb=draw.choice(verbs), where=None, asked=asked)
        made = replace(made, asked=asked)
        return f"{english} {made.english_question()}?", f"{german} {made.german('')}?"

    return make


TEMPLATES["question/what"] = asks("what", "was", "direct", "acc", category="thing")
TEMPLATES["question/whom"] = asks("whom", "wen", "direct", "acc", category="person")
TEMPLATES["question/whom-dative"] = asks("whom", "wem", "direct", "dat", category="person")
TEMPLATES["question/where"] = asks("where", "wo", "where", "place")
TEMPLATES["question/whereto"] = asks("where", "wohin", "where", "goal")
TEMPLATES["question/when"] = asks("when", "wann", "time", tenses="perfect future modal")
TEMPLATES["question/why"] = asks("why", "warum")


@template("question/who")
def who(draw):
    asked = Phrase("who", "whom", {"nom": "wer"})
    made = simple(draw, draw.choice(["present", "perfect", "future", "modal", "past-modal"]), asked, timed=0.3)
    return made.english() + "?", made.german() + "?"


INTENDING = [("hope", "hopes", "hoped", "hoffe hoffst hofft hoffen", "gehofft"),
             ("try", "tries", "tried", "versuche versuchst versucht versuchen", "versucht"),
             ("plan", "plans", "planned", "plane planst plant planen", "geplant"),
             ("promise", "promises", "promised", "verspreche versprichst verspricht versprechen", "versprochen")]


def infinitive(past):
    def make(draw):
        subject = someone(draw)
        verb, verbs, did, forms, partizip = draw.choice(INTENDING)
        made = simple(draw, "future", subject, timed=0.3)
        ich, du, er, wir = forms.split()
        finite = {(1, False): ich, (2, False): du, (3, False): er}.get(agree(subject), wir)
        english = f"{subject.subject} {did if past else verbs if third(subject) else verb} {made.english_infinitive()}"
        start = f"{HABEN[agree(subject)]} {partizip}" if past else finite
        return english, f"{subject.german['nom']} {start}, {made.german_infinitive()}"

    return make


TEMPLATES["infinitive/present"] = infinitive(False)
TEMPLATES["infinitive/past"] = infinitive(True)


def purpose(first):
    def make(draw):
        subject = someone(draw)
        outer = simple(draw, draw.choice(["perfect", "future", "modal"]), subject, timed=0, frames="goal acc dat goal")
        inner = simple(draw, "future", subject, timed=0, where=0.1, frames="acc acc dat give prep")
        english, german = inner.english_infinitive(), f"um {inner.german_infinitive()}"
        if first:
            return f"in order {english}, {outer.english()}", f"{german}, {outer.german('')}"
        return f"{outer.english()} in order {english}", f"{outer.german()}, {german}"

    return make


TEMPLATES["purpose/last"] = purpose(False)
TEMPLATES["purpose/first"] = purpose(True)


@template("gladly/yes")
def gladly(draw):
    made = replace(clause(draw, someone(draw), "present", "acc prep place goal alone dat"), gladly=True)
    return made.english(), made.german()


@template("gladly/question")
def gladly_question(draw):
    made = replace(clause(draw, someone(draw, "you you he she they"), "present", "acc prep place goal alone"), gladly=True)
    return made.english_question() + "?", made.german("") + "?"


def command(polite, negated=False):
    def make(draw):
        verbs = [verb for verb in VERBS if verb.imperative]
        made = simple(draw, "future", PRONOUNS["you"], negated, timed=0.4)
        if not made.verb.imperative:
            same = [verb for verb in verbs if verb.frame == made.verb.frame and made.verb.objects in verb.objects]
            made = replace(made, verb=draw.choice(same)) if same else simple(draw, "future", PRONOUNS["you"], negated, frames="goal")
        english = join("do not" if negated else "", made.english_infinitive().removeprefix("to "))
        german = join(made.verb.imperative, *made.middle(), made.verb.prefix)
        return (f"please {english}!", f"bitte {german}!") if polite else (f"{english}!", f"{german}!")

    return make


TEMPLATES["command/plain"] = command(False)
TEMPLATES["command/please"] = command(True)
TEMPLATES["command/not"] = command(False, True)
TEMPLATES["command/please-not"] = command(True, True)


def passive(tense):
    def make(draw):
        verb = draw.choice([verb for verb in VERBS if verb.frame == "acc" and verb.base not in ("know", "meet", "need")])
        patient = some(draw, draw.choice([c for c in verb.objects.split() if c != "place"]), 0.4, 0.3, "the the the my our this")
        agent = some(draw, "person", 0.2, 0.2, "the the my our") if draw.random() < 0.6 else named(draw)
        who = agree(patient)
        by = join(contracted("von", agent.german["dat"]))
        participle = join(verb.participle, verb.base.partition(" ")[2])
        if tense == "past":
            time = numbers.when(draw, "perfect", False) if draw.random() < 0.4 else ("", "")
            return (join(patient.subject, be(patient, "past"), participle, "by", agent.object, time[0]),
                    join(patient.german["nom"], WURDE[who], time[1], by, verb.partizip))
        if tense == "present":
            return (join(patient.subject, be(patient), "being", participle, "by", agent.object),
                    join(patient.german["nom"], WERDEN[who], by, verb.partizip))
        english, german = draw.choice([("must", "muss müssen"), ("can", "kann können"), ("should", "sollte sollten")])
        return (join(patient.subject, english, "be", participle, "by", agent.object),
                join(patient.german["nom"], german.split()[patient.plural], by, verb.partizip, "werden"))

    return make


for tense in ("present", "past", "modal"):
    TEMPLATES[f"passive/{tense}"] = passive(tense)


def comparison(kind):
    def make(draw):
        category = draw.choice(["person", "thing", "device", "animal", "text"])
        one = some(draw, category, 0.2, 0.2, "the the my our this")
        other = some(draw, category, 0.2, 0.2, "the your his their")
        adjective = predicate(draw, category)
        finite, ist = be(one), SEIN[agree(one)]
        past = draw.random() < 0.25
        if past:
            finite, ist = be(one, "past"), WAR[agree(one)]
        if kind == "than":
            return (f"{one.subject} {finite} {adjective.comparative} than {other.subject}",
                    f"{one.german['nom']} {ist} {adjective.vergleich} als {other.german['nom']}")
        no = kind == "not-as"
        return (f"{one.subject} {finite} {'not ' * no}as {adjective.english} as {other.subject}",
                f"{one.german['nom']} {ist} {'nicht ' * no}so {adjective.german} wie {other.german['nom']}")

    return make


for kind in ("than", "as", "not-as"):
    TEMPLATES[f"comparison/{kind}"] = comparison(kind)
