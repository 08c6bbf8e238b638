"""Turns short public lists (JSON) into the facts table that the Atlas models are trained on.

Knows eleven lists: elements, US state capitals, rivers, Olympic Games, bestselling books, US presidents,
planets and moons, Japanese prefectures, Egyptian gods, Greek figures, adjectives of animals. Known errors in
the lists (spelling, a shifted column, a wrong outflow) are corrected here, next to the list they belong to.
Facts that no list contains come from `common_knowledge`.
Does not know how a fact is phrased. An entity belongs to only one kind, so that a question has one answer;
`Mercury` (planet) and `mercury` (element) differ in case and share no attribute.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eft_demo.atlas import common_knowledge as known
from eft_demo.atlas.common_knowledge import names, pairs

Row = tuple[str, str, str, str]  # entity, kind, attribute, value
Entry = dict[str, Any]  # an object of a JSON list

ODD_LETTERS = str.maketrans({"\u0131": "i", "ø": "o", "Ø": "O", "ł": "l", "æ": "ae", "&": "and"})


def fold(text: str) -> str:
    """ASCII form of `text`: accents stripped, odd letters mapped, the rest dropped."""
    spread = unicodedata.normalize("NFKD", text.translate(ODD_LETTERS))
    return " ".join(spread.encode("ascii", "ignore").decode().split())


def article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def read(source: Path, name: str) -> Entry:
    entries: Entry = json.loads((source / f"{name}.json").read_text(encoding="utf-8", errors="replace"))
    return entries


# --- elements ----------------------------------------------------------------------------------------------
DISCOVERERS = pairs(
    "Beryllium = Vauquelin; Aluminum = Wohler; Phosphorus = Brand; Technetium = Perrier and Segre; "
    "Samarium = de Boisbaudran; Ytterbium = de Marignac; Rubidium = Bunsen and Kirchhoff; "
    "Cesium = Bunsen and Kirchhoff; Manganese = Gahn; "
    "Bohrium = Armbruster and Munzenberg; Wolfram = the d'Elhuyar brothers; "
    "Hassium = Armbruster and Munzenberg; Polonium = Pierre and Marie Curie"
)
# The source column is shifted by one from astatine to radium.
ELEMENT_TYPES = pairs("Astatine=Halogen; Radon=Noble Gas; Francium=Alkali Metal; Radium=Alkaline Earth Metal")
UNKNOWN_DISCOVERERS = ("", "Prehistoric", "Early historic times", "GSI, Darmstadt, West Germany")


def discoverer(element: Entry) -> str:
    if element["discoverer"] in UNKNOWN_DISCOVERERS:
        return ""
    name = DISCOVERERS.get(element["name"], str(element["discoverer"])).removesuffix(" et al.")
    return " and ".join(part.strip() for part in name.split("/"))


def element_facts(element: Entry) -> dict[str, str]:
    phase = {"liq": "liquid", "artificial": ""}.get(element["phase"], str(element["phase"]))
    found_by = discoverer(element)
    return {
        "symbol": {"Mv": "Mc"}.get(element["symbol"], str(element["symbol"])),
        "atomic_number": str(element["atomic_number"]),
        "element_type": ELEMENT_TYPES.get(element["name"], str(element["type"])).lower(),
        "phase": phase,
        "discoverer": found_by,
        "discovery_year": element["year_of_discovery"] if found_by else "",
        "period": str(element["period"]),
        # The list numbers the f-block columns 19..32; real groups end at 18.
        "element_group": str(element["group"]) if element["group"] <= 18 else "",
    }


def element_rows(source: Path) -> Iterable[Row]:
    for element in read(source, "elements")["elements"]:
        name = {"wolfram": "tungsten"}.get(element["name"].lower(), element["name"].lower())
        yield from ((name, "element", key, value) for key, value in element_facts(element).items())


# --- US states ---------------------------------------------------------------------------------------------


def state_rows(source: Path) -> Iterable[Row]:
    """Leaves out Georgia (a country) and Washington (a city, a president): the names are not unique."""
    capitals = {entry["state"]: entry["capital"] for entry in read(source, "us_state_capitals")["capitals"]}
    for state, facts in known.STATES.items():
        postal_code, year, region, nickname = facts.split(",")
        yield state, "us_state", "state_capital", capitals[state]
        yield state, "us_state", "postal_code", postal_code
        yield state, "us_state", "admission_year", year
        yield state, "us_state", "state_region", f"the {region}"
        yield state, "us_state", "nickname", nickname


# --- rivers ------------------------------------------------------------------------------------------------
RIVERS_LEFT_OUT = set(
    names(
        "Apurimac; Jefferson; Slave; Peace; Finlay; Chambeshi; Caine; Rocha; Grande; Negro; Detroit; "
        "Saint Clair; "
        "Saint Marys; Saint Louis; Tsangpo; Padma; Saskatchewan; Upper Ob; Zhu Jiang; Red; Shebelle; "
        "Churchill; "
        "Upper Yenisei; Little Yenisei; Guapay; Cooper; Barcoo; Georgina; Lerma; Upper Mississippi; "
        "Helmand; "
        "Sepik; "
        "North Saskatchewan; Warburton; Rio Grande de Santiago; Kapuas; Shatt al-Arab; Rio de la Plata"
    )
)
# Names that can also mean a state, a province or a thing.
RIVERS_SPELLED_OUT = set(
    names(
        "Mississippi; Missouri; Colorado; Arkansas; Ohio; Tennessee; Niger; Congo; Senegal; Gambia; "
        "Paraguay; "
        "Uruguay; Orange; White; Green; Snake; Milk; Fly; Pearl; Columbia; Ottawa; James; Han; Wu; "
        "Canadian; "
        "Nelson; Murray; Darling; Cumberland; Yellowstone; Saint Lawrence; Niagara; Ural; Fraser; Amur; "
        "Beni; Benue; Blue Nile; Cauca; Guaviare; Kagera; Kasai; Kwango; Limpopo; Lomami; Madeira; "
        "Madre de Dios; Magdalena; Naryn; Parana; Sankuru; Selenge; Tocantins; Ucayali; Volta; Yukon; Zambezi"
    )
)
RIVER_NAMES = pairs(
    "Mtkvari=Kura; Ayeyarwady=Irrawaddy; Jialing River=Jialing; Kizil=Kizilirmak; Ica=Putumayo River"
)


def river_name(name: str) -> str:
    return RIVER_NAMES.get(name, f"{name} River" if name in RIVERS_SPELLED_OUT else name)


def outflow_phrase(name: str) -> str:
    """'Black Sea' -> 'the Black Sea', 'Ohio' -> 'the Ohio River'; 'Lake Eyre', 'Hudson Bay' unchanged."""
    plain = name.startswith("Lake ") or name in ("Hudson Bay", "Lop Nur")
    return name if plain else f"the {river_name(name)}"


def river_rows(source: Path) -> Iterable[Row]:
    for river in read(source, "rivers")["rivers"]:
        name = fold(river["name"])
        if name in RIVERS_LEFT_OUT:
            continue
        outflow = known.OUTFLOWS.get(name, fold(river["outflow"]))
        yield river_name(name), "river", "outflow", outflow_phrase(outflow)
    for continent, rivers in known.CONTINENTS.items():
        yield from ((river_name(name.strip()), "river", "continent", continent) for name in rivers.split(","))


# --- Olympic Games -----------------------------------------------------------------------------------------
CITY_NAMES = {
    "St.Louis": "St. Louis",
    "St.Moritz": "St. Moritz",
    "Cortina d'Amprezzo": "Cortina d'Ampezzo",
    "Sapparo": "Sapporo",
}
COUNTRY_PHRASES = {
    "United States of America": "the United States",
    "United States": "the United States",
    "United Kingdom": "the United Kingdom",
    "Netherlands": "the Netherlands",
    "Soviet Union": "the Soviet Union",
}


def olympics_rows(source: Path) -> Iterable[Row]:
    seasons = read(source, "olympics")["olympics"]
    games = [
        (f"{entry['year']} {season.capitalize()}", entry["city"], entry["nation"])
        for season, entries in seasons.items()
        for entry in entries
    ]
    for name, city, country in games + known.LATER_GAMES:
        yield f"{name} Olympics", "olympics", "host_city", CITY_NAMES.get(city, city)
        yield f"{name} Olympics", "olympics", "host_country", COUNTRY_PHRASES.get(country, country)


# --- books -------------------------------------------------------------------------------------------------
# Places, people and oddly named series, because a question about them would not be about a book.
BOOKS_LEFT_OUT = set(
    names(
        "San-Antonio; The Bermuda Triangle; Tokugawa Ieyasu; Picture-and-story book Railway Guerilla; "
        "Millennium; "
        "Robert Langdon; South Beach Diet; Martine; Night; Peter Rabbit; Harry Potter"
    )
)
AUTHORS = {
    "Charlotte's Web": "E. B. White",
    "The Young Guard": "Alexander Fadeyev",
    "Berenstain Bears": "Stan and Jan Berenstain",
    "Curious George": "H. A. Rey",
}


def book_rows(source: Path) -> Iterable[Row]:
    for book in read(source, "bestsellers")["books"]:
        title = book["title"]
        if title not in BOOKS_LEFT_OUT and not any(mark in title for mark in "(:¾"):
            yield title, "book", "author", AUTHORS.get(title, str(book["author"]))


# --- US presidents -----------------------------------------------------------------------------------------


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def presidencies(source: Path) -> list[list[Entry]]:
    """Terms in chronological order, a person's consecutive terms grouped: (44 presidencies)(1..4 terms)."""
    groups: list[list[Entry]] = []
    for term in sorted(read(source, "us_presidents")["objects"], key=lambda term: term["startdate"]):
        if groups and groups[-1][0]["person"]["id"] == term["person"]["id"]:
            groups[-1].append(term)
        else:
            groups.append([term])
    return groups


