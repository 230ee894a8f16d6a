"""Kinds of sentences about numbers, belonging, and what a pronoun stands for."""

from dataclasses import replace

from . import numbers
from .clauses import HABEN, SEIN, WURDE, agree, be, clause, third
from .lexicon import CATEGORIES, CITIES
from .phrases import PRONOUNS, THING_PRONOUNS, described, named, noun_phrase, place, predicate, some, someone
from .templates import TEMPLATES, by_base, simple, template


def thing(draw, determiners="the the the my your this our", plurals=0.2):
    return some(draw, "thing text device", 0.5, plurals, determiners)


def he_or(phrase):
    """The pronoun for a thing: it is er, sie or es."""
    return PRONOUNS["they"] if phrase.plural else THING_PRONOUNS[phrase.gender]


@template("number/cost")
def cost(draw):
    what, (english, german) = thing(draw), numbers.price(draw)
    verb = ("cost", "kosten") if what.plural else ("costs", "kostet")
    return f"{what.subject} {verb[0]} {english}", f"{what.german['nom']} {verb[1]} {german}"


@template("number/how-much")
def how_much(draw):
    what = thing(draw)
    do, kosten = ("do", "kosten") if what.plural else ("does", "kostet")
    return f"how much {do} {what.subject} cost?", f"wie viel {kosten} {what.german['nom']}?"


@template("number/pay")
def pay(draw):
    who, what, (english, german) = someone(draw), thing(draw), numbers.price(draw)
    if draw.random() < 0.5:
        return (f"{who.subject} paid {english} for {what.object}",
                f"{who.german['nom']} {HABEN[agree(who)]} {german} für {what.german['acc']} bezahlt")
    time = numbers.when(draw, "perfect", False)
    return (f"{time[0]} {who.subject} paid {english} for {what.object}",
            f"{time[1]} {HABEN[agree(who)]} {who.german['nom']} {german} für {what.german['acc']} bezahlt")


@template("number/buy-for")
def buy_for(draw):
    price = numbers.price(draw)
    made = replace(clause(draw, someone(draw), draw.choice(["perfect", "future", "can", "want"]), "acc", where=0),
                   verb=by_base(draw.choice(["buy", "sell"])), direct=thing(draw, "the the a my this"))
    bought = replace(made, where=(f"for {price[0]}", f"für {price[1]}"))
    return bought.english(), bought.german()


@template("number/clock")
def clock(draw):
    english, german = draw.choice([numbers.spoken_clock, numbers.digital_clock])(draw)
    return f"it is {english}", f"es ist {german}"


@template("number/clock-already")
def clock_already(draw):
    english, german = numbers.spoken_clock(draw)
    return f"it is already {english}", f"es ist schon {german}"


def travel(question):
    def make(draw):
        vehicle, gender = draw.choice([("train", "der Zug"), ("bus", "der Bus"), ("plane", "das Flugzeug"), ("ship", "das Schiff")])
        city, stadt = draw.choice(list(CITIES.items()))
        leaving = draw.random() < 0.5
        english = f"the {vehicle} {'to' if leaving else 'from'} {city}"
        german = f"{gender} {'nach' if leaving else 'aus'} {stadt}"
        finite, prefix = ("fliegt" if vehicle == "plane" else "fährt", "ab") if leaving else ("kommt", "an")
        verb = "leave" if leaving else "arrive"
        hour = numbers.clock(draw)
        if question == "when":
            return f"when does {english} {verb}?", f"wann {finite} {german} {prefix}?"
        if question == "does":
            return f"does {english} {verb} {hour[0]}?", f"{finite} {german} {hour[1]} {prefix}?"
        platform = draw.randint(1, 24)
        if vehicle == "train" and draw.random() < 0.5:
            where = (f" {'from' if leaving else 'on'} platform {platform}", f" {'von' if leaving else 'auf'} Gleis {platform}")
        else:
            where = ("", "")
        if question == "because":
            who = someone(draw, "I you he she we they")
            muss = {(1, False): "muss", (2, False): "musst", (3, False): "muss"}.get(agree(who), "müssen")
            return (f"{who.subject} {'has' if third(who) else 'have'} to go now because {english} {verb}s {hour[0]}{where[0]}",
                    f"{who.german['nom']} {muss} jetzt gehen, weil {german} {hour[1]}{where[1]} {prefix}{finite}")
        return f"{english} {verb}s {hour[0]}{where[0]}", f"{german} {finite} {hour[1]}{where[1]} {prefix}"

    return make


TEMPLATES["number/train"] = travel("")
TEMPLATES["number/train-when"] = travel("when")
TEMPLATES["number/train-does"] = travel("does")
TEMPLATES["number/train-because"] = travel("because")


@template("number/born")
def born(draw):
    who, (english, german) = someone(draw), numbers.date(draw, years=0.8)
    return f"{who.subject} {be(who, 'past')} born {english}", f"{who.german['nom']} {WURDE[agree(who)]} {german} geboren"


