"""Word tables for compile_countries: everyday names, spellings and the exceptions its parsers need.

Two-letter keys are GEC country codes (the Factbook's file names), not ISO codes. Holds data only. A table
overrides the Factbook only where the field's text cannot be cut into one clean value.
"""

MAX_NAME_CHARS = 32
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
ODD_LETTERS = str.maketrans({
    "ð": "d", "Ð": "D", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ı": "i", "ß": "ss", "æ": "ae", "Æ": "Ae",
    "œ": "oe",
    "đ": "d", "Đ": "D", "ħ": "h", "Ħ": "H", "þ": "th", "Þ": "Th", "ə": "a", "Ə": "A", "–": "-", "—": "-",
    "‑": "-",
    "‘": "'", "’": "'", "ʻ": "'", "ʼ": "'", "`": "'", "“": '"', "”": '"', "„": '"', "\xa0": " ",
})  # fmt: skip

# Oceans, the world, the EU, bases, and islands without a settled population.
SKIPPED = frozenset("ay bv fs hm at cr um wq bq ax dx ee jn ip sx io pf pg oo xo xq zh zn xx".split())
NAMES = {
    "cf": "Republic of the Congo", "cg": "Democratic Republic of the Congo", "ct": "Central African Republic",
    "cv": "Cape Verde", "iv": "Ivory Coast", "ga": "Gambia", "bf": "Bahamas", "sh": "Saint Helena",
    "fm": "Micronesia", "dr": "Dominican Republic", "bm": "Myanmar", "vt": "Vatican City", "ez": "Czechia",
    "ae": "United Arab Emirates", "gz": "Gaza Strip", "sv": "Svalbard", "fk": "Falkland Islands",
    "ck": "Cocos Islands",
    "vq": "United States Virgin Islands", "tu": "Turkey", "uv": "Burkina Faso", "us": "United States",
    "uk": "United Kingdom", "wi": "Western Sahara",
}  # fmt: skip
BORDER_NAMES = {
    "Burma": "Myanmar", "Cote d'Ivoire": "Ivory Coast", "Czech Republic": "Czechia",
    "Holy See": "Vatican City",
    "Macedonia": "North Macedonia", "The Gambia": "Gambia", "UAE": "United Arab Emirates",
    "UK": "United Kingdom",
    "US": "United States", "US Naval Base at Guantanamo Bay": "United States", "French Guiana": "France",
}  # fmt: skip
CONTINENTS = {
    "africa": "Africa", "australia-oceania": "Oceania", "central-america-n-caribbean": "North America",
    "central-asia": "Asia", "east-n-southeast-asia": "Asia", "europe": "Europe", "middle-east": "Asia",
    "north-america": "North America", "south-america": "South America", "south-asia": "Asia", "rs": "Europe",
}  # fmt: skip
CAPITALS = {
    "bm": "Naypyidaw", "ce": "Sri Jayewardenepura Kotte", "bf": "Nassau", "nr": "Yaren", "md": "Chisinau",
    "by": "Gitega", "kt": "Flying Fish Cove", "ve": "Caracas", "ch": "Beijing",
    "iv": "Yamoussoukro", "tt": "Dili", "wz": "Mbabane", "td": "Port of Spain", "sm": "San Marino",
}  # fmt: skip
DOLLAR_USERS = frozenset("us es ec tt ps fm rm".split())
CURRENCIES = {
    "Cabo Verdean escudos": "Cape Verdean escudo",
    "Communaute Financiere Africaine francs": "CFA franc",
    "Cooperation Financiere en Afrique Centrale francs": "CFA franc",
    "Comptoirs Francais du Pacifique francs": "CFP franc", "konvertibilna markas": "convertible mark",
    "Renminbi yuan": "yuan", "new Israeli shekels": "Israeli shekel", "nuevo sol": "sol",
    "Aruban guilders/florins": "Aruban florin", "togrog/tugriks": "tugrik",
    "British pounds": "pound sterling",
    "Guernsey pound per US dollar": "Guernsey pound", "Jersey pounds per US dollar": "Jersey pound",
    "Tuvaluan dollars": "Australian dollar", "note: uses the euro": "euro",
    "see entry for the West Bank": "Israeli shekel",
}  # fmt: skip
COINS = {
    "maloti": "loti", "emalangeni": "lilangeni", "meticais": "metical", "colones": "colon",
    "quetzales": "quetzal",
    "leke": "lek", "leva": "lev", "koruny": "koruna", "lei": "leu", "zlotych": "zloty", "kroner": "krone",
    "kronur": "krona", "kronor": "krona",
}  # fmt: skip
CURRENCY_CODES = {
    "GHC": "GHS", "MZM": "MZN", "ZMK": "ZMW", "TMM": "TMT", "AFA": "AFN", "VEB": "VES", "BYB": "BYN",
    "MRO": "MRU",
    "STD": "STN", "KD": "KWD", "RMB": "CNY", "SAT": "WST", "wz": "SZL", "th": "THB", "aa": "AWG", "uk": "GBP",
    "gz": "ILS",
}  # fmt: skip
DEMONYMS = {"hk": "", "sn": "Singaporean", "lu": "Luxembourgish", "rp": "Filipino", "iv": "Ivorian",
    "cv": "Cape Verdean", "kn": "North Korean", "ks": "South Korean", "nr": "Nauruan",
    "ek": "Equatorial Guinean", "ac": "Antiguan",
            "tw": "Taiwanese", "ls": "Liechtensteiner", "nz": "New Zealand", "bk": "Bosnian",
    "wf": "Wallisian"}  # fmt: skip
