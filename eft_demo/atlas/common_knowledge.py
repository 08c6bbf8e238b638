"""Facts for the Atlas table that no list contains: written from general knowledge and checked twice.

Knows the US states' postal code, admission year, region and nickname; the everyday names of US presidents;
which water a river itself meets, and its continent; the planets' order, type and (where settled) number of
moons; the Olympic Games after 2018; calling code and driving side of countries by their everyday names.
Does not know where a fact is used: `compile_lists` merges these facts with the lists.
"""


def pairs(text: str) -> dict[str, str]:
    """'a = b; c = d' as a dictionary."""
    return {left.strip(): right.strip() for left, right in (item.split("=") for item in text.split(";"))}


def names(text: str) -> list[str]:
    """'a; b' as a list."""
    return [name.strip() for name in text.split(";")]


# postal code, admission year, region, nickname
STATES = pairs("""
Alabama=AL,1819,South,the Yellowhammer State; Alaska=AK,1959,West,the Last Frontier;
Arizona=AZ,1912,West,the Grand Canyon State; Arkansas=AR,1836,South,the Natural State;
California=CA,1850,West,the Golden State; Colorado=CO,1876,West,the Centennial State;
Connecticut=CT,1788,Northeast,the Constitution State; Delaware=DE,1787,South,the First State;
Florida=FL,1845,South,the Sunshine State; Hawaii=HI,1959,West,the Aloha State;
Idaho=ID,1890,West,the Gem State; Illinois=IL,1818,Midwest,the Prairie State;
Indiana=IN,1816,Midwest,the Hoosier State; Iowa=IA,1846,Midwest,the Hawkeye State;
Kansas=KS,1861,Midwest,the Sunflower State; Kentucky=KY,1792,South,the Bluegrass State;
Louisiana=LA,1812,South,the Pelican State; Maine=ME,1820,Northeast,the Pine Tree State;
Maryland=MD,1788,South,the Old Line State; Massachusetts=MA,1788,Northeast,the Bay State;
Michigan=MI,1837,Midwest,the Great Lakes State; Minnesota=MN,1858,Midwest,the North Star State;
Mississippi=MS,1817,South,the Magnolia State; Missouri=MO,1821,Midwest,the Show-Me State;
Montana=MT,1889,West,the Treasure State; Nebraska=NE,1867,Midwest,the Cornhusker State;
Nevada=NV,1864,West,the Silver State; New Hampshire=NH,1788,Northeast,the Granite State;
New Jersey=NJ,1787,Northeast,the Garden State; New Mexico=NM,1912,West,the Land of Enchantment;
New York=NY,1788,Northeast,the Empire State; North Carolina=NC,1789,South,the Tar Heel State;
North Dakota=ND,1889,Midwest,the Peace Garden State; Ohio=OH,1803,Midwest,the Buckeye State;
Oklahoma=OK,1907,South,the Sooner State; Oregon=OR,1859,West,the Beaver State;
Pennsylvania=PA,1787,Northeast,the Keystone State; Rhode Island=RI,1790,Northeast,the Ocean State;
South Carolina=SC,1788,South,the Palmetto State; South Dakota=SD,1889,Midwest,the Mount Rushmore State;
Tennessee=TN,1796,South,the Volunteer State; Texas=TX,1845,South,the Lone Star State;
Utah=UT,1896,West,the Beehive State; Vermont=VT,1791,Northeast,the Green Mountain State;
Virginia=VA,1788,South,the Old Dominion; West Virginia=WV,1863,South,the Mountain State;
Wisconsin=WI,1848,Midwest,the Badger State; Wyoming=WY,1890,West,the Equality State
""")

# What the river itself flows into, where the list is wrong or gives the end of the whole river system.
OUTFLOWS = pairs("""
Kagera=Lake Victoria; Ucayali=Amazon; Missouri=Mississippi; Angara=Yenisei; Selenge=Lake Baikal; Irtysh=Ob;
Argun=Amur; Darling=Murray; Euphrates=Shatt al-Arab; Mamore=Madeira; Naryn=Syr Darya; Niagara=Lake Ontario;
Breg=Danube; Panj=Amu Darya; Allegheny=Ohio; Uele=Ubangi; Uruguay=Rio de la Plata; Vltava=Elbe;
Sukhona=Northern Dvina; Paraiba do Sul=Atlantic Ocean; Cumberland=Ohio; Magdalena=Caribbean Sea;
Nile=Mediterranean Sea; Nelson=Hudson Bay; Araguaia=Tocantins; Ottawa=Saint Lawrence
""")

