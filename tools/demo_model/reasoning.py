"""Short exercises with right answers: logic, arithmetic in words, comparison, order, days and syntax."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from demo_model.grammar import ONES, ORDINALS, article, number, sentence
from demo_model.vocabulary import ADVERBS, DAYS, FOR_PEOPLE, IFS, MEN, MONTHS, PAIRS, QUALITIES, VERBS, WOMEN, plural

Lexicon = Mapping[str, list[str]]


def _who(rng: random.Random, count: int) -> list[str]:
    return rng.sample([*WOMEN, *MEN], count)


def syllogism(rng: random.Random, words: Lexicon) -> str:
    """Two premises about kinds, and what follows or does not."""
    kind = rng.choice(["animal", "person", "artifact", "plant"])
    small, large = rng.sample(words[kind], 2)
    quality = rng.choice(QUALITIES)
    (name,) = _who(rng, 1)
    subject = name if kind in {"animal", "person"} else f"this {rng.choice(['thing', 'object'])}"
    so = rng.choice(["therefore", "it follows that", "so", "we can conclude that", "hence"])
    smalls, larges = plural(small), plural(large)
    return rng.choice(
        [
            f"all {smalls} are {larges}. {subject} is {article(small)}. {so} {subject} is {article(large)}.",
            f"if all {smalls} are {quality} and {subject} is {article(small)}, then {subject} is {quality}.",
            f"every {small} is {quality}. {subject} is not {quality}. {so} {subject} is not {article(small)}.",
            f"all {smalls} are {larges}, and all {larges} are {quality}. {so} all {smalls} are {quality}.",
            f"some {smalls} are {quality}. does it follow that all {smalls} are {quality}? no, it does not.",
            f"no {small} is {article(large)}. {subject} is {article(small)}. {so} {subject} is not {article(large)}.",
            f"no {smalls} are {quality}. {subject} is {quality}. {so} {subject} is not {article(small)}.",
        ]
    )


def conditional(rng: random.Random, words: Lexicon) -> str:
    """One conditional, one fact, and the valid step or the fallacy."""
    del words
    cause, effect, denied = rng.choice(IFS).split(";")
    therefore = rng.choice(["therefore", "so", "hence", "it follows that"])
    rule = rng.choice([f"if {cause}, {effect}.", f"if {cause}, then {effect}.", f"whenever {cause}, {effect}."])
    negated = f"it is not the case that {cause}"
    other = rng.choice(["there may be another cause", "something else may explain it", "the rule does not say so"])
    return rng.choice(
        [
            f"{rule} {cause}. {therefore} {effect}.",
            f"{rule} but {denied}. {therefore} {negated}.",
            f"{rule} {effect}. does it follow that {cause}? no, because {other}.",
            f"suppose that {cause}. {rule} then we know that {effect}.",
            f"{rule} we do not know whether {cause}. so we do not know whether {effect}.",
        ]
    )


def arithmetic(rng: random.Random, words: Lexicon) -> str:
    """A small sum, in a story or bare, with its answer in words."""
    things = plural(rng.choice(words["artifact"] + words["food"]))
    first, second = rng.randint(2, 20), rng.randint(2, 12)
    name, other = _who(rng, 2)
    total, left = number(first + second), number(abs(first - second))
    more, fewer = number(max(first, second)), number(min(first, second))
    start = f"{name} has {number(first)} {things}."
    product = number(first * second)
    return rng.choice(
        [
            f"{start} {other} gives {name} {number(second)} more. now {name} has {total} {things}.",
            f"{name} has {more} {things} and gives {fewer} to {other}. {left} {'is' if left == 'one' else 'are'} left.",
            f"{start} {other} has {number(second)}. together they have {total} {things}.",
            f"{number(first)} plus {number(second)} is {total}. {more} minus {fewer} is {left}.",
            f"{number(first)} times {number(second)} is {product}, and {product} divided by {number(second)} is "
            f"{number(first)}.",
            f"there are {number(first)} boxes with {number(second)} {things} in each. in all there are {product}.",
            f"what is {number(first)} plus {number(second)}? the answer is {total}.",
            f"{number(first)} is {'an even' if first % 2 == 0 else 'an odd'} number. the next number is "
            f"{number(first + 1)}, and the one before it is {number(first - 1)}.",
            f"count by {number(second)}: {', '.join(number(second * step) for step in range(1, 6))}.",
        ]
    )


def comparison(rng: random.Random, words: Lexicon) -> str:
    """Three people or things in an order, and what it implies."""
    del words
    _, more, _, less = rng.choice(PAIRS[:FOR_PEOPLE]).split()
    one, two, three = _who(rng, 3)
    ending = rng.choice(
        [
            f"so {one} is {more} than {three}.",
            f"therefore {three} is {less} than {one}.",
            f"who is the {more[:-1]}st of the three? it is {one}.",
            f"of the three, {three} is the {less[:-1]}st.",
        ]
    )
    premises = [f"{one} is {more} than {two}", f"{two} is {more} than {three}"]
    if rng.random() < 0.3:
        premises[1] = f"{three} is {less} than {two}"
    return f"{premises[0]}, and {premises[1]}. {ending}"


def calendar(rng: random.Random, words: Lexicon) -> str:
    """Days, months and dates that follow one another."""
    del words
    today, month, step = rng.randrange(7), rng.randrange(12), rng.randint(2, 6)
    date = rng.randrange(len(ORDINALS) - 7)
    day, after, before = DAYS[today], DAYS[(today + 1) % 7], DAYS[(today - 1) % 7]
    place = rng.randrange(6)
    return rng.choice(
        [
            f"if today is {day}, then tomorrow is {after} and yesterday was {before}.",
            f"today is {day}. in {number(step)} days it will be {DAYS[(today + step) % 7]}.",
            f"{day} comes after {before} and before {after}.",
            f"the meeting was on {day}, the {ORDINALS[date]} of {MONTHS[month]}. a week later it was {day} again, the "
            f"{ORDINALS[date + 7]}.",
            f"{MONTHS[month]} comes before {MONTHS[(month + 1) % 12]} and after {MONTHS[month - 1]}.",
            f"the day after the {ORDINALS[date]} of {MONTHS[month]} is the {ORDINALS[date + 1]}. if the first is a "
            f"{day}, the second is a {after}.",
            f"the {ORDINALS[place]} day of the week is {DAYS[place]}, and the next one is {DAYS[place + 1]}.",
        ]
    )


def order(rng: random.Random, words: Lexicon) -> str:
    """People in a row, by place and by side."""
    del words
    one, two, three = _who(rng, 3)
    return rng.choice(
        [
            f"{one} stands to the left of {two}. so {two} stands to the right of {one}.",
            f"{one}, {two} and {three} stand in a row. {one} is on the left, {three} is on the right, and {two} is in "
            "the middle.",
            f"{one} came in before {two}, and {two} came in before {three}. so {one} was first and {three} was last.",
            f"{one} sits opposite {two}. when {one} points to the left, {two} sees it on the right.",
            f"first {one} spoke, then {two}, and finally {three}. the second to speak was {two}.",
            f"if {one} can see {two} through the window, then {two} can see {one} through the same window.",
        ]
    )


def syntax(rng: random.Random, words: Lexicon) -> str:
    """Subjects, verbs, objects, tenses, plurals and opposites."""
    _, present, past, _ = (verb := rng.choice(VERBS).split())
    noun, thing, kind = rng.choice(words["person"]), rng.choice(words["artifact"]), rng.choice(words["animal"])
    short = f"the {noun} {past} the {thing}"
    positive, comparative, opposite, _ = rng.choice(PAIRS).split()
    adverb = rng.choice(ADVERBS)
    passives = {"saw": "seen", "wrote": "written", "broke": "broken", "hid": "hidden", "chose": "chosen"}
    participle = passives.get(past, "drawn" if past == "drew" else past)
    return rng.choice(
        [
            f'in the sentence "{sentence(short)}" the subject is "{noun}", the verb is "{past}" and the object is '
            f'"{thing}".',
            f'the past tense of "{verb[0]}" is "{past}". today she {present} the {thing}; yesterday she {past} it.',
            f'the plural of "{kind}" is "{plural(kind)}". one {kind}, two {plural(kind)}.',
            f'the opposite of "{positive}" is "{opposite}". if it is not {positive}, it may be {opposite}.',
            f"{positive}, {comparative}: the {thing} is {positive}, but the other {thing} is {comparative}.",
            f'turn the sentence around: "{short}" becomes "the {thing} was {participle} by the {noun}".',
            f'"{sentence(short)}" as a question: "did the {noun} {verb[0]} the {thing}?"',
            f'the {noun} {adverb} {present} the {thing}. the word "{adverb}" says how or when.',
            f"the {noun} who {past} the {thing} was {rng.choice(QUALITIES)}. who was it? it was the {noun}.",
            f"the {noun} is {verb[3]} the {thing}, and the {kind} is looking at it.",
            f"although the {noun} {past} the {thing}, nobody noticed the {kind}.",
            f"not only the {noun} but also the {kind} was in the room, because the {thing} was there.",
        ]
    )


def sorting(rng: random.Random, words: Lexicon) -> str:
    """What belongs to a class and what does not."""
    names = {"animal": "animals", "food": "things to eat", "plant": "plants", "person": "people", "artifact": "objects"}
    inside, outside = rng.sample(list(names), 2)
    one, two, three = rng.sample(words[inside], 3)
    odd = rng.choice(words[outside])
    label = names[inside]
    return rng.choice(
        [
            f"{article(one)}, {article(two)} and {article(odd)}: two of them are {label}, and the {odd} is not.",
            f"{plural(one)}, {plural(two)} and {plural(three)} are {label}. {plural(odd)} are {names[outside]}.",
            f"which word does not belong: {one}, {two}, {odd}, {three}? the answer is {odd}.",
            f"there were {number(rng.randint(2, 12))} {plural(one)} and {rng.choice(ONES[2:])} {plural(two)}. all of "
            f"them are {label}.",
        ]
    )


EXERCISES: tuple[Callable[[random.Random, Lexicon], str], ...] = (
    *(syllogism, conditional, arithmetic, comparison, calendar, order, syntax, sorting),
)
OPENINGS = ["", "", "", "let us reason step by step. ", "consider this. ", "here is a small problem. ", "think. "]
CLOSINGS = ["", "", "", " this is certain.", " nothing else follows.", " that is the answer.", " it is easy to check."]


def reasoning(rng: random.Random, words: Lexicon) -> str:
    """Write one to three exercises of one kind as a paragraph."""
    exercise = rng.choice(EXERCISES)
    parts = [exercise(rng, words) for _ in range(rng.choice((1, 1, 2, 2, 3)))]
    return sentence(f"{rng.choice(OPENINGS)}{' '.join(parts)}{rng.choice(CLOSINGS)}")
