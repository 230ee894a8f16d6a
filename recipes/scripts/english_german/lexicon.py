"""The words: what each is in English and in German, and how German inflects it.

Every English word here has one German translation, so that a reference is the only right answer up to word order.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    singular: str  # English
    plural: str  # English
    gender: str  # German: m, f, n
    german: str
    germans: str  # German plural
    weak: bool = False  # -(e)n in every case but the nominative singular: den Nachbarn


@dataclass(frozen=True)
class Adjective:
    english: str
    german: str
    comparative: str  # English
    vergleich: str  # German comparative
    stem: str  # German, before endings: teur-


@dataclass(frozen=True)
class Verb:
    base: str  # English infinitive, with its particle: "pick up"
    past: str  # English, without the particle
    participle: str  # English, without the particle
    prefix: str  # German separable prefix or ""
    infinitive: str  # German, without the prefix
    er: str  # German third person singular present, without the prefix
    partizip: str  # German, with the prefix
    aux: str  # haben or sein
    frame: str  # acc, dat, give, prep, self (reflexive with a preposition), place, goal, alone
    objects: str = ""  # category of nouns that may be its object
    prep: tuple = ()  # frames prep and self: English preposition, German preposition, German case
    imperative: str = ""  # German, without the prefix; "" if nobody is told to do it


def nouns(table):
    """Lines `singular plural gender German German-plural`, `weak` at the end of some; `_` is a space."""
    read = []
    for line in table.split("\n"):
        if line.strip():
            one, many, gender, german, germans, *weak = (word.replace("_", " ") for word in line.split())
            read.append(Noun(one, many, gender, german, germans, bool(weak)))
    return read


CATEGORIES = {
    "person": nouns("""
        teacher teachers m Lehrer Lehrer
        doctor doctors f Ärztin Ärztinnen
        neighbor neighbors m Nachbar Nachbarn weak
        colleague colleagues f Kollegin Kolleginnen
        student students m Student Studenten weak
        friend friends m Freund Freunde
        brother brothers m Bruder Brüder
        sister sisters f Schwester Schwestern
        uncle uncles m Onkel Onkel
        aunt aunts f Tante Tanten
        daughter daughters f Tochter Töchter
        son sons m Sohn Söhne
        grandmother grandmothers f Großmutter Großmütter
        man men m Mann Männer
        woman women f Frau Frauen
        child children n Kind Kinder
        girl girls n Mädchen Mädchen
        boy boys m Junge Jungen weak
        guest guests m Gast Gäste
        engineer engineers m Ingenieur Ingenieure
    """),
    "thing": nouns("""
        bag bags f Tasche Taschen
        key keys m Schlüssel Schlüssel
        picture pictures n Bild Bilder
        umbrella umbrellas m Regenschirm Regenschirme
        coat coats m Mantel Mäntel
        watch watches f Uhr Uhren
        gift gifts n Geschenk Geschenke
        camera cameras f Kamera Kameras
        chair chairs m Stuhl Stühle
        table tables m Tisch Tische
        bicycle bicycles n Fahrrad Fahrräder
        car cars n Auto Autos
        hat hats m Hut Hüte
        dress dresses n Kleid Kleider
        bottle bottles f Flasche Flaschen
        plate plates m Teller Teller
        knife knives n Messer Messer
        shirt shirts n Hemd Hemden
    """),
    "text": nouns("""
        book books n Buch Bücher
        letter letters m Brief Briefe
        newspaper newspapers f Zeitung Zeitungen
        report reports m Bericht Berichte
        story stories f Geschichte Geschichten
        map maps f Karte Karten
    """),
    "device": nouns("""
        lamp lamps f Lampe Lampen
        radio radios n Radio Radios
        computer computers m Computer Computer
        machine machines f Maschine Maschinen
        phone phones n Telefon Telefone
    """),
    "opening": nouns("""
        window windows n Fenster Fenster
        door doors f Tür Türen
        suitcase suitcases m Koffer Koffer
        box boxes f Kiste Kisten
        cupboard cupboards m Schrank Schränke
    """),
    "food": nouns("""
        loaf loaves n Brot Brote
        apple apples m Apfel Äpfel
        cake cakes m Kuchen Kuchen
        tomato tomatoes f Tomate Tomaten
        lemon lemons f Zitrone Zitronen
        egg eggs n Ei Eier
        pear pears f Birne Birnen
        sausage sausages f Wurst Würste
    """),
    "animal": nouns("""
        dog dogs m Hund Hunde
        cat cats f Katze Katzen
        horse horses n Pferd Pferde
        bird birds m Vogel Vögel
    """),
}

# English, German, the comparatives of both, and the German stem before endings where it differs.
ADJECTIVES = [
    Adjective(english, german, comparative.replace("_", " "), vergleich, *(stem or [german]))
    for english, german, comparative, vergleich, *stem in (line.split() for line in """
