"""One proposition framed four ways, from vague to certain."""

from __future__ import annotations

import random

from demo_model.grammar import Grammar, listed

SUBJECTS = listed(
    "somebody|someone|a stranger|a visitor|the neighbour|a child|the teacher|an old man|a woman|the guard|a friend|"
    "the doctor|the driver|the student|one of the guests|the owner"
)
PREDICATES = listed(
    "stood at the door|was behind the door|waited outside|looked through the peephole|was watching the window|"
    "knocked twice|had opened the gate|was on the other side of the wall|had left by the back door|"
    "was hiding behind the curtain|walked past the window|had read the letter|was in the next room|"
    "stood on the left side|saw the light|knew the answer|had counted the keys|came on Tuesday|arrived before noon|"
    "had seen the date|was looking in|turned to the right|had moved the mirror|called from the street|"
    "was listening at the keyhole|carried a lamp|had made a mistake|understood the rule|told the truth|"
    "was standing beside the stairs|had been there on Friday|locked the door|lost the key|sat by the window"
)
FACTS = listed(
    "the door was locked|the window was open|the bridge was safe|the lamp was burning|the sum was correct|"
    "the room was empty|the clock was slow|the letter was genuine|the rule had an exception|the road was closed|"
    "the answer was twelve|the argument was sound|the meeting was on Monday|the picture hung on the left|"
    "the view was the same from both sides|the house had two doors|the water was rising|the machine was broken|"
    "the two numbers were equal|the first step was wrong|the shop closed at six|the map was upside down"
)
FRAMES = {
    "observational": [
        ["it seemed that {clause}.", "it almost looked as if {clause}.", "one had the faint impression that {clause}."],
        ["it looked as though {clause}.", "there were small signs that {clause}.", "it appeared that {clause}."],
        ["from the window it was possible to see that {clause}.", "several marks suggested that {clause}."],
        ["one could see that {clause}.", "it was plain from the traces that {clause}.", "we noticed that {clause}."],
        ["everybody saw clearly that {clause}.", "with their own eyes they saw that {clause}."],
    ],
    "declarative": [
        ["perhaps {clause}.", "maybe {clause}, maybe not.", "it may be that {clause}."],
        ["possibly {clause}.", "it could well be that {clause}.", "there was a chance that {clause}."],
        ["probably {clause}.", "most likely {clause}.", "it was likely that {clause}."],
        ["{clause}.", "in fact {clause}.", "it is true that {clause}."],
        ["{clause}, without question.", "certainly {clause}.", "there is no doubt that {clause}."],
    ],
    "authoritative": [
        ["one guide mentions that {clause}.", "according to a rumour, {clause}.", "some people say that {clause}."],
        ["a witness believed that {clause}.", "an early report suggested that {clause}."],
        ["the inspector thought that {clause}.", "according to the newspaper, {clause}."],
        ["the report states that {clause}.", "experts agree that {clause}.", "the record shows that {clause}."],
        ["the court has established that {clause}.", "it has been proved beyond doubt that {clause}."],
    ],
    "rhetorical": [
        ["could it be that {clause}?", "what if {clause}?", "who can say whether {clause}?"],
        ["might we not suppose that {clause}?", "is it so strange to think that {clause}?"],
        ["would anyone be surprised to hear that {clause}?", "is it not likely that {clause}?"],
        ["is it not clear that {clause}?", "who would deny that {clause}?", "how can one doubt that {clause}?"],
        ["what else could it mean than that {clause}?", "does anyone still doubt that {clause}?"],
    ],
}
CLOSINGS = [
    ["nobody could be sure.", "it was only a guess.", "the evidence was thin.", "nothing had been decided."],
    ["more evidence was needed.", "the question stayed open.", "it was too early to say."],
    ["most of the signs pointed that way.", "the evidence was fairly good.", "few people objected."],
    ["there was good evidence for it.", "the facts were clear.", "this much was known."],
    ["nothing could change that.", "the matter was settled.", "there was nothing more to ask."],
]
LINKS = ["then", "later", "after that", "on reflection", "an hour later", "in the end", "and yet", "by the evening"]
GRAMMAR = Grammar({})


def framed(rng: random.Random) -> str:
    """Frame one proposition two to five times, at one level of certainty or rising from vague to certain."""
    clause = rng.choice(FACTS) if rng.random() < 0.35 else f"{rng.choice(SUBJECTS)} {rng.choice(PREDICATES)}"
    bound = {"clause": clause}
    count = rng.randint(2, 4)
    style = rng.choice(list(FRAMES))
    if rng.random() < 0.5:
        levels = sorted(rng.sample(range(5), count))
        styles = [style] * count if rng.random() < 0.5 else [rng.choice(list(FRAMES)) for _ in levels]
    else:
        levels = [rng.randrange(5)] * count
        styles = rng.sample(list(FRAMES), count)
    lines: list[str] = []
    for place, (level, kind) in enumerate(zip(levels, styles, strict=True)):
        line = rng.choice(FRAMES[kind][level])
        linked = place and rng.random() < 0.3 and not line.startswith("{")
        lines.append(f"{rng.choice(LINKS)} {line}" if linked and not line.endswith("?") else line)
    if rng.random() < 0.6:
        lines.append(rng.choice(CLOSINGS[levels[-1]]))
    return " ".join(GRAMMAR.write(line, bound, rng) for line in lines)
