"""Kinds of problems. A template draws numbers and yields a question, the steps of its answer, and the result.

Every step computes one number and says what it is; each number of a step is in the question or came out of an earlier step.
"""

from dataclasses import dataclass

TEMPLATES = {}
FRUITS = "apples pears plums lemons oranges cherries".split()
TOYS = "marbles stickers cards coins shells beads".split()
BAKED = "muffins cookies rolls pies".split()
GOODS = "pens notebooks mugs candles brushes".split()
PRIZES = "a bag,a lamp,a kite,a ball,a game,a hat".split(",")
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday".split()


@dataclass(frozen=True)
class Person:
    name: str
    he: str

    @property
    def He(self):
        return self.he.capitalize()


@dataclass(frozen=True)
class Problem:
    question: str
    steps: list
    result: int
    numbers: tuple  # those of the question


def template(make):
    TEMPLATES[make.__name__.replace("_", "-")] = make
    return make


def times(a, b):
    return f"{a} * {b} = {a * b}"


def plus(*numbers):
    return f"{' + '.join(map(str, numbers))} = {sum(numbers)}"


def minus(a, b):
    return f"{a} - {b} = {a - b}"


def over(a, b):
    return f"{a} / {b} = {a // b}"


@template
def boxes(draw, one, other):
    n, each, thing = draw.randint(2, 9), draw.randint(2, 9), draw.choice(FRUITS)
    gone = draw.randint(1, n * each - 1)
    gives = draw.choice([f"{one.He} gives {gone} of them to {other.name}", f"{other.name} eats {gone} of them"])
    return Problem(
        f"{one.name} has {n} boxes with {each} {thing} in each. {gives}. How many {thing} does {one.name} have left?",
        [f"{one.name} has {times(n, each)} {thing}.", f"{one.He} has {minus(n * each, gone)} {thing} left."],
        n * each - gone, (n, each, gone),
    )  # fmt: skip


@template
def savings(draw, one, other):
    weeks, each = draw.randint(3, 9), draw.randint(3, 9)
    cost, prize = draw.randint(2, weeks * each - 1), draw.choice(PRIZES)
    return Problem(
        f"{one.name} saves {each} dollars every week. After {weeks} weeks {one.he} buys {prize} for {cost} dollars. "
        f"How much money does {one.he} have then?",
        [f"{one.name} saves {times(weeks, each)} dollars.", f"{one.He} has {minus(weeks * each, cost)} dollars then."],
        weeks * each - cost, (weeks, each, cost),
    )  # fmt: skip


@template
def pages(draw, one, other):
    first, day = draw.randint(4, 20), draw.randrange(5)
    book = draw.randint(first * 3 + 1, first * 3 + 30)
    return Problem(
        f"{one.name} reads a book of {book} pages. On {DAYS[day]} {one.he} reads {first} pages, and on {DAYS[day + 1]} twice as many. "
        "How many pages are left?",
        [f"On {DAYS[day + 1]} {one.name} reads {times(2, first)} pages.", f"{one.He} has read {plus(first, 2 * first)} pages.",
         f"There are {minus(book, 3 * first)} pages left."],
        book - 3 * first, (first, book),
    )  # fmt: skip


@template
def change(draw, one, other):
    n, each, good = draw.randint(2, 6), draw.randint(2, 8), draw.choice(GOODS)
    more, prize = draw.randint(2, 20), draw.choice(PRIZES)
    paid = draw.randint(n * each + more + 1, n * each + more + 20)
    return Problem(
        f"{one.name} buys {n} {good} for {each} dollars each and {prize} for {more} dollars. {one.He} pays with {paid} dollars. "
        f"How much change does {one.he} get?",
        [f"The {good} cost {times(n, each)} dollars.", f"Together it is {plus(n * each, more)} dollars.",
         f"{one.name} gets {minus(paid, n * each + more)} dollars back."],
        paid - n * each - more, (n, each, more, paid),
    )  # fmt: skip


@template
def older(draw, one, other):
    age, years = draw.randint(4, 30), draw.randint(2, 15)
    return Problem(
        f"{one.name} is {age} years old. {other.name} is {years} years older than {one.name}. How old are they together?",
        [f"{other.name} is {plus(age, years)} years old.", f"Together they are {plus(age, age + years)} years old."],
        2 * age + years, (age, years),
    )  # fmt: skip


