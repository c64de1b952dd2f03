"""Words of the generated texts: names, days, things, qualities and verbs."""

from __future__ import annotations

from demo_model.grammar import listed

DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
WOMEN = listed(
    "Anna Mira Clara Ruth Elena Nadia Iris Hana Sofia Lucy Maria Agnes Nora Vera Judith Amara Leila Ingrid Rosa "
    "Tess Edith Joan Priya Wanda Esther Alice Carmen Fatima Greta Helen"
)
MEN = listed(
    "Tom Paul Samuel Omar Peter Viktor Leo Martin Hugo Daniel Ravi Jonas Arthur Felix Henry Karim Walter Simon "
    "Anton Oscar Miguel David Ivan Edgar Ben Joseph Noah Luis Frank George"
)
QUALITIES = listed(
    "green heavy quiet warm hollow bright hungry careful honest patient curious slow brave round dry soft clever tall"
)
PAIRS = listed(
    "tall taller short shorter|old older young younger|heavy heavier light lighter|fast faster slow slower|"
    "rich richer poor poorer|strong stronger weak weaker|loud louder quiet quieter|near nearer far farther|"
    "warm warmer cold colder|bright brighter dark darker|long longer short shorter|high higher low lower|"
    "hot hotter cold colder|wide wider narrow narrower|new newer old older|early earlier late later"
)
FOR_PEOPLE = 7  # the first so many pairs compare people
IFS = listed(
    "it rains;the street gets wet;the street is dry|the bell rings;the dog barks;the dog is silent|"
    "the lamp is on;the room is bright;the room is dark|the door is locked;nobody can come in;somebody came in|"
    "the key is lost;the door stays closed;the door is open|the fire burns;the kettle is hot;the kettle is cold|"
    "the shop is closed;the window is dark;the window is bright|the train is late;Paul waits;Paul does not wait|"
    "the number is even;it can be divided by two;it cannot be divided by two|the wind blows;the gate moves;"
    "the gate does not move|someone is at home;the light is on;the light is off|the ice melts;the water rises;"
    "the water does not rise|the alarm sounds;the guard wakes;the guard is asleep|it is Sunday;the school is closed;"
    "the school is open|the curtain is open;one can see the garden;one cannot see the garden"
)
VERBS = listed(
    "open opens opened opening|close closes closed closing|watch watches watched watching|see sees saw seeing|"
    "read reads read reading|carry carries carried carrying|find finds found finding|write writes wrote writing|"
    "paint paints painted painting|break breaks broke breaking|hold holds held holding|lose loses lost losing|"
    "bring brings brought bringing|clean cleans cleaned cleaning|follow follows followed following|"
    "hide hides hid hiding|buy buys bought buying|choose chooses chose choosing|draw draws drew drawing"
)
WORDS = {
    "person": listed(
        "actor artist author baker banker barber builder butcher captain carpenter chemist clerk coach cook dancer "
        "doctor driver engineer farmer friend gardener guard guest hunter judge king lawyer librarian mayor "
        "mechanic messenger miner musician neighbour nurse officer painter pilot player poet porter priest prince "
        "princess printer queen reader sailor scientist shepherd singer sister soldier student surgeon tailor "
        "teacher thief tourist traveller uncle waiter weaver witness worker writer"
    ),
    "animal": listed(
        "ant antelope bear beaver bee bird bull camel cat cow crab crow dog dolphin donkey duck eagle elephant falcon "
        "fox frog goat hare hawk hen horse kitten lamb lion lizard monkey moth owl parrot peacock penguin pig pigeon "
        "rabbit rat robin seal shark snail snake spider squirrel swan tiger turtle whale worm zebra"
    ),
    "food": listed(
        "apple banana biscuit bean berry cake carrot cherry egg fig grape lemon loaf melon nut olive onion orange "
        "peach pear pie plum potato radish sandwich sausage tart tomato turnip"
    ),
    "plant": listed(
        "bush cactus cedar daisy elm fern flower herb lily maple oak orchid palm pine poppy rose shrub thistle tree "
        "tulip vine violet weed willow"
    ),
}
IRREGULAR = {"loaf": "loaves", "thief": "thieves", "tomato": "tomatoes", "potato": "potatoes", "cactus": "cacti"}
ADVERBS = listed("slowly quickly carefully often never always quietly sometimes again")


def plural(noun: str) -> str:
    """Form the plural of a noun."""
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun[:-3]}men" if noun.endswith("man") else f"{noun}s"
