"""Short stories of someone who hears, looks and sees: doors, peepholes, windows, sides, views and dates."""

from __future__ import annotations

import random

from demo_model.grammar import ORDINALS, Grammar, listed, sentence
from demo_model.vocabulary import DAYS, MEN, MONTHS, WOMEN

VISITORS = {
    "woman": ["woman in a grey coat", "tall woman with an umbrella", "woman carrying a suitcase", "young woman"],
    "man": ["man in a dark hat", "tall man with a lantern", "man holding a letter", "thin man in a long coat"],
    "boy": ["small boy with a parcel", "boy in a wet jacket", "boy with a torch"],
    "girl": ["girl with a red scarf", "girl holding a key", "little girl in yellow boots"],
    "neighbour": ["neighbour from the third floor", "worried neighbour", "neighbour with a dog"],
    "postman": ["postman with a heavy bag", "tired postman"],
    "policeman": ["policeman with a notebook", "young policeman"],
    "nurse": ["nurse in a white dress", "nurse with a small bag"],
    "stranger": ["stranger with a pale face", "stranger in black gloves", "quiet stranger"],
    "old man": ["bent old man", "old man with a stick"],
    "old woman": ["old woman with a basket", "smiling old woman"],
}
RULES = {
    "room": listed("kitchen|hall|bedroom|study|attic|cellar|dining room|library|bathroom|living room|workshop"),
    "building": listed("house|flat|cottage|hotel|inn|school|farm|tower|hospital|office|station|museum|cabin"),
    "door": listed("front door|back door|wooden door|heavy door|garden door|green door|cellar door|iron door"),
    "window": listed("window|kitchen window|small window|round window|upper window|bay window|dusty window"),
    "opening": listed("peephole|keyhole|letter box|gap in the curtain|crack of the door|narrow window|spyhole"),
    "outside": listed("garden|street|yard|corridor|landing|porch|courtyard|road|alley|square|park|field"),
    "thing": listed(
        "lamp|ladder|bicycle|parcel|letter|lantern|suitcase|bench|basket|newspaper|black car|wheel|clock|bucket|"
        "chair|mirror|umbrella|cart|coat|candle|box|bottle|rope|photograph|map"
    ),
    "view": listed(
        "the river and the old bridge|the roofs of the town|a long row of trees|the harbour and three white boats|"
        "the church and the market|a field with two horses|the hills behind the station|an empty road|"
        "the lights of the other houses|a wall covered with ivy|the sea under a low sky|the garden and the gate"
    ),
    "weather": listed(
        "rain fell on the roof|snow covered the street|the wind shook the trees|the air was warm and still|"
        "fog lay over the river|the sun was low|the moon was bright|a storm was coming|it was bitterly cold|"
        "clouds moved across the sky|the evening was quiet|the street was wet"
    ),
    "clock": [
        f"{part} {hour}"
        for part in ("at", "just after", "shortly before", "a little past")
        for hour in listed("six seven eight nine ten eleven noon midnight one three five")
    ],
    "side": ["left", "right"],
    "slowly": listed("slowly|quietly|carefully|quickly|at once|gently|without a sound|nervously|calmly|softly"),
    "feeling": listed("afraid|curious|calm|tired|surprised|certain|uneasy|relieved|pleased|angry|puzzled|cold"),
    "task": listed(
        "reading a letter|washing the cups|writing in a notebook|waiting for news|mending a coat|counting coins|"
        "peeling potatoes|listening to the radio|packing a suitcase|looking for a key|lighting the lamp|"
        "falling asleep|drinking tea|feeding the cat|winding the clock|cleaning a lens|drawing the view"
    ),
    "noise": listed(
        "a knock at the {door}|footsteps in the {outside}|the bell|a voice outside|three slow knocks|"
        "a scratching at the {window}|somebody coughing in the {outside}|the gate|a key in the lock|"
        "a whisper behind the {door}|the floor creak|a car stop in the street"
    ),
    "setting": [
        "on {day} evening {weather}, and {name} was {task} in the {room}.",
        "it was {day}, the {date}, and {weather}. {name} sat in the {room}, {task}.",
        "{clock} {name} was still {task}.",
        "{name} lived in {a building} with {a door} and only one {window}.",
        "on the {date} {name} came back to the {building}. {weather}.",
        "{name} had been {task} since the morning. {weather}.",
        "every {day} {name} stood at the {window} and looked at {view}.",
        "the {building} was dark, and {name} was alone in the {room}.",
        "nobody had visited the {building} since {month}. {name} was {task}.",
        "{name} closed the {door} and put the key on the table.",
        "that {day} {name} took the room on the {side} side of the {building}.",
        "from the {room} {name} could see {view}.",
    ],
    "signal": [
        "then {he} heard {noise}.",
        "{clock} there was {noise_thing}.",
        "suddenly {noise_thing} broke the silence.",
        "{he} stopped {task} and listened. {noise_thing}, and then nothing.",
        "a shadow moved under the {door}.",
        "the dog lifted its head and looked at the {door}.",
        "somebody was standing outside the {door}.",
        "someone knocked on the {door} and waited.",
        "the handle of the {door} turned {slowly}.",
        "the light in the {outside} went out.",
        "{he} had the feeling that somebody was watching the {window}.",
        "behind the {door} somebody said {his} name.",
        "something touched the glass of the {window}.",
    ],
    "noise_thing": listed(
        "a knock|a second knock|a soft knock|a loud ring|a step on the stairs|a low voice|a sound from the {outside}|"
        "a tap on the {window}|a rattle at the {door}|the creak of a board"
    ),
    "look": [
        "{he} went {slowly} to the {door} and looked through the {opening}.",
        "{name} put one eye to the {opening} and held {his} breath.",
        "{he} pulled the curtain aside and looked out into the {outside}.",
        "{name} walked to the {window} and looked down at the {outside}.",
        "{he} bent down and looked through the {opening}, first to the left and then to the right.",
        "{he} turned off the lamp so that nobody could see in, and looked out.",
        "{name} opened the {door} a little and looked round the edge.",
        "{he} wiped the glass and looked again.",
        "{he} leaned against the {door} and listened before {he} looked.",
        "{name} crossed the {room} and stood on the {side} side of the {window}.",
        "from the top of the stairs {name} could see the {door} from the side.",
    ],
    "sight": [
        "{a visitor} stood on the other side of the {door}.",
        "outside stood {a visitor}, looking straight at the {door}.",
        "on the {side} side, beside {a thing}, there was {a visitor}.",
        "{he} saw {a visitor} under the lamp in the {outside}.",
        "through the {opening} {he} saw {a visitor} and, beside {a thing}, a dog.",
        "{he} could see only half of the {outside}, and in that half waited {a visitor}.",
        "at first {he} saw only {a thing}; then {a visitor} stepped into the light.",
        "the {visitor} was standing so close to the {door} that only one eye could be seen.",
        "the {visitor} stood with {its} back to the {window} and looked at {view}.",
        "{a visitor} was looking in from the other side of the glass.",
    ],
    "nothing": [
        "there was nobody outside, only {a thing} on the {side} side of the {door}.",
        "the {outside} was empty, and beyond it {he} could see {view}.",
        "{he} saw {view}, but no one at the {door}.",
        "nobody was there, yet {a thing} lay in front of the {door}.",
        "the {opening} showed nothing but the wall on the other side.",
    ],
    "talk": [
        '"who is there?" asked {name}.',
        '"who is it?" {he} called, but the {short} did not answer.',
        '"I know that you are there," said {name}.',
        '"open the {door}," said the {short}. "I have come about the {thing}."',
        '"is this the right {building}?" asked the {short}.',
        '"you are late," {name} said. "I expected you on {day}."',
        '"I saw you from the {window}," said the {short}.',
        '"please wait," said {name}, and looked for the key.',
        '"it is only me," said the {short} {slowly}.',
        '"what day is it?" asked the {short}. "it is {day}," said {name}, "the {date}."',
        "the {short} raised one hand and pointed to the {side}.",
        "the {short} knocked again, this time on the {window}.",
    ],
    "outcome": [
        "{name} opened the {door}, and the {short} came in.",
        "{he} turned the key and stepped back to let the {short} in.",
        "{he} did not open the {door}. After a while the {short} went away.",
        "the {short} left {a thing} on the step and walked off to the {side}.",
        "{name} was {feeling}, but {he} opened the {door} all the same.",
        "when {he} looked again, the {short} was gone.",
        "{he} let the curtain fall and stood {slowly_still} behind the {door}.",
        "the {short} smiled, gave {him} {a thing}, and went down the stairs.",
        "they sat down in the {room} and talked until {midnight}.",
        "{name} wrote the time in a notebook: {day}, the {date}.",
        "at last {he} was {feeling}, because {he} knew the face.",
        "{he} locked the {door} and never spoke about it.",
    ],
    "alone": [
        "{he} closed the {door} again and went back to the {room}.",
        "perhaps it had only been the wind.",
        "{name} picked up the {thing} and carried it inside.",
        "{he} was sure that somebody had been there.",
        "{he} waited at the {window} until {midnight}, but nobody came.",
        "{name} was {feeling}, and slept badly that night.",
        "{he} looked once more through the {opening} and saw only {view}.",
    ],
    "after": [
        "the next morning {weather}.",
        "on {nextday} the {short} came back.",
        "after that {day} {name} kept the {window} closed.",
        "a week later, again on {a day}, {name} heard the same sound.",
        "in the morning {he} found {a thing} in front of the {door}.",
        "nobody in the {building} believed {him}.",
        "after that {name} always looked before opening the {door}.",
        "from then on there was {a thing} beside the {door}.",
    ],
    "slowly_still": listed("very still|quite still|for a long time|in the dark|without moving"),
    "midnight": listed("midnight|dawn|the clock struck ten|the rain stopped|it was dark|the lamp went out"),
    "day": DAYS,
    "scene": [
        "the {window} of the {building} looks out on {view}.",
        "on the left there is {a thing}, and on the right there is {a door}.",
        "from the {side} side one can see {view}.",
        "from the other side of the {outside} one sees only the wall.",
        "seen from the front, the {building} is narrow; seen from the side, it is long.",
        "behind the {building} there is {a thing}, and in front of it the {outside}.",
        "whoever stands at the {door} cannot see who is standing at the {window}.",
        "the {opening} shows the {outside}, but not the person who stands beside the {door}.",
        "anyone who looks through the {opening} sees the {outside} from above.",
        "two doors lead to the {outside}: the {door} and a smaller one on the {side}.",
        "in {month} the view is clear, and in {winter} there is fog.",
        "someone has left {a thing} near the {door}.",
    ],
    "winter": MONTHS,
}
GRAMMAR = Grammar(RULES)