LANGUAGES = {
    "pa": "Spanish", "md": "Romanian", "kg": "Kyrgyz", "bg": "Bengali",
    "et": "Amharic", "sf": "Zulu", "uv": "French", "ml": "Bambara", "gh": "English", "za": "English",
    "ug": "English",
    "mp": "English", "ss": "English", "nh": "Bislama", "wi": "Arabic", "in": "Hindi", "pk": "Urdu",
    "rp": "Filipino",
    "tt": "Tetum", "wa": "English", "by": "Kirundi", "fm": "English", "bp": "English", "vt": "Italian",
    "cq": "Chamorro", "kz": "Kazakh", "bo": "Russian", "ce": "Sinhala", "sn": "English", "af": "Dari",
    "hk": "Cantonese",
    "nz": "English", "be": "Dutch", "sz": "German", "no": "Norwegian", "ae": "Arabic", "ti": "Tajik",
    "ls": "German",
    "lu": "Luxembourgish", "up": "Ukrainian", "my": "Malay", "sc": "English", "bl": "Spanish",
    "pe": "Spanish",
    "Bahasa Indonesia": "Indonesian", "Bahasa Malaysia": "Malay", "Standard Chinese": "Mandarin Chinese",
    "Mandarin": "Mandarin Chinese", "Kiswahili": "Swahili", "Castilian Spanish": "Spanish",
    "Castilian": "Spanish",
    "Persian Farsi": "Persian", "Farsi": "Persian", "Bokmal Norwegian": "Norwegian",
    "Gilbertese": "Gilbertese",
}  # fmt: skip
RELIGIONS = {
    "vm": "",  # the text lists shares of a few percent only
    "Catholic": "Roman Catholic", "Islam": "Muslim", "Evangelical Lutheran": "Lutheran",
    "Church of Norway": "Lutheran",
    "Church of Sweden": "Lutheran", "Evangelical Lutheran Church of Iceland": "Lutheran",
    "Shintoism": "Shinto",
    "Eastern Orthodox Christian": "Eastern Orthodox", "Lamaistic Buddhist": "Buddhist",
    "Buddhist or Taoist": "Buddhist",
    "traditionally Buddhist and Confucian": "Buddhist", "Orthodox": "Orthodox Christian",
    "Apostolic Sect": "Protestant",
    "Ekalesia Niue": "Protestant", "Congregational Christian Church": "Protestant",
} | {name: name for name in (
    "Muslim", "Roman Catholic", "Protestant", "Christian", "Buddhist", "Evangelical", "Sunni Muslim",
    "Hindu", "Lutheran",
    "Eritrean Orthodox", "Ethiopian Orthodox", "Anglican", "Seventh Day Adventist", "Armenian Apostolic",
    "Russian Orthodox", "Greek Orthodox", "Serbian Orthodox", "Romanian Orthodox", "Jewish",
)}  # fmt: skip
GOVERNMENTS = {"af": "theocracy", "ch": "communist state", "la": "communist state", "vm": "communist state",
     "hk": "", "mc": "", "cy": "presidential republic",
    "ti": "presidential republic", "mu": "absolute monarchy", "vt": "elective monarchy",
               "bx": "absolute monarchy", "aq": "territory", "cq": "commonwealth", "gq": "territory",
    "rq": "commonwealth",
               "vq": "territory", "nf": "territory", "ck": "territory", "kt": "territory",
    "rm": "presidential republic",
               "sv": "territory", "sz": "federal republic", "us": "federal republic",
    "bd": "overseas territory"}  # fmt: skip
