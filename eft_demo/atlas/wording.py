"""How facts are said and asked. Knows English; knows no model and no split.

`{e}` stands for the entity (with its article), `{v}` for the value. Every attribute has a label for generic wordings and a
few of its own: facts that are always worded alike can't be asked for later ("Physics of Language Models", part 3.1).
"""

import random
from dataclasses import dataclass

from eft_demo.atlas.facts import Fact

ARTICLES = frozenset(
    "United States|United Kingdom|Netherlands|Philippines|Bahamas|Gambia|Maldives|Seychelles|Comoros|Solomon Islands|Marshall Islands|"
    "Dominican Republic|Central African Republic|Democratic Republic of the Congo|Republic of the Congo|United Arab Emirates|"
    "Cayman Islands|Cook Islands|Faroe Islands|Falkland Islands|British Virgin Islands|Turks and Caicos Islands|Isle of Man|Czech Republic".split("|")
)


@dataclass(frozen=True, slots=True)
class Wording:
    """One attribute: its label, whole statements and questions."""

    label: str
    says: tuple[str, ...]
    asks: tuple[str, ...]


def _w(label: str, says: str, asks: str) -> Wording:
    generic_says = (f"the {label} of {{e}} is {{v}}", f"{{e}}'s {label} is {{v}}")
    generic_asks = (f"What is the {label} of {{e}}?", f"What is {{e}}'s {label}?", f"Tell me the {label} of {{e}}.")
    own_says, own_asks = tuple(filter(None, says.split("|"))), tuple(filter(None, asks.split("|")))
    return Wording(label, own_says + generic_says, own_asks + generic_asks)


def _own(label: str, says: str, asks: str) -> Wording:
    return Wording(label, tuple(says.split("|")), tuple(asks.split("|")))


_IN = "{e} is in {v}|{e} lies in {v}|{e} is located in {v}|you will find {e} in {v}"
_WHERE = "Where is {e}?|Which country is {e} in?|In which country is {e}?|What country is {e} in?|Where is {e} located?|Which country does {e} belong to?"