def story(rng: random.Random) -> str:
    """Write three to seven linked sentences about someone who looks out and who, or what, is there."""
    woman = rng.random() < 0.5
    name = "I" if rng.random() < 0.12 else rng.choice(WOMEN if woman else MEN)
    he, him, his = ("I", "me", "my") if name == "I" else (("she", "her", "her") if woman else ("he", "him", "his"))
    short = rng.choice(list(VISITORS))
    today = rng.randrange(7)
    bound = {"name": name, "he": he, "him": him, "his": his, "short": short, "visitor": rng.choice(VISITORS[short])}
    bound |= {"day": DAYS[today], "nextday": DAYS[(today + 1) % 7], "month": rng.choice(MONTHS)}
    bound["its"] = "her" if short in {"woman", "girl", "nurse", "old woman"} else "his"
    bound["date"] = f"{rng.choice(ORDINALS)} of {bound['month']}"
    places = ("door", "window", "building", "outside", "room", "opening", "thing", "task", "side")
    bound |= {slot: rng.choice(RULES[slot]) for slot in places}
    empty = rng.random() < 0.25
    beats = ["setting", "signal", "look"] + (["nothing", "alone"] if empty else ["sight", "talk", "outcome"])
    # A story may begin anywhere, so that a prompt may be any of its sentences.
    beats = beats[rng.choice((0, 0, 0, 1, 1, 2, 3)) :]
    kept = [beat for beat in beats if beat in beats[:2] or rng.random() < 0.8]
    if rng.random() < 0.3 and not empty:
        kept.append("after")
    if not empty and rng.random() < 0.25:
        kept.insert(min(len(kept), 3), "talk")
    lines: list[str] = []
    for beat in kept:
        fresh = [template for template in RULES[beat] if template not in lines]
        lines.append(rng.choice(fresh))
    return " ".join(GRAMMAR.write(line, bound, rng) for line in lines)


def scene(rng: random.Random) -> str:
    """Describe a place by its sides and views in two to five sentences."""
    bound = {slot: rng.choice(RULES[slot]) for slot in ("door", "window", "building", "outside", "opening")}
    first, second = rng.sample(MONTHS, 2)
    bound |= {"month": first, "winter": second}
    lines = rng.sample(RULES["scene"], rng.randint(2, 5))
    return sentence(" ".join(GRAMMAR.write(line, bound, rng) for line in lines))