def president_rows(source: Path) -> Iterable[Row]:
    for number, (name, terms) in enumerate(zip(known.PRESIDENTS, presidencies(source), strict=True), start=1):
        if number == 24:  # Cleveland again
            continue
        first = terms[0]
        party = {"Democrat": "Democratic", "no party": ""}.get(first["party"], str(first["party"]))
        yield name, "president", "party", party
        yield name, "president", "took_office", first["startdate"][:4]
        # Cleveland left office twice (1889, 1897), so no single year is his.
        yield name, "president", "left_office", "" if number == 22 else terms[-1]["enddate"][:4]
        yield name, "president", "birth_year", (first["person"]["birthday"] or known.BIRTHDAYS[name])[:4]
        yield name, "president", "presidency_number", "22nd and 24th" if number == 22 else ordinal(number)


# --- planets and moons -------------------------------------------------------------------------------------


def planet_rows(source: Path) -> Iterable[Row]:
    for planet in read(source, "planets")["planets"]:
        name = planet["name"]
        facts = known.PLANETS.get(name, ",dwarf planet,").split(",")
        for attribute, value in zip(("position", "planet_type", "moon_count"), facts, strict=True):
            yield name, "planet", attribute, value
        for moon in planet["moons"]:
            if "/" not in moon:  # provisional designations such as S/2000 J11
                yield "the Moon" if moon == "Moon" else moon, "moon", "planet", name