@template("number/age")
def age(draw):
    who, n = someone(draw), draw.randint(2, 99)
    return (f"{who.subject} {be(who)} {numbers.cardinal(n)} years old",
            f"{who.german['nom']} {SEIN[agree(who)]} {numbers.zahl(n)} Jahre alt")


@template("number/since")
def since(draw):
    """Has lived here for three years, German in the present."""
    who = someone(draw)
    verb, frame = draw.choice([("work", "place"), ("live", "place"), ("wait", "prep"), ("sleep", "place")])
    made = replace(clause(draw, who, "present", frame, where=0), verb=by_base(verb), time=None)
    if verb == "wait":
        made = replace(made, direct=named(draw))
    if draw.random() < 0.5:
        english, _, dative = numbers.span(draw)
        time = (f"for {english}", f"seit {dative}")
    else:
        year = draw.randint(1960, 2024)
        time = (f"since {year}", f"seit {year}")
    made = replace(made, time=time)
    started = made.english_verb("participle")
    where = made.where[0] + " " if made.where else ""
    return f"{who.subject} {'has' if third(who) else 'have'} {started} {where}{time[0]}", made.german()


@template("number/count")
def count(draw):
    noun = draw.choice(CATEGORIES[draw.choice(["thing", "text", "device", "animal", "person"])])
    many = noun_phrase(noun, "", None, True, numbers.count(draw))
    english, german = place(draw, False)
    return f"there are {many.subject} {english}", f"{german} gibt es {many.german['acc']}"


@template("number/how-many")
def how_many(draw):
    noun = draw.choice(CATEGORIES[draw.choice(["thing", "text", "food", "animal"])])
    made = replace(clause(draw, someone(draw), draw.choice(["perfect", "future", "can", "want"]), "acc", where=0),
                   verb=by_base(draw.choice(["buy", "sell", "find"])), asked="direct", direct=noun_phrase(noun, "", None, True))
    return f"how many {noun.plural} {made.english_question()}?", f"wie viele {noun.germans} {made.german('')}?"


@template("number/objects")
def objects(draw):
    category = draw.choice(["thing", "text", "food", "device"])
    noun = draw.choice(CATEGORIES[category])
    many = noun_phrase(noun, "", described(draw, category, 0.6), True, numbers.count(draw, 99))
    verbs = {"food": ["eat", "buy"], "text": ["read", "write", "buy"]}.get(category, ["buy", "sell", "need"])
    tense = draw.choice(["perfect", "future"])
    made = replace(simple(draw, tense, frames="acc", where=0), verb=by_base(draw.choice(verbs)), direct=many)
    return made.english(), made.german()


@template("number/open")
def open_(draw):
    what, was = draw.choice([("museum", "das Museum"), ("shop", "das Geschäft"), ("library", "die Bibliothek"), ("market", "der Markt")])
    start, end = draw.randint(6, 11), draw.randint(2, 9)
    english, german = f"from {numbers.ONES[start]} to {numbers.ONES[end]} o'clock", f"von {numbers.EINS[start]} bis {numbers.EINS[end]} Uhr"
    day = numbers.weekday(draw)
    if draw.random() < 0.5:
        return f"{day[0]} the {what} is open {english}", f"{day[1]} ist {was} {german} geöffnet"
    return f"the {what} is open {english}", f"{was} ist {german} geöffnet"


@template("number/distance")
def distance(draw):
    whole, part = draw.randint(2, 99), draw.randint(1, 9)
    english, german = draw.choice([(f"{whole}.{part}", f"{whole},{part}"), (str(whole * 10), str(whole * 10)), numbers.count(draw)])
    one, other = draw.sample(list(CITIES.items()), 2)
    noun = noun_phrase(draw.choice(CATEGORIES["place"]), draw.choice(["the", "our", "this"]))
    return (f"{noun.subject} is {english} kilometers from {one[0]}",
            f"{noun.german['nom']} ist {german} Kilometer von {one[1]} entfernt")


@template("number/takes")
def takes(draw):
    (city, stadt), (other, andere) = draw.sample(list(CITIES.items()), 2)
    english, german, _ = numbers.span(draw, draw.choice([("hours", "Stunden", ""), ("minutes", "Minuten", ""), ("days", "Tage", "")]))
    return f"the trip from {city} to {other} takes {english}", f"die Reise von {stadt} nach {andere} dauert {german}"


@template("number/percent")
def percent(draw):
    whole, part = draw.randint(2, 60), draw.randint(1, 9)
    year = draw.randint(1990, 2024)
    up, gestiegen = draw.choice([("rose", "gestiegen"), ("fell", "gefallen")])
    what, was = draw.choice([("the price", "der Preis"), ("the rent", "die Miete"), ("the temperature", "die Temperatur")])
    return f"in {year} {what} {up} by {whole}.{part} percent", f"im Jahr {year} ist {was} um {whole},{part} Prozent {gestiegen}"


@template("belonging/of")
def belonging(draw):
    owner = some(draw, "person", 0.4, 0.2, "the the my our his her")
    what = thing(draw, "the")
    about = predicate(draw, "thing")
    return (f"{what.subject} of {owner.object} {be(what)} {about.english}",
            f"{what.german['nom']} {owner.german['gen']} {SEIN[agree(what)]} {about.german}")


