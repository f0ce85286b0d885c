"""The toy language of the tiny checkpoints: 41 English and 21 German words, and the sentences made of them.

A sentence is a list of words as they are written, with capitals and marks: ["Where", "is", "Anna?"].
"""

from random import Random

DIGITS = "zero one two three four five six seven eight nine".split()
NOUNS = "cat dog bird horse house river garden window".split()
ADJECTIVES = "red blue green black white".split()
VERBS = "sees wants opens".split()
NAMES = "Anna Peter London".split()
ENGLISH = DIGITS + NOUNS + ADJECTIVES + VERBS + NAMES
ENGLISH += "the and near is where who don't yes no please twenty-one".split()

GERMAN_THINGS = [["der", "Hund"], ["die", "Katze"], ["das", "Haus"], ["der", "Vogel"], ["der", "Garten"]]
GERMAN_ADJECTIVES = "rot grün schön".split()
GERMAN_DIGITS = "eins zwei drei vier fünf".split()
GERMAN = "der die das Hund Katze Haus Vogel Garten ist und nicht wo sieht".split() + GERMAN_ADJECTIVES + GERMAN_DIGITS

WORDS = {"English": ENGLISH, "German": GERMAN}
WORD_CLASS = {word.lower(): number for number, word in enumerate(ENGLISH + GERMAN, start=1)}  # 0 is "no word"


def word_class(written: str) -> int:
    """The number of a word that may bear a capital and a mark."""
    return WORD_CLASS[written.strip(".,?").lower()]


def punctuated(words: list[str]) -> list[str]:
    """The words as a sentence: a capital, a comma after yes and no, and a full stop or question mark."""
    words = list(words)
    mark = "?" if words[0] in ("where", "who", "wo") else "."
    if words[0] in ("yes", "no") and len(words) > 1:
        words[0] += ","
    words[0] = words[0][0].upper() + words[0][1:]
    words[-1] += mark
    return words


def random_words(rng: Random, language: str, count: int) -> list[str]:
    """`count` words in no sensible order: what teaches a recognizer to listen instead of guessing."""
    return punctuated(rng.choices(WORDS[language], k=count))


def sentence(rng: Random, language: str, longest: int) -> list[str]:
    """A sentence of at most `longest` words: random words, digits, or grammar."""
    kind = rng.random()
    if kind < 0.4:
        return random_words(rng, language, rng.randint(1, longest))
    if kind < 0.5:
        digits = DIGITS if language == "English" else GERMAN_DIGITS
        return punctuated(rng.choices(digits, k=rng.randint(1, min(8, longest))))
    words = _english(rng) if language == "English" else _german(rng)
    return punctuated(words[:longest])


def _thing(rng: Random) -> list[str]:
    if rng.random() < 0.25:
        return [rng.choice(NAMES)]
    adjective = [rng.choice(ADJECTIVES)] if rng.random() < 0.5 else []
    return ["the", *adjective, rng.choice(NOUNS)]


def _english(rng: Random) -> list[str]:
    kind = rng.random()
    if kind < 0.2:
        return ["where", "is", *_thing(rng)]
    if kind < 0.35:
        return ["who", rng.choice(VERBS), *_thing(rng)]
    if kind < 0.5:
        return [*_thing(rng), "is", "near", *_thing(rng)]
    if kind < 0.62:
        return [*_thing(rng), "is", rng.choice(ADJECTIVES), "and", rng.choice(ADJECTIVES)]
    words = [*_thing(rng), rng.choice(VERBS), *_thing(rng)]
    if rng.random() < 0.3:
        words += ["and", *_thing(rng)]
    if rng.random() < 0.3:
        words = [rng.choice(["yes", "no", "please"]), *words]
    return words


def _german(rng: Random) -> list[str]:
    kind = rng.random()
    thing = rng.choice(GERMAN_THINGS)
    if kind < 0.3:
        return ["wo", "ist", *thing]
    if kind < 0.6:
        return [*thing, "ist", *(["nicht"] if rng.random() < 0.4 else []), rng.choice(GERMAN_ADJECTIVES)]
    more = ["und", *rng.choice(GERMAN_THINGS)] if rng.random() < 0.3 else []
    return [*thing, "sieht", *rng.choice(GERMAN_THINGS), *more]