GOVERNMENT_ENDINGS = ("republic", "democracy", "monarchy", "state", "territory", "federation", "monarchies",
    "dictatorship",
                      "regime", "commonwealth", "theocracy")  # fmt: skip
# (year, ruler) where the text gives several dates or names no ruler.
INDEPENDENCE = {
    "bt": ("", ""),
    "us": ("1776", "Great Britain"), "mx": ("1821", "Spain"), "cu": ("1902", "the United States"),
    "ha": ("1804", "France"),
    "ei": ("1922", "the United Kingdom"), "ca": ("1867", "the United Kingdom"), "no": ("1905", "Sweden"),
    "ic": ("1944", "Denmark"), "lo": ("1993", "Czechoslovakia"), "ez": ("1993", "Czechoslovakia"),
    "lg": ("1991", "the Soviet Union"),
    "lh": ("1990", "the Soviet Union"), "en": ("1991", "the Soviet Union"), "gg": ("1991",
    "the Soviet Union"),
    "nl": ("1581", "Spain"), "be": ("1830", "the Netherlands"), "bk": ("1992", "Yugoslavia"), "mk": ("1991",
    "Yugoslavia"),
    "mj": ("2006", "Serbia"), "ri": ("2006", ""), "is": ("1948", "the United Kingdom"), "in": ("1947",
    "the United Kingdom"),
    "pk": ("1947", "the United Kingdom"), "eg": ("1922", "the United Kingdom"), "sf": ("1910",
    "the United Kingdom"),
    "pu": ("1973", "Portugal"), "as": ("1901", "the United Kingdom"), "rp": ("1898", "Spain"),
    "ro": ("1877", "the Ottoman Empire"),
    "bu": ("1908", "the Ottoman Empire"), "so": ("1960", "Italy and the United Kingdom"), "ly": ("1951", ""),
    "ks": ("1945", "Japan"), "kn": ("1945", "Japan"), "mg": ("1921", "China"), "nr": ("1968", "Australia"),
    "sg": ("1960", "France"), "tt": ("2002", "Indonesia"), "al": ("1912", "the Ottoman Empire"),
    "li": ("1847", ""),
    "ma": ("1960", "France"), "mo": ("1956", "France"), "po": ("", ""), "pl": ("1918", ""), "fi": ("1917",
    "Russia"),
    "hu": ("1918", ""), "mn": ("", ""), "sw": ("1523", ""), "ae": ("1971", "the United Kingdom"),
    "cs": ("1821", "Spain"),
    "cm": ("1960", "France"), "tz": ("1961", "the United Kingdom"), "vm": ("1945", "France"), "sn": ("1965",
    "Malaysia"),
    "ve": ("1811", "Spain"), "up": ("1991", "the Soviet Union"), "pm": ("1903", "Colombia"), "ym": ("", ""),
    "ch": ("", ""),
    "ni": ("1960", "the United Kingdom"), "ss": ("2011", "Sudan"), "rs": ("", ""), "lu": ("1839",
    "the Netherlands"),
    "da": ("", ""), "bm": ("1948", "the United Kingdom"), "pa": ("1811", "Spain"), "kv": ("2008", "Serbia"),
}  # fmt: skip
RULERS = (
    (r"France and the UK", "France and the United Kingdom"), (r"Egypt and the UK",
    "Egypt and the United Kingdom"),
    (r"UK|British|Britain", "the United Kingdom"), (r"French|France", "France"), (r"Belgi", "Belgium"),
    (r"Soviet", "the Soviet Union"),
    (r"South Africa", "South Africa"), (r"New Zealand", "New Zealand"), (r"US", "the United States"),
    (r"Ottoman", "the Ottoman Empire"),
    (r"Netherlands", "the Netherlands"), (r"Papua|Australia", "Australia"), (r"^Spain", "Spain"),
    (r"^Portugal", "Portugal"),
    (r"^Yugoslavia", "Yugoslavia"), (r"^Ethiopia", "Ethiopia"), (r"^Sudan", "Sudan"), (r"^Haiti", "Haiti"),
    (r"^Brazil", "Brazil"),
    (r"^Pakistan", "Pakistan"), (r"^Colombia", "Colombia"), (r"^Malaysia", "Malaysia"), (r"^Serbia",
    "Serbia"),
)  # fmt: skip
HIGHEST_POINTS = {"rs": "Mount Elbrus", "nz": "Mount Cook", "iv": "Mont Nimba", "cm": "Mount Cameroon",
    "it": "Mont Blanc", "np": "Mount Everest", "ch": "Mount Everest", "ke": "Mount Kenya",
                  "us": "Mount McKinley", "sa": "", "pk": "K2", "ar": "Cerro Aconcagua",
    "po": "Ponta do Pico", "my": "Gunung Kinabalu",
                  "cv": "Mount Fogo", "gy": "", "rm": "", "tz": "Kilimanjaro", "gr": "Mount Olympus",
    "bf": "", "mv": ""}  # fmt: skip