old alt older älter
new neu newer neuer
big groß bigger größer
small klein smaller kleiner
beautiful schön more_beautiful schöner
heavy schwer heavier schwerer
light leicht lighter leichter
long lang longer länger
short kurz shorter kürzer
expensive teuer more_expensive teurer teur
cheap billig cheaper billiger
strong stark stronger stärker
young jung younger jünger
interesting interessant more_interesting interessanter
clean sauber cleaner sauberer
warm warm warmer wärmer
cold kalt colder kälter
dark dunkel darker dunkler dunkl
friendly freundlich friendlier freundlicher
""".strip().split("\n"))
]
# What may be said of each category.
FITTING = {
    "person": "old young big small strong friendly interesting".split(),
    "animal": "old young big small strong beautiful heavy friendly".split(),
    "thing": "old new big small beautiful heavy light expensive cheap clean".split(),
    "text": "old new long short interesting expensive beautiful".split(),
    "device": "old new big small heavy light expensive cheap".split(),
    "opening": "old new big small heavy beautiful clean".split(),
    "food": "big small cold expensive cheap".split(),
    "place": "old new big small beautiful clean dark warm cold".split(),
}
COLORS = [("red", "rot"), ("green", "grün"), ("blue", "blau"), ("yellow", "gelb"), ("white", "weiß"), ("black", "schwarz")]

# English infinitive, past, participle; German prefix, infinitive, third person, participle, auxiliary; frame and objects;
# what is said to tell somebody to do it.
VERBS = [
    Verb(*line.split("|")[:10], prep=tuple(line.split("|")[10].replace("-", "").split(" ")), imperative=line.split("|")[11])
    for line in """