WORDINGS: dict[tuple[str, str], Wording] = {
    ("country", "capital"): _w(
        "capital",
        "{v} is the capital of {e}|{e} has its capital at {v}|the capital city of {e} is {v}",
        "Which city is the capital of {e}?|What's the capital of {e}?|What is the capital city of {e}?|Name the capital of {e}.",
    ),
    ("country", "continent"): _own(
        "continent",
        "{e} is a country in {v}|{e} lies in {v}|{e} is in {v}|the continent of {e} is {v}",
        "Where is {e}?|Which continent is {e} in?|On which continent is {e}?|What continent is {e} on?|Where is {e} located?",
    ),
    ("country", "currency"): _w(
        "currency",
        "people in {e} pay with the {v}|the money of {e} is the {v}|{e} uses the {v}",
        "Which currency does {e} use?|What money do they use in {e}?|How do people pay in {e}?|What currency is used in {e}?",
    ),
    ("country", "currency_code"): _w("currency code", "the code for {e}'s money is {v}", "Which code stands for the currency of {e}?"),
    ("country", "demonym"): _own(
        "adjective",
        "people from {e} are called {v}|something from {e} is {v}|the adjective for {e} is {v}",
        "What do you call people from {e}?|What is the adjective for {e}?|How do you call someone from {e}?|What are people from {e} called?",
    ),
    ("country", "language"): _own(
        "main language",
        "people in {e} speak {v}|the main language of {e} is {v}|{v} is spoken in {e}",
        "Which language is spoken in {e}?|What language do people speak in {e}?|What is the main language of {e}?|What do they speak in {e}?",
    ),
    ("country", "religion"): _own(
        "main religion",
        "the largest religious group in {e} is {v}|most believers in {e} are {v}|the main religion of {e} is {v}",
        "What is the main religion of {e}?|What is the largest religious group in {e}?|Which religion is most common in {e}?",
    ),
    ("country", "government"): _own(
        "form of government",
        "{e} is a {v}|the form of government of {e} is a {v}|{e} is governed as a {v}",
        "How is {e} governed?|What is the form of government of {e}?|What kind of state is {e}?|What type of government does {e} have?",
    ),
    ("country", "independence_year"): _own(
        "independence",
        "{e} became independent in {v}|{e} gained independence in {v}|the independence of {e} dates from {v}",
        "When did {e} become independent?|In which year did {e} gain independence?|What year did {e} become independent?|When did {e} gain its independence?",
    ),
    ("country", "independence_from"): _own(
        "former ruler",
        "{e} became independent from {v}|{e} gained its independence from {v}|{v} once ruled {e}",
        "From whom did {e} become independent?|Who ruled {e} before independence?|From which country did {e} gain independence?",
    ),
    ("country", "national_day"): _w(
        "national day", "{e} celebrates its national day on {v}|{v} is the national day of {e}", "When is the national day of {e}?|When does {e} celebrate its national day?"
    ),
    ("country", "internet_code"): _w(
        "internet code", "web addresses in {e} end in {v}|the internet domain of {e} is {v}", "Which internet domain belongs to {e}?|How do web addresses in {e} end?"
    ),
    ("country", "highest_point"): _w(
        "highest point", "the highest mountain in {e} is {v}|{v} is the highest point of {e}", "What is the highest mountain in {e}?|Which is the highest point in {e}?"
    ),
    ("country", "largest_city"): _w(
        "largest city", "the biggest city in {e} is {v}|{v} is the largest city of {e}", "Which is the largest city in {e}?|What is the biggest city in {e}?"
    ),
    ("country", "area"): _own(
        "area", "{e} covers about {v}|the area of {e} is about {v}|{e} has an area of {v}", "How large is {e}?|What is the area of {e}?|How big is {e}?"
    ),
    ("country", "population"): _own(
        "population",
        "about {v} people live in {e}|{e} has about {v} people|the population of {e} is about {v}",
        "How many people live in {e}?|What is the population of {e}?|How many inhabitants does {e} have?",
    ),
    ("country", "borders"): _own(
        "neighbours",
        "{e} borders {v}|the neighbours of {e} are {v}|{e} shares a border with {v}",
        "Which countries border {e}?|What are the neighbours of {e}?|Who are {e}'s neighbours?|Which countries share a border with {e}?",
    ),
    ("country", "anthem"): _own(
        "anthem", "the anthem of {e} is \"{v}\"|{e} sings \"{v}\"|the national anthem of {e} is called \"{v}\"",
        "What is the anthem of {e}?|What is the national anthem of {e} called?|Which anthem does {e} sing?",
    ),
    ("country", "colours"): _own(
        "national colours", "the national colours of {e} are {v}|{e}'s colours are {v}|the colours of {e} are {v}",
        "What are the national colours of {e}?|What are {e}'s colours?|Which colours stand for {e}?",
    ),
    ("country", "symbol"): _w("national symbol", "a symbol of {e} is the {v}|the {v} stands for {e}", "Which symbol stands for {e}?|What is a symbol of {e}?"),
    ("country", "main_export"): _own(
        "main export", "the main export of {e} is {v}|{e} mainly sells {v} abroad|{e} exports {v}", "What does {e} export?|What is the main export of {e}?|What does {e} sell abroad?"
    ),
    ("country", "main_crop"): _own(
        "main crop", "farmers in {e} mostly grow {v}|the main farm product of {e} is {v}|{e} produces {v}",
        "What is the main farm product of {e}?|What do farmers in {e} produce?|What is {e}'s main crop?",
    ),
    ("country", "calling_code"): _own(
        "calling code", "the calling code of {e} is {v}|telephone numbers in {e} begin with {v}|to call {e}, dial {v}",
        "What is the calling code of {e}?|What is the dialling code for {e}?|Which code do I dial to call {e}?",
    ),
    ("country", "driving_side"): _own(
        "driving side", "people in {e} drive on the {v}|in {e}, cars keep to the {v}|traffic in {e} keeps to the {v}",
        "On which side do people drive in {e}?|Which side of the road do they drive on in {e}?|Do people in {e} drive on the left or the right?",
    ),
    ("division", "country"): _own("country", _IN + "|{e} is part of {v}|{e} belongs to {v}", _WHERE + "|Which country is {e} part of?"),
    ("city", "country"): _own("country", _IN + "|{e} is a city in {v}|{e} is a town in {v}", _WHERE),
    ("prefecture", "country"): _own("country", _IN + "|{e} is part of {v}", _WHERE),
    ("division", "division_type"): _own(
        "kind", "{e} is a {v}|{e} has the rank of a {v}|{e} counts as a {v}",
        "What kind of division is {e}?|Is {e} a province, a region or something else?|What type of area is {e}?",
    ),
    ("prefecture", "prefecture_region"): _w("region", "the prefecture {e} belongs to the {v} region", "Which region of Japan is {e} in?"),
    ("element", "symbol"): _w(
        "chemical symbol", "chemists write {v} for {e}|the symbol for {e} is {v}", "How do chemists write {e}?|What is the symbol for {e}?|What is the symbol of {e}?"
    ),
    ("element", "atomic_number"): _w("atomic number", "{e} has the atomic number {v}|{e} is element number {v}", "Which number does {e} have in the periodic table?"),
    ("element", "element_type"): _own("type", "{e} is a {v}|{e} counts as a {v}|{e} belongs to the {v} group", "What kind of element is {e}?|What type of element is {e}?"),
    ("element", "phase"): _own(
        "state", "{e} is a {v} at room temperature|at room temperature {e} is {v}", "Is {e} solid, liquid or gas?|What state is {e} in at room temperature?"
    ),
    ("element", "discoverer"): _own("discoverer", "{e} was discovered by {v}|{v} discovered {e}", "Who discovered {e}?|Who found {e}?|By whom was {e} discovered?"),
    ("element", "discovery_year"): _own("discovery", "{e} was discovered in {v}|the discovery of {e} dates from {v}", "When was {e} discovered?|In which year was {e} discovered?"),
    ("element", "period"): _own("period", "{e} stands in period {v}|{e} is in period {v} of the table", "Which period is {e} in?|In which period does {e} stand?"),
    ("element", "element_group"): _own("group", "{e} stands in group {v}|{e} is in group {v} of the table", "Which group is {e} in?|In which group does {e} stand?"),
    ("us_state", "state_capital"): _w(
        "capital", "{v} is the capital of {e}|the state capital of {e} is {v}", "Which city is the capital of {e}?|What is the state capital of {e}?|What's the capital of {e}?"
    ),
    ("us_state", "nickname"): _own("nickname", "{e} is called the {v}|the nickname of {e} is the {v}", "What is the nickname of {e}?|What is {e} also called?"),
    ("us_state", "postal_code"): _own("postal code", "the postal code of {e} is {v}|{e} is shortened to {v}", "What is the postal code of {e}?|How is {e} shortened?"),
    ("us_state", "admission_year"): _own(
        "admission", "{e} joined the Union in {v}|{e} became a state in {v}", "When did {e} become a state?|When did {e} join the Union?|In which year did {e} become a state?"
    ),
    ("us_state", "state_region"): _own("region", "{e} lies in {v}|{e} is a state in {v}", "Which part of the United States is {e} in?|Where is {e}?"),
    ("river", "outflow"): _own(
        "mouth", "the river {e} flows into {v}|the {e} empties into {v}|the {e} ends in {v}",
        "Where does the river {e} flow?|What does the river {e} flow into?|Where does the {e} end?|Into which water does the {e} flow?",
    ),
    ("river", "continent"): _own("continent", "the river {e} is in {v}|the {e} flows through {v}", "Where is the river {e}?|On which continent is the river {e}?"),
    ("olympics", "host_city"): _own("host city", "the {e} were held in {v}|{v} hosted the {e}", "Where were the {e} held?|Which city hosted the {e}?|Who hosted the {e}?"),
    ("olympics", "host_country"): _own("host country", "the {e} took place in {v}|the host country of the {e} was {v}", "In which country were the {e}?|Which country hosted the {e}?"),
    ("book", "author"): _own("author", "\"{e}\" was written by {v}|{v} wrote \"{e}\"|the author of \"{e}\" is {v}", "Who wrote \"{e}\"?|Who is the author of \"{e}\"?|Who wrote {e}?|Who wrote the book \"{e}\"?"),
    ("president", "party"): _own("party", "{e} was a {v}|the party of {e} was {v}", "What was the party of {e}?|Which party did {e} belong to?"),
    ("president", "took_office"): _own("first year in office", "{e} became president in {v}|{e} took office in {v}", "When did {e} become president?|When did {e} take office?"),
    ("president", "left_office"): _own("last year in office", "{e} left office in {v}|the presidency of {e} ended in {v}", "When did {e} leave office?|When did the presidency of {e} end?"),
    ("president", "birth_year"): _own("birth", "{e} was born in {v}|the birth year of {e} is {v}", "When was {e} born?|In which year was {e} born?"),
    ("president", "presidency_number"): _own("number", "{e} was the {v} president|{e} was the {v} president of the United States", "Which number among the presidents was {e}?|Which president was {e}?"),
    ("planet", "position"): _own("position", "{e} is the {v} planet from the Sun", "Which planet from the Sun is {e}?|What is the position of {e} from the Sun?"),
    ("planet", "planet_type"): _own("type", "{e} is a {v}|{e} counts as a {v}", "What kind of planet is {e}?|What type of planet is {e}?"),
    ("planet", "moon_count"): _own("moons", "{e} has {v} moons|the number of moons of {e} is {v}", "How many moons does {e} have?"),
    ("moon", "planet"): _own("planet", "the moon {e} belongs to {v}|{e} is a moon of {v}|{e} circles {v}", "Which planet does the moon {e} belong to?|Which planet does {e} circle?|{e} is a moon of which planet?"),
    ("egyptian_god", "deity_type"): _own("kind", "{e} was an Egyptian {v}|the Egyptians knew {e} as a {v}", "Was {e} a god or a goddess?|Who was {e} in Egypt?"),
    ("egyptian_god", "depicted_as"): _own("picture", "{e} was shown as a {v}|the Egyptians drew {e} as a {v}", "How was {e} shown in Egypt?|How did the Egyptians draw {e}?"),
    ("egyptian_god", "associated_with"): _own("field", "{e} stood for {v} in Egypt|the Egyptians linked {e} with {v}", "What did {e} stand for in Egypt?|What was {e} linked with in Egypt?"),
    ("greek_figure", "greek_type"): _own("kind", "{e} was a Greek {v}|the Greeks knew {e} as a {v}", "Who was {e} in Greek myth?|What was {e} in Greek myth?"),
    ("animal", "adjective"): _own("adjective", "the adjective for {e} is {v}|something like a {e} is {v}", "What is the adjective for {e}?|Which adjective belongs to the {e}?"),
}