# For these the Factbook lists "God Save the King" first and their own anthem second.
ANTHEMS = {
    "as": "Advance Australia Fair", "ca": "O Canada", "nz": "God Defend New Zealand",
    "bf": "March On, Bahamaland",
    "ac": "Fair Antigua, We Salute Thee", "bh": "Land of the Free", "gj": "Hail Grenada",
    "sc": "O Land of Beauty",
    "st": "Sons and Daughters of Saint Lucia", "vc": "Saint Vincent, Land So Beautiful",
    "tv": "Tuvalu for the Almighty",
    "bp": "God Save Our Solomon Islands", "sz": "Swiss Psalm", "aq": "Amerika Samoa",
    "rq": "The Song of Borinquen",
    "gq": "Stand Ye Guamanians", "gl": "You Our Ancient Land", "sn": "Onward, Singapore",
    "fr": "La Marseillaise",
    "ch": "The March of the Volunteers", "sf": "", "zi": "Blessed Be the Land of Zimbabwe",
    "jm": "Jamaica, Land We Love",
}  # fmt: skip
SYMBOLS = {"mz": "", "ks": "taegeuk", "us": "bald eagle", "in": "Lion Capital of Ashoka", "pe": "vicuna",
    "uk": "lion", "vm": "yellow star",
           "bo": "", "be": "golden lion", "qa": "", "ba": "", "ez": "silver double-tailed lion", "cw": "",
    "fm": "", "et": "lion"}  # fmt: skip
CITY_ALIASES = {
    "Nur-Sultan": "Astana", "West Yorkshire": "", "West Rand": "", "Rangoon": "Yangon",
    "Mombassa": "Mombasa", "Nothaburi": "Nonthaburi", "Songkla": "Songkhla",
    "New York-Newark": "New York", "Los Angeles-Long Beach-Santa Ana": "Los Angeles",
    "Dallas-Fort Worth": "Dallas",
    "Marseille-Aix-en-Provence": "Marseille", "Tel Aviv-Yafo": "Tel Aviv", "Kitakyushu-Fukuoka": "Fukuoka",
    "Shizuoka-Hamamatsu": "Shizuoka", "Esfahan": "Isfahan", "Daejon": "Daejeon", "Toluca de Lerdo": "Toluca",
    "Blantyre-Limbe": "Blantyre", "Hargeysa": "Hargeisa", "Southampton/Portsmouth": "Southampton",
    "Ar-Rayyan": "Ar Rayyan",
    "Dnipropetrovsk": "Dnipro", "Port-Of-Spain": "Port of Spain", "Kuwait": "Kuwait City",
    "Bogra": "Bogura", "Nizhniy Novgorod":
    "Nizhny Novgorod", "Ad Dammam": "Dammam", "Hims": "Homs", "Bur Sa'id": "Port Said",
    "Chittagong": "Chattogram",
    "Cagayan de Oro City": "Cagayan de Oro", "Shimkent": "Shymkent", "Sekondi Takoradi": "Sekondi-Takoradi",
    "Port-Of-spain": "Port of Spain", "Dar Es Salaam": "Dar es Salaam", "San Jose": "San Jose",
}  # fmt: skip
# The Factbook lists only the capital although another town is larger, or lists suburbs as towns.
LARGEST_CITY_NOT_LISTED = frozenset("bh ls fm ps sm mt wz td bn ga nn qa cq wf gq lt nr vt ck kv by".split())