buy|bought|bought||kaufen|kauft|gekauft|haben|acc|thing text food device||kauf
sell|sold|sold||verkaufen|verkauft|verkauft|haben|acc|thing text device animal||verkauf
find|found|found||finden|findet|gefunden|haben|acc|thing text device animal||
look for|looked|looked||suchen|sucht|gesucht|haben|acc|thing text animal person||such
need|needed|needed||brauchen|braucht|gebraucht|haben|acc|thing text device||
see|saw|seen||sehen|sieht|gesehen|haben|acc|person animal thing place||
repair|repaired|repaired||reparieren|repariert|repariert|haben|acc|device opening||reparier
clean|cleaned|cleaned||putzen|putzt|geputzt|haben|acc|opening thing||putz
carry|carried|carried||tragen|trägt|getragen|haben|acc|thing opening||trag
paint|painted|painted||malen|malt|gemalt|haben|acc|animal person||mal
open|opened|opened||öffnen|öffnet|geöffnet|haben|acc|opening||öffne
close|closed|closed|zu|machen|macht|zugemacht|haben|acc|opening||mach
turn on|turned|turned|ein|schalten|schaltet|eingeschaltet|haben|acc|device||schalte
turn off|turned|turned|aus|schalten|schaltet|ausgeschaltet|haben|acc|device||schalte
read|read|read||lesen|liest|gelesen|haben|acc|text||lies
write|wrote|written||schreiben|schreibt|geschrieben|haben|acc|text||schreib
read aloud|read|read|vor|lesen|liest|vorgelesen|haben|acc|text||lies
eat|ate|eaten||essen|isst|gegessen|haben|acc|food||iss
cut up|cut|cut|auf|schneiden|schneidet|aufgeschnitten|haben|acc|food||schneide
bring along|brought|brought|mit|bringen|bringt|mitgebracht|haben|acc|thing food person||bring
pick up|picked|picked|ab|holen|holt|abgeholt|haben|acc|person thing||hol
invite|invited|invited|ein|laden|lädt|eingeladen|haben|acc|person||lade
call|called|called|an|rufen|ruft|angerufen|haben|acc|person||ruf
visit|visited|visited||besuchen|besucht|besucht|haben|acc|person||besuch
ask|asked|asked||fragen|fragt|gefragt|haben|acc|person||frag
meet|met|met||treffen|trifft|getroffen|haben|acc|person||
forget|forgot|forgotten||vergessen|vergisst|vergessen|haben|acc|thing text||
know|knew|known||kennen|kennt|gekannt|haben|acc|person||
feed|fed|fed||füttern|füttert|gefüttert|haben|acc|animal||fütter
help|helped|helped||helfen|hilft|geholfen|haben|dat|person||hilf
thank|thanked|thanked||danken|dankt|gedankt|haben|dat|person||danke
listen to|listened|listened|zu|hören|hört|zugehört|haben|dat|person||hör
trust|trusted|trusted||vertrauen|vertraut|vertraut|haben|dat|person||
follow|followed|followed||folgen|folgt|gefolgt|sein|dat|person animal||folge
answer|answered|answered||antworten|antwortet|geantwortet|haben|dat|person||antworte
give|gave|given||geben|gibt|gegeben|haben|give|thing text food||gib
show|showed|shown||zeigen|zeigt|gezeigt|haben|give|thing text device||zeig
send|sent|sent||schicken|schickt|geschickt|haben|give|thing text||schick
lend|lent|lent||leihen|leiht|geliehen|haben|give|thing text device||leih
wait|waited|waited||warten|wartet|gewartet|haben|prep|person|for auf acc|warte
talk|talked|talked||sprechen|spricht|gesprochen|haben|prep|person|with mit dat|sprich
think|thought|thought||denken|denkt|gedacht|haben|prep|person animal|of an acc|denk
dream|dreamed|dreamed||träumen|träumt|geträumt|haben|prep|thing animal|of von dat|
play|played|played||spielen|spielt|gespielt|haben|prep|animal person|with mit dat|spiel
laugh|laughed|laughed||lachen|lacht|gelacht|haben|prep|text person|about über acc|
look forward|looked|looked||freuen|freut|gefreut|haben|self|person text|to auf acc|
complain|complained|complained||beschweren|beschwert|beschwert|haben|self|person device text|about über acc|
remember|remembered|remembered||erinnern|erinnert|erinnert|haben|self|person text animal|- an acc|
apologize|apologized|apologized||entschuldigen|entschuldigt|entschuldigt|haben|self|person|to bei dat|
work|worked|worked||arbeiten|arbeitet|gearbeitet|haben|place|||arbeite
sleep|slept|slept||schlafen|schläft|geschlafen|haben|place|||schlaf
stay|stayed|stayed||bleiben|bleibt|geblieben|sein|place|||bleib
live|lived|lived||wohnen|wohnt|gewohnt|haben|place|||
dance|danced|danced||tanzen|tanzt|getanzt|haben|place|||tanz
sit|sat|sat||sitzen|sitzt|gesessen|haben|place|||
go|went|gone||gehen|geht|gegangen|sein|goal|||geh
drive|drove|driven||fahren|fährt|gefahren|sein|goal|||fahr
run|ran|run||laufen|läuft|gelaufen|sein|goal|||lauf
come|came|come||kommen|kommt|gekommen|sein|goal|||komm
walk back|walked|walked|zurück|gehen|geht|zurückgegangen|sein|goal|||geh
get up|got|got|auf|stehen|steht|aufgestanden|sein|alone|||steh
fall asleep|fell|fallen|ein|schlafen|schläft|eingeschlafen|sein|alone|||
swim|swam|swum||schwimmen|schwimmt|geschwommen|sein|alone|||schwimm
sing|sang|sung||singen|singt|gesungen|haben|alone|||sing
cook|cooked|cooked||kochen|kocht|gekocht|haben|alone|||koch
""".strip().split("\n")
]

# Nouns of places with how one is there and how one gets there: English and German prepositions, the German case of the second.
PLACES = [
    (noun, *ways)
    for noun, ways in zip(
        nouns("""
        office offices n Büro Büros
        kitchen kitchens f Küche Küchen
        garden gardens m Garten Gärten
        school schools f Schule Schulen
        park parks m Park Parks
        city cities f Stadt Städte
        museum museums n Museum Museen
        library libraries f Bibliothek Bibliotheken
        hotel hotels n Hotel Hotels
        forest forests m Wald Wälder
        hospital hospitals n Krankenhaus Krankenhäuser
        station stations m Bahnhof Bahnhöfe
        airport airports m Flughafen Flughäfen
        market markets m Markt Märkte
        island islands f Insel Inseln
        lake lakes m See Seen
        river rivers m Fluss Flüsse
        """),
        [("in", "in", "to", "in", "acc")] * 11
        + [("at", "an", "to", "zu", "dat")] * 2
        + [("at", "auf", "to", "auf", "acc"), ("on", "auf", "to", "auf", "acc")]
        + [("at", "an", "to", "an", "acc")] * 2,
    )
]
CATEGORIES["place"] = [noun for noun, *_ in PLACES]
CITIES = {"Berlin": "Berlin", "Hamburg": "Hamburg", "Munich": "München", "Cologne": "Köln", "Vienna": "Wien", "Zurich": "Zürich"}

MEN = "Peter Paul Max Jonas Felix Thomas".split()
WOMEN = "Anna Maria Julia Laura Sophie Clara".split()
FAMILIES = "Weber Klein Schmidt Wagner Becker".split()

WEEKDAYS = dict(zip(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(),
    "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split(),
))
MONTHS = dict(zip(
    "January February March April May June July August September October November December".split(),
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split(),
))