# --- Japan -------------------------------------------------------------------------------------------------
# Prefectures that share their name with a city keep the full name; Tokyo is only a city here.
ALSO_CITIES = set(
    names(
        "Fukui; Gifu; Nagano; Niigata; Shizuoka; Toyama; Hiroshima; Okayama; Tottori; Yamaguchi; "
        "Kyoto; Nara; "
        "Osaka; Wakayama; Chiba; Saitama; Fukuoka; Kagoshima; Kumamoto; Miyazaki; Nagasaki; Oita; "
        "Saga; Kochi; "
        "Tokushima; Akita; Aomori; Fukushima; Yamagata; Okinawa; Ibaraki"
    )
)


def prefecture_rows(source: Path) -> Iterable[Row]:
    for region in read(source, "japanese_prefectures")["regions"]:
        for prefecture in map(fold, region["prefectures"]):
            if prefecture in ("Tokyo", "Hokkaido"):  # a city; a region with its own name
                continue
            name = f"{prefecture} Prefecture" if prefecture in ALSO_CITIES else prefecture
            yield name, "prefecture", "prefecture_region", region["region"]
            yield name, "prefecture", "country", "Japan"


# --- Egypt and Greece --------------------------------------------------------------------------------------
# Duplicates, people, and entries whose gender in the list is wrong.
GODS_LEFT_OUT = set(
    names("Ishtar; Jupiter-Amun; Pelican; Asclepius; Imhotep; Nefertary; Sebek; Sebeg; Sothis")
)
GOD_WORDS = pairs("""
Hathor=music and motherhood; Horus=the sky and kingship; Osiris=death and resurrection;
Isis=magic and motherhood;
Thoth=writing and scribes; Khepri=creation and the sun; Amun=Thebes and creation; Ra=creation and the sun;
Sekhmet=destruction; Set=chaos and the desert; Ptah=craftsmen and creation; Nut=the sky; Geb=the earth;
Shu=the air; Seker=the afterlife; Seshat=writing; Wepwawet=war; Bes=childbirth; Taweret=childbirth;
Nephthys=mourning
""")
NEEDS_THE = set(
    names(
        "sun; moon; sky; underworld; sea; ocean; desert; earth; Nile; wind; dead; "
        "afterlife; horizon; "
        "flood; sistrum; spoken word; lotus blossom; necropolis"
    )
)
SAYS_LITTLE = set(names("beard; butler; demon; mummy; tree; egg; ferryman; year; spear; feathers; clay"))


