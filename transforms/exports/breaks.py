"""Where a subtitle or a line of it may end, and how badly. Needs no Spark."""

from __future__ import annotations

from transforms.exports.units import Unit, bare
from transforms.text.sentences import ends_clause

_PAUSE_MS = 300
_LINKS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "and but or so because that which who when where while if than though although before after since "
        "until unless with from into for in on at by to of as",
        "de": "und aber oder denn sondern weil dass ob wenn als wie damit obwohl bevor nachdem während bis der "
        "die das mit von zu für in auf an aus bei nach über unter vor",
        "fr": "et mais ou donc car que qui quand où parce si comme lorsque puisque avec pour dans sur de à par "
        "sans chez",
        "es": "y e pero o u porque que quien cuando donde si como aunque mientras con para en de a por sin sobre",
    }.items()
}
"""Conjunctions and prepositions, before which a line may end."""
_LEADS = {
    language: frozenset(words.split())
    for language, words in {
        "en": "a an the my your his her its our their this these those is are was were be been have has had do "
        "does did will would can could should may might must not no very and or but to of in on at by for "
        "with from i you he she we they",
        "de": "ein eine einen einem einer der die das den dem des mein dein sein ihr unser ist sind war waren hat "
        "haben wird werden kann nicht kein keine sehr und oder aber zu von in im an am auf mit für ich du "
        "er sie es wir",
        "fr": "un une le la les l' des du de mon ma mes ton ta tes son sa ses notre votre leur ce cette ces est "
        "sont était a ont ne pas très et ou mais à en dans sur par pour avec je tu il elle nous vous ils "
        "elles",
        "es": "un una unos unas el la los las mi tu su nuestro este esta estos es son era ha han no muy y o pero "
        "de a en por para con yo tú él ella nosotros",
    }.items()
}
"""Words that belong to the next one, so that a line should not end after them."""


def cut_cost(before: Unit, after: Unit, language: str | None) -> float:
    """How bad it is to end a line or a subtitle between two units: 0 at the end of a sentence, up to 13 in the
    middle of what belongs together."""
    if before.ends_sentence:
        return 0.0
    pause = min(2.0, max(0, after.start_ms - before.end_ms) / _PAUSE_MS)
    if ends_clause(before.text):
        return 2.0 - pause / 2
    first, last = bare(after.text).split(), bare(before.text).split()
    links, leads = _LINKS.get(language or "", frozenset()), _LEADS.get(language or "", frozenset())
    cost = 4.0 if first and first[0] in links else 8.0
    return cost - pause + (5.0 if last and last[-1] in leads else 0.0)


def span_cost(before: Unit, after: Unit) -> float:
    """How bad it is to show two units in one subtitle: what ends a sentence or a pause is better at its end."""
    pause_ms = after.start_ms - before.end_ms
    sentence = 3.0 if before.ends_sentence else 0.0
    return sentence + (2.0 * pause_ms / _PAUSE_MS if pause_ms > _PAUSE_MS else 0.0)