@template("belonging/object")
def belonging_object(draw):
    owner = some(draw, "person", 0.4, 0.15, "the the my our his her")
    what = some(draw, "thing text", 0.3, 0.2, "the")
    made = replace(simple(draw, draw.choice(["perfect", "future", "modal"]), frames="acc", where=0, timed=0.3),
                   verb=by_base(draw.choice(["find", "look for", "see", "forget"])), direct=what)
    both = replace(what, object=f"{what.object} of {owner.object}", german={**what.german, "acc": f"{what.german['acc']} {owner.german['gen']}"})
    made = replace(made, direct=both)
    return made.english(), made.german()


@template("belonging/name")
def belonging_name(draw):
    owner = named(draw)
    while "gen" not in owner.german:
        owner = named(draw)
    category = draw.choice(["thing", "device", "text", "person"])
    noun = draw.choice(CATEGORIES[category])
    plural = draw.random() < 0.2
    what = noun_phrase(noun, "", described(draw, category, 0.4), plural)
    about = predicate(draw, category)
    return (f"{owner.subject}'s {what.subject} {be(what)} {about.english}",
            f"{owner.german['gen']} {what.german['nom']} {SEIN[agree(what)]} {about.german}")


def coreference(conjunction, german_conjunction):
    def make(draw):
        what = thing(draw, "the the a my this", plurals=0.15)
        who = someone(draw)
        first = replace(simple(draw, "perfect", who, frames="acc", where=0, timed=0.3),
                        verb=by_base(draw.choice(["buy", "find", "sell", "clean", "carry"])), direct=what)
        about, it = predicate(draw, "thing"), he_or(what)
        late = draw.random() < 0.5
        finite, ist = (be(it, "past"), {False: "war", True: "waren"}[it.plural]) if late else (be(it), SEIN[agree(it)])
        if conjunction == "because":
            return (f"{first.english()} because {it.subject} {finite} {about.english}",
                    f"{first.german()}, weil {it.german['nom']} {about.german} {ist}")
        return (f"{first.english()}, {conjunction} {it.subject} {finite} too {about.english}",
                f"{first.german()}, {german_conjunction} {it.german['nom']} {ist} zu {about.german}")

    return make


TEMPLATES["it/because"] = coreference("because", "weil")
TEMPLATES["it/but"] = coreference("but", "aber")


@template("it/object")
def it_object(draw):
    what = thing(draw, "the the a my", plurals=0.2)
    who = someone(draw)
    first = replace(simple(draw, "perfect", who, frames="acc", where=0, timed=0.2), verb=by_base(draw.choice(["buy", "find"])), direct=what)
    again = who if who.pronoun else who.he
    second = replace(simple(draw, "perfect", again, frames="acc", where=0, timed=0),
                     verb=by_base(draw.choice(["sell", "clean", "forget", "carry"])), direct=he_or(what))
    _, *rest = second.english().split(" ")
    return f"{first.english()} and then {again.subject} {' '.join(rest)}", f"{first.german()}, und dann {second.german('')}"


@template("it/where")
def it_where(draw):
    what = thing(draw, "the my your our this")
    it, (english, german) = he_or(what), place(draw, False)
    again = "they are" if it.plural else "it is"
    liegen = "sind" if it.plural else "ist"
    return (f"where {be(what)} {what.subject}? {again} {english}",
            f"wo {SEIN[agree(what)]} {what.german['nom']}? {it.german['nom']} {liegen} {german}")


@template("described/is")
def is_(draw):
    category = draw.choice("thing text device animal person opening".split())
    what = some(draw, category, 0.3, 0.3, "the the my your his her our their this")
    about = predicate(draw, category)
    very = draw.choice([("", ""), ("very ", "sehr "), ("too ", "zu "), ("not ", "nicht "), ("always ", "immer ")])
    return (f"{what.subject} {be(what)} {very[0]}{about.english}",
            f"{what.german['nom']} {SEIN[agree(what)]} {very[1]}{about.german}")


@template("described/there-is")
def there_is(draw):
    what = some(draw, "thing animal food device", 0.7, 0.3, "a")
    english, german = place(draw, False)
    if draw.random() < 0.5:
        return f"there {be(what)} {what.subject} {english}", f"{german} gibt es {what.german['acc']}"
    return f"{english} there {be(what)} {what.subject}", f"{german} gibt es {what.german['acc']}"


@template("described/have")
def have(draw):
    who = someone(draw)
    what = some(draw, "thing animal device text", 0.7, 0.3, "a a no")
    if what.no:
        do = "does" if third(who) else "do"
        return f"{who.subject} {do} not have {what.object}", f"{who.german['nom']} {HABEN[agree(who)]} {what.german['acc']}"
    return f"{who.subject} {'has' if third(who) else 'have'} {what.object}", f"{who.german['nom']} {HABEN[agree(who)]} {what.german['acc']}"
