"""The flags of recordings and chunks: what each says, and what it asks of a person.

To add one: a line here, and its line in the view `flagged_recordings` of schemas/views.sql and in docs/sql.md, which
tests hold against this list.
"""

from __future__ import annotations

from typing import NamedTuple


class Flag(NamedTuple):
    meaning: str
    """What is so of the recording, in a few words."""
    advice: str
    """What a person can do about it."""


FLAGS = {
    "repetition": Flag("repeats itself", "the engine repeated itself: listen to where the text does"),
    "truncated": Flag("cut off at the token limit", "the engine stopped early: words may be missing"),
    "no_speech": Flag(
        "speech was found, but no words",
        "something sounded like speech and no words were found: music, noise, or another language",
    ),
    "low_confidence": Flag("has stretches of low confidence", "see review_queue for the doubtful segments"),
    "language_mismatch": Flag(
        "sounds like another language than the one given", "check the manifest's language against what is spoken"
    ),
    "unaligned": Flag(
        "words without exact times",
        "the text stands, but its words lack exact times: no aligner knew them or the language, or one failed",
    ),
    "duration_mismatch": Flag(
        "not as long as its header says", "the file's header claims another length: see that it was copied whole"
    ),
    "damaged": Flag("a part could not be decoded", "a part could not be decoded: fetch the file again"),
    "phase_cancelled": Flag(
        "channels cancel each other",
        "mixed, its channels cancel each other, so the loudest was heard: one of them is wired the wrong way round",
    ),
    "incomplete": Flag("a chunk failed", "a chunk failed: see open_failures"),
    "unsupported": Flag(
        "more text than the speech under it can hold", "words may have been made up over noise: listen to them"
    ),
    "unheard": Flag(
        "no speech was found, and something sounds like a voice",
        "it is loud, and neither noise, music nor a tone: listen whether somebody whispers",
    ),
    "context_echo": Flag(
        "says only what the context says", "only words of the given context were heard: take them for none"
    ),
    "context_cut": Flag("its context was too long", "the given context was too long: shorten it"),
}

FLAGS_COMMENT = "what a person should look at: " + ", ".join(f"{name} ({flag.meaning})" for name, flag in FLAGS.items())
"""Of the columns that hold them."""