CONTINENTS = pairs("""
Africa=Nile,Kagera,Congo River,Niger River,Zambezi,Ubangi,Uele,Kasai,Orange River,Limpopo,Senegal River,
Blue Nile,Okavango,Volta,Jubba,Benue,Lomami,Vaal,Shire,Sankuru,Kwango,Draa,Gambia River,Aruwimi;
South America=Amazon,Ucayali,Parana,Tocantins,Araguaia,Madeira,Mamore,Purus,Sao Francisco,Japura,Pilcomayo,
Jurua,Orinoco,Xingu,Northern Salado,Tapajos,Guapore,Uruguay River,Paraguay River,Beni,
Putumayo River,Magdalena,
Maranon,Cauca,Iguacu,Iriri,Juruena,Madre de Dios,Tiete,Paraiba do Sul,Huallaga,Bermejo,Guaviare,Essequibo;
North America=Mississippi River,Missouri River,Mackenzie,Yukon,Saint Lawrence River,Niagara River,Rio Grande,
Nelson River,Arkansas River,Colorado River,Columbia River,Ohio River,Allegheny,Snake River,Platte,Pecos,
Fraser River,Brazos,Ottawa River,Athabasca,Canadian River,Green River,Milk River,James River,Cimarron,Liard,
Cumberland River,White River,Yellowstone River,Kuskokwim,Tennessee River,Gila;
Europe=Volga,Danube,Breg,Dnieper,Don,Pechora,Kama,Oka,Belaya,Dniester,Vyatka,Northern Dvina,Sukhona,Elbe,
Vltava,Rhine,Desna,Vychegda,Seversky Donets,Vistula,Daugava,Loire,Khoper,Tagus;
Australia=Murray River,Darling River,Murrumbidgee;
Asia=Yangtze,Yenisei,Angara,Selenge,Huang He,Ob,Irtysh,Amur,Argun,Lena,Mekong,Euphrates,Indus,Syr Darya,
Naryn,Salween,Lower Tunguska,Brahmaputra,Vilyuy,Ganges,Hooghly,Amu Darya,Panj,Kolyma,Katun,Ishim,Olenyok,
Aldan,Pearl River,Irrawaddy,Tarim,Vitim,Tigris,Songhua,Stony Tunguska,Indigirka,Khatanga,Tobol,Han River,
Godavari,Ili,Sutlej,Yamuna,Kura,Liao,Yalong,Olyokma,Krishna,Narmada,Zeya,Nen,Kizilirmak,Chindwin,Wu River,
Anadyr,Jialing,Chenab,Ghaghara,Huai,Aras
""")

# everyday names in order of office, Cleveland twice
PRESIDENTS = names(
    "George Washington; John Adams; Thomas Jefferson; James Madison; James Monroe; John Quincy Adams; "
    "Andrew Jackson; Martin Van Buren; William Henry Harrison; John Tyler; James K. Polk; Zachary Taylor; "
    "Millard Fillmore; Franklin Pierce; James Buchanan; Abraham Lincoln; Andrew Johnson; Ulysses S. Grant; "
    "Rutherford B. Hayes; James A. Garfield; Chester A. Arthur; Grover Cleveland; Benjamin Harrison; "
    "Grover Cleveland; William McKinley; Theodore Roosevelt; William Howard Taft; Woodrow Wilson; "
    "Warren G. Harding; Calvin Coolidge; Herbert Hoover; Franklin D. Roosevelt; Harry S. Truman; "
    "Dwight D. Eisenhower; John F. Kennedy; Lyndon B. Johnson; Richard Nixon; Gerald Ford; Jimmy Carter; "
    "Ronald Reagan; George H. W. Bush; Bill Clinton; George W. Bush; Barack Obama"
)

BIRTHDAYS = {"Herbert Hoover": "1874-08-10", "Dwight D. Eisenhower": "1890-10-14"}  # empty in the list

# position, type, number of moons (left empty where it still grows)
PLANETS = pairs("""
Mercury=first,terrestrial planet,0; Venus=second,terrestrial planet,0; Earth=third,terrestrial planet,1;
Mars=fourth,terrestrial planet,2; Jupiter=fifth,gas giant,; Saturn=sixth,gas giant,;
Uranus=seventh,ice giant,; Neptune=eighth,ice giant,
""")