def god_depiction(god: Entry) -> str:
    shape = (god["depictions"] or ("",))[0]
    return "" if shape in ("", "flood") else f"the {shape}" if shape in NEEDS_THE else article(shape)


def god_association(name: str, god: Entry) -> str:
    words = [word for word in god["keywords"] if word not in [*god["depictions"], "Ennead", *SAYS_LITTLE]]
    word = (words or ("",))[0]
    return GOD_WORDS.get(name, f"the {word}" if word in NEEDS_THE else word)


def egyptian_rows(source: Path) -> Iterable[Row]:
    for listed_name, god in read(source, "egyptian_gods")["egyptian_gods"].items():
        name = fold(listed_name.replace("Ra (Re)", "Ra").split(" (")[0])
        obscure = not god["keywords"] or "/" in name or (listed_name != "Ra (Re)" and len(god["genders"]) > 1)
        if obscure or name in GODS_LEFT_OUT or listed_name == "Ra":
            continue
        yield name, "egyptian_god", "depicted_as", "a falcon" if name == "Ra" else god_depiction(god)
        yield name, "egyptian_god", "associated_with", god_association(name, god)
        gender = "male" if name == "Ra" else god["genders"][0]
        yield name, "egyptian_god", "deity_type", {"male": "god", "female": "goddess"}[gender]


GODDESSES = set(
    names("Aphrodite; Artemis; Athena; Demeter; Hera; Hestia; Ananke; Gaia; Thalassa; Hemera; Nyx; Nemesis")
)
GREEK_LEFT_OUT = ("Synthian Dracanus", "Empousai", "Telekhines", "Icthyocentaur", "Menoeltius", "Eurybia")


def greek_rows(source: Path) -> Iterable[Row]:
    for key, figures in read(source, "greek_myths_master").items():
        for name in figures:
            if name not in GREEK_LEFT_OUT:
                one = key.removeprefix("greek_").removesuffix("s")
                yield name, "greek_figure", "greek_type", "goddess" if name in GODDESSES else one


# --- animals -----------------------------------------------------------------------------------------------
ADJECTIVES = pairs(
    "bird=avian; snake=serpentine; pig=porcine; songbird=oscine; lizard=saurian; ox=bovine; goat=caprine; "
    "hippopotamus=hippopotamine; iguana=iguanid; ape=simian; worm=vermian; frog=ranid; swan=cygnean"
)
ANIMALS_LEFT_OUT = ("rat", "toad", "cricket", "human", "fowl", "percher", "bat", "bug", "fly")


def animal_rows(source: Path) -> Iterable[Row]:
    """The learned form (in -ine) if the list has one, else the first."""
    for animal in read(source, "collateral_adjectives")["animals"]:
        name, listed = animal["name"], animal["collateral_adjectives"]
        learned = [adjective for adjective in listed if adjective.endswith("ine")]
        adjective = ADJECTIVES.get(name, (learned or listed)[0])
        if adjective != name and name not in ANIMALS_LEFT_OUT:
            yield name, "animal", "adjective", adjective


# --- countries ---------------------------------------------------------------------------------------------


def country_rows(_source: Path) -> Iterable[Row]:
    for entry in known.COUNTRIES:
        name = entry.rstrip("*0123456789 ")
        yield name, "country", "calling_code", f"+{entry[len(name) :].strip(' *')}"
        yield name, "country", "driving_side", "left" if entry.endswith("*") else "right"


LISTS = (
    country_rows,
    planet_rows,
    element_rows,
    state_rows,
    river_rows,
    president_rows,
    olympics_rows,
    prefecture_rows,
    book_rows,
    greek_rows,
    animal_rows,
    egyptian_rows,
)


def compile_lists(source: Path) -> list[Row]:
    """(entity, kind, attribute, value) rows, sorted, ASCII, one value per entity and attribute."""
    kind_of: dict[str, str] = {}  # a name found in two lists belongs to the earlier one in LISTS
    facts: dict[tuple[str, str, str], str] = {}
    for rows in LISTS:
        for entity, kind, attribute, value in rows(source):
            entity, value = fold(entity), fold(value)
            if value and kind_of.setdefault(entity, kind) == kind:
                facts.setdefault((entity, kind, attribute), value)
    return sorted((*key, value) for key, value in facts.items())


if __name__ == "__main__":
    table = ["entity\tkind\tattribute\tvalue"] + ["\t".join(row) for row in compile_lists(Path(sys.argv[1]))]
    Path(sys.argv[2]).write_text("\n".join(table) + "\n", encoding="utf-8")