@template
def bus(draw, one, other):
    start, off, on = draw.randint(10, 50), draw.randint(2, 9), draw.randint(2, 15)
    more = draw.randint(2, min(9, start - off + on - 1))
    return Problem(
        f"There are {start} people on the bus of {one.name}. At the first stop {off} get off and {on} get on. "
        f"At the second stop {more} get off. How many people are on the bus now?",
        [f"Without those who get off there are {minus(start, off)} people.", f"With the new ones there are {plus(start - off, on)} people.",
         f"After the second stop there are {minus(start - off + on, more)} people."],
        start - off + on - more, (start, off, on, more),
    )  # fmt: skip


@template
def bags(draw, one, other):
    size, many, thing = draw.randint(2, 6), draw.randint(2, 8), draw.choice(BAKED)
    trays, each = draw.choice([(t, e) for t in range(2, 10) for e in range(4, 10) if t * e > size * many])
    sold = trays * each - size * many
    return Problem(
        f"{one.name} bakes {trays} trays of {each} {thing}. {one.He} sells {sold} of them and packs the rest in bags of {size}. "
        "How many bags does it make?",
        [f"{one.name} bakes {times(trays, each)} {thing}.", f"{minus(trays * each, sold)} {thing} are left.",
         f"It makes {over(size * many, size)} bags."],
        many, (trays, each, sold, size),
    )  # fmt: skip


@template
def garden(draw, one, other):
    rows, each = draw.randint(3, 9), draw.randint(3, 9)
    dead, more = draw.randint(1, 12), draw.randint(2, 20)
    dead = min(dead, rows * each - 1)
    return Problem(
        f"{one.name} plants {rows} rows of {each} tulips. {dead} of them die, and {one.he} plants {more} new ones. "
        "How many tulips are there now?",
        [f"{one.name} plants {times(rows, each)} tulips.", f"{minus(rows * each, dead)} tulips live.",
         f"Now there are {plus(rows * each - dead, more)} tulips."],
        rows * each - dead + more, (rows, each, dead, more),
    )  # fmt: skip


@template
def running(draw, one, other):
    early, late, days = draw.randint(1, 7), draw.randint(1, 5), draw.randint(2, 9)
    return Problem(
        f"{one.name} runs {early} miles every morning and {late} miles every evening. How many miles does {one.he} run in {days} days?",
        [f"In a day {one.name} runs {plus(early, late)} miles.", f"In {days} days {one.he} runs {times(days, early + late)} miles."],
        days * (early + late), (early, late, days),
    )  # fmt: skip


@template
def sharing(draw, one, other):
    people, each, thing = draw.randint(2, 8), draw.randint(3, 9), draw.choice(FRUITS)
    eaten = draw.randint(1, each - 1)
    return Problem(
        f"{people} friends share {people * each} {thing} equally. {one.name}, who is one of them, eats {eaten}. "
        f"How many {thing} does {one.name} have left?",
        [f"Each friend gets {over(people * each, people)} {thing}.", f"{one.name} has {minus(each, eaten)} {thing} left."],
        each - eaten, (people, people * each, eaten),
    )  # fmt: skip


@template
def more_than(draw, one, other):
    first, more, thing = draw.randint(5, 40), draw.randint(2, 25), draw.choice(TOYS)
    return Problem(
        f"{one.name} has {first} {thing}. {other.name} has {more} more than {one.name}. How many {thing} do they have together?",
        [f"{other.name} has {plus(first, more)} {thing}.", f"Together they have {plus(first, first + more)} {thing}."],
        2 * first + more, (first, more),
    )  # fmt: skip


@template
def fewer_than(draw, one, other):
    first, thing = draw.randint(10, 45), draw.choice(TOYS)
    fewer = draw.randint(2, first - 2)
    return Problem(
        f"{one.name} has {first} {thing}, and {other.name} has {fewer} fewer. How many {thing} do the two have?",
        [f"{other.name} has {minus(first, fewer)} {thing}.", f"Together they have {plus(first, first - fewer)} {thing}."],
        2 * first - fewer, (first, fewer),
    )  # fmt: skip


@template
def twice(draw, one, other):
    first, thing = draw.randint(3, 40), draw.choice(TOYS)
    gone = draw.randint(1, 2 * first - 1)
    return Problem(
        f"{one.name} has {first} {thing}. {other.name} has twice as many, but loses {gone} of them. "
        f"How many {thing} does {other.name} have now?",
        [f"{other.name} has {times(2, first)} {thing}.", f"Now {other.he} has {minus(2 * first, gone)} {thing}."],
        2 * first - gone, (first, gone),
    )  # fmt: skip