LATER_GAMES = [
    ("2020 Summer", "Tokyo", "Japan"),
    ("2022 Winter", "Beijing", "China"),
    ("2024 Summer", "Paris", "France"),
]

# calling code after the name, * where one drives on the left
COUNTRIES = names("""
Afghanistan 93; Albania 355; Algeria 213; Andorra 376; Angola 244; Antigua and Barbuda 1 268*; Argentina 54;
Armenia 374; Australia 61*; Austria 43; Azerbaijan 994; Bahamas 1 242*; Bahrain 973; Bangladesh 880*;
Barbados 1 246*; Belarus 375; Belgium 32; Belize 501; Benin 229; Bhutan 975*; Bolivia 591;
Bosnia and Herzegovina 387; Botswana 267*; Brazil 55; Brunei 673*; Bulgaria 359; Burkina Faso 226;
Burundi 257; Cambodia 855; Cameroon 237; Canada 1; Cape Verde 238; Central African Republic 236; Chad 235;
Chile 56; China 86; Colombia 57; Comoros 269; Costa Rica 506; Croatia 385; Cuba 53; Cyprus 357*;
Czechia 420; Democratic Republic of the Congo 243; Denmark 45; Djibouti 253; Dominica 1 767*;
Dominican Republic 1 809; Ecuador 593; Egypt 20; El Salvador 503; Equatorial Guinea 240;
Eritrea 291; Estonia 372; Eswatini 268*; Ethiopia 251; Fiji 679*; Finland 358; France 33; Gabon 241;
Gambia 220; Georgia 995; Germany 49; Ghana 233; Greece 30; Grenada 1 473*; Guatemala 502; Guinea 224;
Guinea-Bissau 245; Guyana 592*; Haiti 509; Honduras 504; Hungary 36; Iceland 354; India 91*; Indonesia 62*;
Iran 98; Iraq 964; Ireland 353*; Israel 972; Italy 39; Ivory Coast 225; Jamaica 1 876*; Japan 81*;
Jordan 962; Kazakhstan 7; Kenya 254*; Kiribati 686*; Kosovo 383; Kuwait 965; Kyrgyzstan 996; Laos 856;
Latvia 371; Lebanon 961; Lesotho 266*; Liberia 231; Libya 218; Liechtenstein 423; Lithuania 370;
Luxembourg 352; Madagascar 261; Malawi 265*; Malaysia 60*; Maldives 960*; Mali 223; Malta 356*;
Marshall Islands 692; Mauritania 222; Mauritius 230*; Mexico 52; Micronesia 691; Moldova 373; Monaco 377;
Mongolia 976; Montenegro 382; Morocco 212; Mozambique 258*; Myanmar 95; Namibia 264*; Nauru 674*;
Nepal 977*; Netherlands 31; New Zealand 64*; Nicaragua 505; Niger 227; Nigeria 234; North Korea 850;
North Macedonia 389; Norway 47; Oman 968; Pakistan 92*; Palau 680; Panama 507; Papua New Guinea 675*;
Paraguay 595; Peru 51; Philippines 63; Poland 48; Portugal 351; Qatar 974; Republic of the Congo 242;
Romania 40; Russia 7; Rwanda 250; Saint Kitts and Nevis 1 869*; Saint Lucia 1 758*;
Saint Vincent and the Grenadines 1 784*; Samoa 685*; San Marino 378; Sao Tome and Principe 239;
Saudi Arabia 966; Senegal 221; Serbia 381; Seychelles 248*; Sierra Leone 232; Singapore 65*; Slovakia 421;
Slovenia 386; Solomon Islands 677*; Somalia 252; South Africa 27*; South Korea 82; South Sudan 211;
Spain 34; Sri Lanka 94*; Sudan 249; Suriname 597*; Sweden 46; Switzerland 41; Syria 963; Taiwan 886;
Tajikistan 992; Tanzania 255*; Thailand 66*; Timor-Leste 670*; Togo 228; Tonga 676*;
Trinidad and Tobago 1 868*; Tunisia 216;
Turkey 90; Turkmenistan 993; Tuvalu 688*; Uganda 256*; Ukraine 380; United Arab Emirates 971;
United Kingdom 44*; United States 1; Uruguay 598; Uzbekistan 998; Vanuatu 678; Venezuela 58; Vietnam 84;
Yemen 967; Zambia 260*; Zimbabwe 263*
""")