_FAULTS = str.maketrans("", "", "?.")


def named(fact: Fact) -> str:
    """The entity as it stands in a sentence."""
    return f"the {fact.entity}" if fact.entity in ARTICLES else fact.entity


def wording(fact: Fact) -> Wording:
    """Raises KeyError for an attribute nobody has worded (a test holds that none is)."""
    return WORDINGS[fact.kind, fact.attribute]


def sentence(text: str) -> str:
    """First letter large."""
    return text[:1].upper() + text[1:]


def _fill(template: str, fact: Fact) -> str:
    text = template.format(e=named(fact), v=fact.value)
    if " a {v}" in template:
        own = fact.value.split(" ", 1)[0] in ("a", "an", "the")  # the value brings its own article
        before = " " if own else " an " if fact.value[:1].lower() in "aeiou" and not fact.value.lower().startswith(("uni", "eu")) else " a "
        text = template.replace(" a {v}", before + "{v}").format(e=named(fact), v=fact.value)
    return text.replace("the the ", "the ").replace("the The ", "The ")


def statement(fact: Fact, rng: random.Random, template: str | None = None) -> str:
    """A whole clause without a full stop, for example "the capital of Peru is Lima"."""
    return _fill(template or rng.choice(wording(fact).says), fact)


def question(fact: Fact, rng: random.Random, tidy: float = 0.7) -> str:
    """A question as people type it: with probability `tidy` well formed, else lower case, unmarked or with a slip."""
    text = sentence(_fill(rng.choice(wording(fact).asks), fact))
    if rng.random() < tidy:
        return text
    fault = rng.random()
    if fault < 0.35:
        return text.translate(_FAULTS)
    if fault < 0.75:
        return text.lower() if fault < 0.55 else text.lower().translate(_FAULTS)
    return slip(text, fact.entity, rng)


def slip(text: str, keep: str, rng: random.Random) -> str:
    """One typing slip (a letter lost, doubled or swapped) in a word that is not part of `keep`."""
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 3 and w.isalpha() and w not in keep]
    if not able:
        return text
    index = rng.choice(able)
    word = words[index]
    cut = rng.randrange(1, len(word) - 1)
    words[index] = rng.choice([word[:cut] + word[cut + 1 :], word[:cut] + word[cut] + word[cut:], word[: cut - 1] + word[cut] + word[cut - 1] + word[cut + 1 :]])
    return " ".join(words)
