"""Turns the raw Factbook profiles into the table of facts that the Atlas models are trained and tested on.

Knows how each Factbook field is written and the everyday name of every country; values are short ASCII texts
that fit into a sentence. Does not know whether the Factbook is right or up to date. Drops every ambiguous
name, and leaves a fact out rather than guess.
Rows are (entity, kind, attribute, value); `kind` is country, division or city.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from eft_demo.atlas import country_words as words
from eft_demo.atlas.compile_divisions import divisions
from eft_demo.atlas.factbook_text import (
    Profile,
    code_of,
    field,
    first_item,
    split_outside,
    two_digits,
    without_brackets,
)

Row = tuple[str, str, str, str]
MAX_NEIGHBOURS = 9
SMALL_CITY_PEOPLE = 100_000  # a smaller city does not own a name that is also a division elsewhere
DATE = re.compile(rf"(\d{{1,2}})(?:-\d+)? ({words.MONTHS})|({words.MONTHS}) (\d{{1,2}})")
CITY = re.compile(
    r"(?<![\d.,])(\d+\.\d+ million|\d{1,3}(?:,\d{3})+|\d{1,3}) ([^\d()]+?)(?: ?\([^)]*\))*(?=[,;] \d|\s*$)"
)


def country_name(profile: Profile) -> str:
    """The everyday name that every other fact uses for this country."""
    short = field(profile, "Country name", "conventional short form")
    return words.NAMES.get(code_of(profile), without_brackets(short))


# One parser per attribute: profile in, value out, empty if the source has no clean value.


def capital(profile: Profile) -> str:
    text = without_brackets(split_outside(field(profile, "Capital", "name"), ",;")[0])
    name = words.CAPITALS.get(code_of(profile), "Washington, D.C." if text == "Washington" else text)
    return "" if name.startswith(("no ", "administered")) else name


def continent(profile: Profile) -> str:
    return words.CONTINENTS.get(code_of(profile), words.CONTINENTS[profile["region"]])


def currency(profile: Profile) -> str:
    text = field(profile, "Exchange rates", "Currency").split(" per US")[0]
    if "US dollar" in text or code_of(profile) in words.DOLLAR_USERS:
        return "US dollar"
    name = without_brackets(text.split(" or ")[0])
    if name in words.CURRENCIES:
        return words.CURRENCIES[name]
    start, _, noun = name.rpartition(" ")
    noun = words.COINS.get(noun, noun.removesuffix("s"))
    return f"{start} {noun}".strip() if len(name) < 40 and ":" not in name else ""


def currency_code(profile: Profile) -> str:
    if currency(profile) == "US dollar":
        return "USD"
    found = re.search(r"\(([A-Z]{2,3})\b", field(profile, "Exchange rates", "Currency"))
    code = found[1] if found else code_of(profile)
    return words.CURRENCY_CODES.get(code, code if found else "")


def demonym(profile: Profile) -> str:
    text = words.DEMONYMS.get(code_of(profile), field(profile, "Nationality", "adjective"))
    name = re.split(r" or |[;,(]", text)[0].strip()
    return "" if name in ("none", "NA") else name


def language(profile: Profile) -> str:
    """The first official language, or the first language if none is marked official."""
    items = split_outside(field(profile, "Languages", "Languages"), ",;")
    official = [item for item in items if re.search(r"\((?:\w+ )?official", item) and "regional" not in item]
    text = re.sub(r"\s*[\d<].*", "", without_brackets((official or items)[0])).split(" or ")[0].strip()
    name = words.LANGUAGES.get(code_of(profile), words.LANGUAGES.get(text, text.removesuffix(" only")))
    return name if len(name) <= 24 and re.match(r"[A-Z]", name) and "languages" not in name else ""


def religion(profile: Profile) -> str:
    name = first_item(field(profile, "Religions", "Religions"))
    return words.RELIGIONS.get(code_of(profile), words.RELIGIONS.get(name, ""))


def government(profile: Profile) -> str:
    text = words.GOVERNMENTS.get(code_of(profile), field(profile, "Government type"))
    if "constitutional monarchy" in text:
        return "constitutional monarchy"
    name = re.split(r";|,| with | in free | in name", without_brackets(text))[0].strip()
    return name if name.endswith(words.GOVERNMENT_ENDINGS) and len(name) <= 40 else ""


def independence_from(profile: Profile) -> str:
    code, text = code_of(profile), field(profile, "Independence")
    if code in words.INDEPENDENCE:
        return words.INDEPENDENCE[code][1]
    found = re.search(r"\bfrom (?:the )?([^();,]+)", text.split("; notable")[0])
    if not found or not re.match(r"\d", text):
        return ""
    return next((name for pattern, name in words.RULERS if re.search(pattern, found[1])), "")


def independence_year(profile: Profile) -> str:
    code, text = code_of(profile), field(profile, "Independence")
    if code in words.INDEPENDENCE:
        return words.INDEPENDENCE[code][0]
    found = re.match(r"(?:[\d-]+ [A-Z]\w+ )?(\d{4})\b", text)
    return found[1] if found and independence_from(profile) else ""


def national_day(profile: Profile) -> str:
    text = field(profile, "National holiday").split(";")[0]
    found = DATE.search(text)
    return (
        f"{found[1] or found[4]} {found[2] or found[3]}"
        if found and "birthday of King Charles" not in text
        else ""
    )


def internet_code(profile: Profile) -> str:
    found = re.search(r"\.[a-z]{2}\b", field(profile, "Internet country code"))
    return found[0] if found else ""


def place_name(text: str) -> str:
    """The name at the start of 'Pic X on Mount Y (note) 1,234 m', empty for unnamed or described places."""
    name = (
        re.split(r" on | near | at |;|,|/| -?\d", without_brackets(text))[0].strip().replace("Mt. ", "Mount ")
    )
    return (
        name
        if re.match(r"['A-Z]", name) and len(name) <= words.MAX_NAME_CHARS and "elevation" not in name
        else ""
    )


def highest_point(profile: Profile) -> str:
    text = field(profile, "Elevation", "highest point")
    return words.HIGHEST_POINTS.get(code_of(profile), place_name(text))


def lowest_point(profile: Profile) -> str:
    text = field(profile, "Elevation", "lowest point")
    return (
        ""
        if re.search(r"Ocean|(?<!Dead )(?<!Caspian )\bSea\b|Gulf|\b0 m|Channel", text)
        else place_name(text)
    )


def area(profile: Profile) -> str:
    sizes = profile.get("Area") or {}
    found = re.match(r"([\d,]+) sq km", sizes.get("total ") or sizes.get("total") or "")
    size_km2 = int(found[1].replace(",", "")) if found else 0
    return f"{two_digits(size_km2)} square kilometres" if size_km2 else ""


def population(profile: Profile) -> str:
    found = re.match(r"\d[\d,]*", field(profile, "Population", "total"))
    return two_digits(int(found[0].replace(",", ""))) if found else ""


def borders(profile: Profile) -> str:
    text = without_brackets(field(profile, "Land boundaries", "border countries"))
    names = [re.sub(r"\s+[\d.,]+ (?:sq )?km.*", "", part) for part in split_outside(text, ";") if part]
    names = sorted({words.BORDER_NAMES.get(name, name) for name in names})
    if not names or len(names) > MAX_NEIGHBOURS or any(re.search(r"\d|:", name) for name in names):
        return ""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def anthem(profile: Profile) -> str:
    """The English title; generic titles ('National Anthem of ...') are left out."""
    text = words.ANTHEMS.get(code_of(profile), field(profile, "National anthem(s)", "title"))
    found = re.search(r'"\s*\(([^)]+)\)', text) or re.match(r'"?([^"(]+)', text)
    title = found[1].strip().strip('"') if found else ""
    return "" if "National Anthem" in title or len(title) > 48 or "has four" in title else title


def colours(profile: Profile) -> str:
    names = split_outside(without_brackets(field(profile, "National color(s)")), ",")
    if not names[0] or len(names) > 5 or any(len(name) > 16 or ";" in name for name in names):
        return ""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def symbol(profile: Profile) -> str:
    name = words.SYMBOLS.get(
        code_of(profile), without_brackets(re.split(r"[,;]", field(profile, "National symbol(s)"))[0])
    )
    name = re.sub(r"^(?:an?|the) ", "", name)
    return name if len(name) <= 36 and not name.startswith("no ") else ""


def main_export(profile: Profile) -> str:
    return short_good(first_item(field(profile, "Exports - commodities")))


def main_crop(profile: Profile) -> str:
    return short_good(first_item(field(profile, "Agricultural products")))


def short_good(name: str) -> str:
    """A commodity as it appears in a sentence, with 'and' for '/'; empty if it is not a good."""
    name = name.replace("/", " and ").replace("medicines", "medicine")
    return (
        name
        if re.match(r"[a-zA-Z]", name) and len(name) <= 36 and not re.match(r"none|the whole|NA$|small", name)
        else ""
    )


def coastline(profile: Profile) -> str:
    text = field(profile, "Coastline")
    if "landlocked" in text:
        return "none"
    found = re.match(r"([\d,.]+) km", text)
    length_km = float(found[1].replace(",", "")) if found else 0.0
    return f"{two_digits(length_km)} kilometres" if length_km >= 1 else ""


def cities(profile: Profile) -> list[tuple[str, float]]:
    """(name, population) of each major urban area; a capital has the name that `capital` gives it."""
    found = []
    text = re.sub(r"\s*\(\d{4}\)", "", field(profile, "Major urban areas - population"))
    for count, raw in CITY.findall(text):
        people = float(count.split()[0].replace(",", "")) * (1e6 if "million" in count else 1)
        name = capital(profile) if raw.casefold() == capital(profile).casefold() else raw
        name = name.title().replace("'S", "'s") if name.isupper() else name
        name = words.CITY_ALIASES.get(name, name)
        if name[:1].isupper():
            found.append((name, people))
    return found


def largest_city(profile: Profile) -> str:
    ranked = sorted(cities(profile), key=lambda city: -city[1])
    return ranked[0][0] if ranked and code_of(profile) not in words.LARGEST_CITY_NOT_LISTED else ""


COUNTRY_PARSERS: tuple[Callable[[Profile], str], ...] = (
    capital, continent, currency, currency_code, demonym, language, religion, government, independence_from,
    independence_year, national_day, internet_code, highest_point, lowest_point, largest_city, area,
    population, borders, anthem, colours, symbol, main_export, main_crop, coastline,
)  # fmt: skip


def city_people(profile: Profile) -> dict[str, float]:
    """The population of each city by name; 0 for a capital that is not among the urban areas."""
    people = dict(cities(profile))
    if capital(profile):
        people.setdefault(capital(profile), 0.0)
    return people


def named_once(by_country: dict[str, dict[str, float]], taken: set[str]) -> dict[str, str]:
    """City -> country, without names that are also countries or that cities of two countries share."""
    owners: dict[str, list[tuple[float, str]]] = {}
    for country, people in by_country.items():
        for name, count in people.items():
            owners.setdefault(name, []).append((count, country))
    counted = {name: [pair for pair in pairs if pair[0]] or pairs for name, pairs in owners.items()}
    return {name: pairs[0][1] for name, pairs in counted.items() if len(pairs) == 1 and name not in taken}


def country_rows(profile: Profile) -> Iterator[Row]:
    """The facts about one country."""
    for parse in COUNTRY_PARSERS:
        value = parse(profile)
        if value:
            yield country_name(profile), "country", parse.__name__, value


def compile_countries(source: Path) -> list[Row]:
    """All rows, sorted. Raises OSError or ValueError if `source` cannot be read as the Factbook list."""
    profiles = [p for p in json.loads(source.read_text("utf-8")) if code_of(p) not in words.SKIPPED]
    rows = [row for profile in profiles for row in country_rows(profile)]
    countries = {country_name(profile) for profile in profiles}
    people = {country_name(profile): city_people(profile) for profile in profiles}
    parts = {country_name(profile): divisions(profile) for profile in profiles}
    seen = Counter(name for kinds in parts.values() for name in kinds)
    owner = named_once(people, countries)
    for city, country in list(owner.items()):
        elsewhere = any(city in kinds for other, kinds in parts.items() if other != country)
        if elsewhere and people[country][city] < SMALL_CITY_PEOPLE:
            continue
        count = people[country][city]
        rows.append((city, "city", "country", country))
        rows += [(city, "city", "city_population", two_digits(count))] if count else []
    all_cities = {city for found in people.values() for city in found}
    for country, kinds in parts.items():
        for name, kind in kinds.items():
            alone = seen[name] == 1 or words.DIVISION_OWNERS.get(name) == country
            if alone and name not in countries and name not in all_cities:
                rows.append((name, "division", "country", country))
                rows += [(name, "division", "division_type", kind)] if kind else []
    return sorted(set(rows))
