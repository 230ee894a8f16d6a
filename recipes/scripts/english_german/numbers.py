"""Numbers, times, dates and prices: pairs of English and German."""

from .lexicon import MONTHS, WEEKDAYS

ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen""".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
EINS = """null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn
achtzehn neunzehn""".split()
ZEHNER = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
ORDNUNG = "erste zweite dritte vierte fünfte sechste siebte achte neunte zehnte elfte zwölfte".split()


def cardinal(n):
    """The English words of 0 <= n < 10 000."""
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")
    unit, name, joint = (1000, "thousand", " ") if n >= 1000 else (100, "hundred", " and ")
    rest = n % unit
    joint = " and " if rest < 100 else joint
    return f"{cardinal(n // unit)} {name}" + (f"{joint}{cardinal(rest)}" if rest else "")


def zahl(n):
    """The German word of 0 <= n < 10 000, as one counts: eins."""
    if n < 20:
        return EINS[n]
    if n < 100:
        return (f"{vor(n % 10)}und" if n % 10 else "") + ZEHNER[n // 10 - 2]
    unit, name = (1000, "tausend") if n >= 1000 else (100, "hundert")
    return f"{vor(n // unit)}{name}" + (zahl(n % unit) if n % unit else "")


def vor(n):
    """The German number inside a longer one: ein."""
    return "ein" if n == 1 else zahl(n)


def ordinal(n):
    """English and German (in the dative) of a day 1 <= n <= 31."""
    if n <= 12:
        return ORDINALS[n - 1], ORDNUNG[n - 1] + "n"
    if n < 20:
        return f"{ONES[n]}th", f"{EINS[n]}ten"
    tens = TENS[n // 10 - 2]
    english = f"{tens}-{ORDINALS[n % 10 - 1]}" if n % 10 else f"{tens[:-1]}ieth"
    return english, f"{zahl(n)}sten"


def days_of(month):
    return 28 if month == "February" else 30 if month in ("April", "June", "September", "November") else 31


def date(draw, years=0.0):
    """on May 3 / am 3. Mai, on the third of May / am dritten Mai"""
    month = draw.choice(list(MONTHS))
    day = draw.randint(1, days_of(month))
    if draw.random() < years:
        year = draw.randint(1930, 2024)
        return f"on {month} {day}, {year}", f"am {day}. {MONTHS[month]} {year}"
    if draw.random() < 0.5:
        return f"on {month} {day}", f"am {day}. {MONTHS[month]}"
    english, german = ordinal(day)
    return f"on the {english} of {month}", f"am {german} {MONTHS[month]}"


def weekday(draw):
    day = draw.choice(list(WEEKDAYS))
    return f"on {day}", f"am {WEEKDAYS[day]}"


def spoken_clock(draw):
    """half past six / halb sieben"""
    hour = draw.randint(1, 11)
    next_ = hour + 1
    minutes, minuten = draw.choice([("five", "fünf"), ("ten", "zehn"), ("twenty", "zwanzig")])
    return draw.choice([
        (f"half past {ONES[hour]}", f"halb {EINS[next_]}"),
        (f"quarter past {ONES[hour]}", f"Viertel nach {EINS[hour]}"),
        (f"quarter to {ONES[next_]}", f"Viertel vor {EINS[next_]}"),
        (f"{minutes} past {ONES[hour]}", f"{minuten} nach {EINS[hour]}"),
        (f"{minutes} to {ONES[next_]}", f"{minuten} vor {EINS[next_]}"),
        (f"{ONES[hour]} o'clock", f"{vor(hour)} Uhr"),
    ])


def digital_clock(draw):
    """7:45 p.m. / 19:45 Uhr"""
    hour, minute = draw.randint(1, 11), draw.choice([0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55])
    late = draw.random() < 0.6
    return f"{hour}:{minute:02} {'p' if late else 'a'}.m.", f"{hour + 12 * late}:{minute:02} Uhr"


def clock(draw):
    english, german = draw.choice([spoken_clock, spoken_clock, digital_clock])(draw)
    return f"at {english}", f"um {german}"


def not_one(draw, most):
    """A number from 2 on; not 101, whose last one German inflects before a noun."""
    return draw.choice([n for n in range(2, most + 1) if n % 100 != 1])


def price(draw):
    """12.50 euros / 12,50 Euro, forty-two euros / zweiundvierzig Euro, 1,250 euros / 1.250 Euro"""
    kind = draw.randrange(4)
    if kind == 0:
        euros, cents = draw.randint(2, 99), draw.randint(5, 99)
        return f"{euros}.{cents:02} euros", f"{euros},{cents:02} Euro"
    if kind == 1:
        thousands, rest = draw.randint(1, 9), draw.randint(0, 99) * 10
        return f"{thousands},{rest:03} euros", f"{thousands}.{rest:03} Euro"
    euros = not_one(draw, 999 if kind == 2 else 99)
    cents = draw.randint(2, 99)
    more = (f" and {cardinal(cents)} cents", f" und {zahl(cents)} Cent") if kind == 3 and draw.random() < 0.5 else ("", "")
    return f"{cardinal(euros)} euros{more[0]}", f"{zahl(euros)} Euro{more[1]}"


def count(draw, most=999):
    """A number of things from 2 on, in words or digits."""
    n = not_one(draw, draw.choice([12, 99, most]))
    if n > 12 and draw.random() < 0.5:
        return str(n), str(n)
    return cardinal(n), zahl(n)


def span(draw, unit=None):
    """three days / drei Tage and its dative drei Tagen"""
    english, german, dative = unit or draw.choice(
        [("hours", "Stunden", "Stunden"), ("days", "Tage", "Tagen"), ("weeks", "Wochen", "Wochen"),
         ("months", "Monate", "Monaten"), ("years", "Jahre", "Jahren"), ("minutes", "Minuten", "Minuten")]
    )
    n = draw.randint(2, 59 if english == "minutes" else 24)
    return f"{cardinal(n)} {english}", f"{zahl(n)} {german}", f"{zahl(n)} {dative}"


def when(draw, tense, negated):
    """A time that goes with a tense."""
    always = [("every day", "jeden Tag"), ("in the evening", "am Abend"), ("in the morning", "am Morgen"),
              ("in summer", "im Sommer"), ("in winter", "im Winter"), ("on weekends", "am Wochenende")]
    day = draw.choice(list(WEEKDAYS))
    always += [(f"every {day}", f"jeden {WEEKDAYS[day]}"), clock(draw)]
    hour = clock(draw)
    _, _, ago = length = span(draw)
    past = [("yesterday", "gestern"), ("last week", "letzte Woche"), ("last year", "letztes Jahr"),
            ("this morning", "heute Morgen"), ("yesterday evening", "gestern Abend"), weekday(draw), date(draw),
            (f"{length[0]} ago", f"vor {ago}"), (f"yesterday {hour[0]}", f"gestern {hour[1]}")]
    next_ = [("tomorrow", "morgen"), ("next week", "nächste Woche"), ("next year", "nächstes Jahr"), ("today", "heute"),
             ("tonight", "heute Abend"), ("soon", "bald"), weekday(draw), date(draw), (f"in {length[0]}", f"in {ago}"),
             (f"tomorrow {hour[0]}", f"morgen {hour[1]}")]
    if tense == "present":
        return draw.choice(always[1:6] if negated else always)
    if tense == "progressive":
        return draw.choice([("now", "jetzt"), ("at the moment", "im Moment"), ("today", "heute")])
    return draw.choice(past if tense in ("perfect", "could", "had to", "wanted") else next_)