@template
def wages(draw, one, other):
    hours, pay, prize = draw.randint(2, 9), draw.randint(5, 12), draw.choice(PRIZES)
    first, cost = draw.randint(2, 30), draw.randint(2, hours * pay - 1)
    return Problem(
        f"{one.name} has {first} dollars. {one.He} works {hours} hours for {pay} dollars an hour and buys {prize} for {cost} dollars. "
        f"How many dollars does {one.he} have now?",
        [f"{one.name} earns {times(hours, pay)} dollars.", f"With the money {one.he} had it is {plus(first, hours * pay)} dollars.",
         f"Now {one.he} has {minus(first + hours * pay, cost)} dollars."],
        first + hours * pay - cost, (first, hours, pay, cost),
    )  # fmt: skip


@template
def legs(draw, one, other):
    animals = draw.choice("cows sheep goats horses".split())
    four, two = draw.randint(2, 12), draw.randint(2, 20)
    birds = draw.choice("hens ducks geese".split())
    return Problem(
        f"On the farm of {one.name} there are {four} {animals} and {two} {birds}. How many legs do the animals have?",
        [f"The {animals} have {times(four, 4)} legs.", f"The {birds} have {times(two, 2)} legs.",
         f"Together they have {plus(four * 4, two * 2)} legs."],
        four * 4 + two * 2, (four, two),
    )  # fmt: skip


@template
def tables(draw, one, other):
    n, seats = draw.randint(3, 9), draw.randint(2, 8)
    ill = draw.randint(1, min(9, n * seats - 1))
    return Problem(
        f"In the class of {one.name} {seats} children sit at each of {n} tables. Today {ill} of them are ill. How many children are there?",
        [f"The class has {times(n, seats)} children.", f"Today there are {minus(n * seats, ill)} children."],
        n * seats - ill, (n, seats, ill),
    )  # fmt: skip


@template
def three_days(draw, one, other):
    day, thing = draw.randrange(4), draw.choice(["bottles", "stamps", "shells", "nuts"])
    first, more, last = draw.randint(3, 25), draw.randint(2, 12), draw.randint(2, 20)
    return Problem(
        f"{one.name} collects {first} {thing} on {DAYS[day]}, {more} more than that on {DAYS[day + 1]}, and {last} on {DAYS[day + 2]}. "
        f"How many {thing} does {one.he} collect?",
        [f"On {DAYS[day + 1]} {one.name} collects {plus(first, more)} {thing}.",
         f"On both days it is {plus(first, first + more)} {thing}.", f"With {DAYS[day + 2]} it is {plus(2 * first + more, last)} {thing}."],
        2 * first + more + last, (first, more, last),
    )  # fmt: skip


@template
def tickets(draw, one, other):
    adults, children = draw.randint(2, 6), draw.randint(2, 8)
    dear, cheap = draw.randint(5, 12), draw.randint(2, 6)
    return Problem(
        f"A ticket costs {dear} dollars for adults and {cheap} dollars for children. {one.name} buys tickets for {adults} adults and "
        f"{children} children. How much does {one.he} pay?",
        [f"The adults cost {times(adults, dear)} dollars.", f"The children cost {times(children, cheap)} dollars.",
         f"{one.name} pays {plus(adults * dear, children * cheap)} dollars."],
        adults * dear + children * cheap, (dear, cheap, adults, children),
    )  # fmt: skip


@template
def half(draw, one, other):
    part, thing = draw.randint(3, 40), draw.choice(TOYS)
    more = draw.randint(2, 25)
    return Problem(
        f"{one.name} has {2 * part} {thing}. {one.He} gives half of them to {other.name} and finds {more} more. "
        f"How many {thing} does {one.name} have now?",
        [f"{one.name} gives away {over(2 * part, 2)} {thing}.", f"{one.He} has {minus(2 * part, part)} {thing} left.",
         f"Now {one.he} has {plus(part, more)} {thing}."],
        part + more, (2 * part, more),
    )  # fmt: skip


@template
def as_many_as_both(draw, one, other):
    first, thing = draw.randint(6, 24), draw.choice(FRUITS)
    fewer = draw.randint(1, first - 2)
    both = 2 * first - fewer
    return Problem(
        f"{one.name} picks {first} {thing}. {other.name} picks {fewer} fewer. Their mother picks as many as both together. "
        f"How many {thing} do they pick?",
        [f"{other.name} picks {minus(first, fewer)} {thing}.", f"Their mother picks {plus(first, first - fewer)} {thing}.",
         f"All of them pick {plus(both, both)} {thing}."],
        2 * both, (first, fewer),
    )  # fmt: skip