# No first-level divisions, or a text without a clean list of them.
NO_DIVISIONS = frozenset("wi sn im kr ne be bk cy sh fp pf gz we mc hk is".split())
# Brackets contain the older name, another language or the seat, not the English name.
OUTER_NAMES = frozenset(
    "rs kz kg uz tx ti tt up gg ts kv fm cn bo cm bm ks tu tw co iz ee aj ke vq es be cb vm".split()
)
LANGUAGE_TAGS = frozenset(("Arabic", "Kurdish", "Castilian", "Catalan", "Aranese", "Valencian", "Basque",
    "Finnish", "Swedish",
                           "German", "French", "Dutch", "Italian", "Papiamento", "city",
    "Finnish and Swedish"))  # fmt: skip
SLASH_JOINS = frozenset("ke td tz gj".split())  # one name; "/" gives a second spelling elsewhere
DIVISION_RENAMES = {
    "Lands of the Loire": "Pays de la Loire", "Center-Loire Valley": "Centre-Val de Loire",
    "Upper France": "Hauts-de-France",
    "Holy Cross": "Swietokrzyskie", "Newland": "Uusimaa", "Tampere": "Pirkanmaa",
    "Grand East": "Grand Est", "New Aquitaine": "Nouvelle-Aquitaine",
}  # fmt: skip
# Ambiguous names that nearly every English reader associates with one country.
DIVISION_OWNERS = {"Florida": "United States", "Maryland": "United States", "Montana": "United States"}
NAME_TAILS = (
    r" (?:Oblusu|Shaary|Viloyati|Shahri|Velayat|Respublikasi|Province|[Cc]ounty|Republic|Region|Viloyat|"
    r"Oblast|municipality|District|Citta)$"
)
# The end of the preamble before the first heading of a list.
GLUED_TYPES = (
    r"^(?:chartered cities|ward|union territory|council areas|city and district councils|city councils|"
    r"district councils|see) (?=\w+s\b|\w+ councils|council|autonomous|borough)"
)
DIVISION_TYPES = frozenset(
    "province region department state county district governorate municipality parish prefecture city "
    "borough canton commune emirate division territory dependency island atoll republic oblast area quarter "
    "village locality ward precinct council unit community authority entity zone voivodship raion "
    "subject".split()
)
GENERIC_NAMES = frozenset((
    "Central", "Centre", "Center", "Centrale", "Northern", "Southern", "Eastern", "Western", "North",
    "South", "East", "West", "Capital",
    "Coast", "North East", "North West", "South East", "South West", "North-West", "South-West",
    "North Western", "North-Western",
    "North Eastern", "North Central", "South Central", "Nord", "Sud", "Est", "Ouest", "Littoral", "Litoral",
    "Maritime", "Plateau", "Plateaux",
    "Lakes", "Unity", "Bay", "Gulf", "Delta", "Rivers", "Islands", "Far North", "Federal Capital Territory",
    "Capital District",
    "Federal District", "Distrito Federal", "Distrito Nacional", "Distrito Capital", "Federal Dependencies",
    "National Capital", "Northern Islands",
    "West Coast", "North Bank", "Lower River", "Upper River", "Central River", "Free State", "Red Sea",
    "New Valley", "Upper East",
    "Upper West", "Western North", "Northern Border", "Outer Islands", "Highlands", "Savannah", "Nurafshon",
    "Centar", "Grad",
    "Nord-Est", "Nord-Ouest", "Sud-Est", "Sud-Ouest", "Oriental", "Midlands", "Forest", "Vale", "East End",
    "North Side",
    "West Bay", "Northern Region", "Eastern Region", "Capital Region", "Colonia", "Colon", "Central Region",
    "Lacs", "Montagnes",
    "Moskva", "Ha Noi", "Nay Pyi Taw", "Nizhniy Novgorod", "New Taipei", "Jewish", "Finnish and Swedish",
    "Sankt-Peterburg", "P'yongyang", "Ad Dawhah", "Hewler", "Cuidad de Mexico", "Zuerich", "Chair", "Paul",
    "Isla", "Lib", "Islands Province", "North Province", "South Province", "Upper Nile River", "Castle",
    "Trinity", "Central Province",
    "Northwest Territories Council", "Nohiyahoi Tobei Jumhuri", "Sao Miguel Council", "Black Point", "Ada",
    "Lac", "Pool", "San",
    "Sal", "Bar", "Ub", "Sid", "Bor", "Nis", "Raca", "Titel", "Autonomous City", "City", "Tsentralen",
))  # fmt: skip