@template
def dogs(draw, one, other):
    animals = draw.choice(["dogs", "cats", "rabbits"])
    n, cups, days = draw.randint(2, 5), draw.randint(1, 4), draw.randint(2, 6)
    used = n * cups * days
    bag = draw.randint(used + 1, used + 30)
    return Problem(
        f"{one.name} has {n} {animals}. Each eats {cups} cups of food a day. {one.He} has a bag of {bag} cups. "
        f"How many cups are left after {days} days?",
        [f"In a day the {animals} eat {times(n, cups)} cups.", f"In {days} days they eat {times(n * cups, days)} cups.",
         f"There are {minus(bag, used)} cups left."],
        bag - used, (n, cups, bag, days),
    )  # fmt: skip


@template
def days_to_go(draw, one, other):
    per_day, days, later, rest = draw.randint(3, 9), draw.randint(2, 6), draw.randint(2, 9), draw.randint(2, 8)
    total = per_day * days + later * rest
    return Problem(
        f"{one.name} has {total} letters to write. {one.He} writes {per_day} a day for {days} days, and then {later} a day. "
        f"How many more days does {one.he} need?",
        [f"{one.name} has written {times(per_day, days)} letters.", f"{minus(total, per_day * days)} letters are left.",
         f"{one.He} needs {over(later * rest, later)} more days."],
        rest, (total, per_day, days, later),
    )  # fmt: skip


# Held out: training shows nothing that is worded like these, and every kind of step that they take.


@template
def theater(draw, one, other):
    rows, seats = draw.randint(3, 9), draw.randint(3, 9)
    empty = draw.randint(1, rows * seats - 1)
    return Problem(
        f"{one.name} sings in a hall with {rows} rows of {seats} chairs. {empty} chairs are empty. How many people hear {one.name}?",
        [f"The hall has {times(rows, seats)} chairs.", f"{minus(rows * seats, empty)} people hear {one.name}."],
        rows * seats - empty, (rows, seats, empty),
    )  # fmt: skip


@template
def two_jobs(draw, one, other):
    hours, pay, more, less = draw.randint(2, 6), draw.randint(5, 12), draw.randint(2, 8), draw.randint(2, 6)
    return Problem(
        f"{one.name} works {hours} hours for {pay} dollars an hour on Monday and {more} hours for {less} dollars an hour on Tuesday. "
        f"How much does {one.he} earn?",
        [f"On Monday {one.name} earns {times(hours, pay)} dollars.", f"On Tuesday {one.he} earns {times(more, less)} dollars.",
         f"Together it is {plus(hours * pay, more * less)} dollars."],
        hours * pay + more * less, (hours, pay, more, less),
    )  # fmt: skip


@template
def gift(draw, one, other):
    first, given, thing = draw.randint(5, 40), draw.randint(2, 25), draw.choice(TOYS)
    gone = draw.randint(1, first + given - 1)
    return Problem(
        f"{one.name} has {first} {thing} and gets {given} more from {other.name}. Then {one.he} loses {gone}. "
        f"How many {thing} does {one.he} have left?",
        [f"{one.name} has {plus(first, given)} {thing}.", f"{one.He} has {minus(first + given, gone)} {thing} left."],
        first + given - gone, (first, given, gone),
    )  # fmt: skip


@template
def boxes_shared(draw, one, other):
    people, each, thing = draw.randint(2, 8), draw.randint(2, 9), draw.choice(BAKED)
    trays = draw.choice([n for n in range(1, people * each + 1) if people * each % n == 0 and n < 10])
    size = people * each // trays
    return Problem(
        f"{one.name} bakes {trays} trays of {size} {thing} and shares them equally with {people} friends, who get all of them. "
        f"How many {thing} does each friend get?",
        [f"{one.name} bakes {times(trays, size)} {thing}.", f"Each friend gets {over(people * each, people)} {thing}."],
        each, (trays, size, people),
    )  # fmt: skip


@template
def younger(draw, one, other):
    age = draw.randint(10, 40)
    years = draw.randint(2, age - 3)
    return Problem(
        f"{one.name} is {age} years old, and {other.name} is {years} years younger. How old are the two together?",
        [f"{other.name} is {minus(age, years)} years old.", f"Together they are {plus(age, age - years)} years old."],
        2 * age - years, (age, years),
    )  # fmt: skip
