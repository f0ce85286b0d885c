"""English pronunciations for words that pocketsphinx's dictionary lacks, in its phones (CMUdict's ARPAbet, no stress).

A forced aligner needs about the right sounds in the right number: a word is taken apart into known words where that is
possible, and read letter by letter where not.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Lookup = Callable[[str], str | None]
"""The phones of a word of the dictionary ('HH AH L OW' for 'hello'), or None."""


def _table(text: str) -> dict[str, str]:
    return {name: " ".join(phones) for name, *phones in map(str.split, text.split(","))}


_LETTER_NAMES = _table("""
    a EY, b B IY, c S IY, d D IY, e IY, f EH F, g JH IY, h EY CH, i AY, j JH EY, k K EY, l EH L, m EH M, n EH N, o OW,
    p P IY, q K Y UW, r AA R, s EH S, t T IY, u Y UW, v V IY, w D AH B AH L Y UW, x EH K S, y W AY, z Z IY
""")
_MOST_LETTERS_NAMED = 6
"""A longer word in capitals is shouted, not spelled."""

_ENDINGS = _table("""
    able AH B AH L, ment M AH N T, ness N AH S, less L AH S, ings IH NG Z, ized AY Z D, ville V IH L, ful F AH L,
    ing IH NG, in' IH N, ish IH SH, ism IH Z AH M, ize AY Z, man M AH N, ers ER Z, est AH S T, er ER, ly L IY
""")
_VOICELESS = frozenset("P T K F TH S SH CH HH".split())
_SIBILANTS = frozenset("S Z SH ZH CH JH".split())
_LEAST_STEM = 3
_LEAST_HALF = 4
"""Letters of each half of a compound. With 4, CMUdict's own compounds get 11 % of their phones wrong; with 3, 15 %."""

_CLASSES = {"C": "[bcdfghjklmnpqrstvwxz]", "V": "[aeiouy]", "E": "[eiy]"}
_RULES_TEXT = """
<au>:AO <aw>:AO <ay>:EY <air>:EH-R <ai>:EY <aa>:AA <ae>:EH <are>$:EH-R w<ar>:AO-R <arr>:EH-R VC+<ard>s?$:ER-D
<ar>V:EH-R <ar>:AA-R VC+<a>ble:AH VC+<age>$:IH-JH VC+<a>l:AH V.*i<a>l:AH VC+<a>nt?s?$:AH VC+<a>nce:AH <a>Ce[ds]?$:EY
<a>Cing$:EY <a>ti[oa]:EY <a>$:AH ^<a>CV:AH w<a>[nst]:AA <a>:AE
<b>:B
<ch>r:K <ch>:CH <ck>:K <cc>:K s<c>E: <ci>a:SH <c>E:S <c>:K
<dge>:JH <d>:D
<eigh>:EY <ear>C:ER <ear>:IH-R <eau>:OW <ea>d:EH <ee>:IY <ea>:IY <ei>:AY <eu>:UW <ew>:UW <ey>$:IY <ey>:EY <err>:EH-R
<er>:ER V.*[td]<e>d$:AH V.*[pkfsxc]<ed>$:T V.*[cs]h<ed>$:T V.*C<e>d$: V.*[cgsxz]<e>s$:AH V.*C<e>s?$: V.*C<e>ly$:
V.*C<e>ment: <e>Ce$:IY VC+<e>n:AH VC+<e>l:AH VC+<e>ss:AH <eo>u:IY <eo>:IY-OW <e>:EH
<f>:F
<gh>: <g>E:JH <g>:G
V<h>C: V<h>$: <h>:HH
<igh>:AY <ie>:IY <ia>:IY-AH <io>:IY-OW <iu>:IY-AH <ier>$:IY-ER <ir>V:IH-R <ir>:ER <i>Ce[ds]?$:AY <i>$:IY <i>:IH
<j>:JH
^<kn>:N <k>:K
VC+<le>s?$:AH-L <l>:L
<m>:M
<ng>:NG <n>[kxq]:NG <n>:N
<our>:AO-R <ound>:AW-N-D <ou>:UW <oo>k:UH <oo>:UW <ow>$:OW <ow>:AW <oy>:OY <oi>:OY <oa>:OW <oe>:OW VC+<or>s?$:ER
<or>:AO-R <o>Ce[ds]?$:OW <o>ld:OW <o>$:OW <os>$:OW-Z VC+<o>n:AH i<o>n:AH ^C*<o>CV:OW <o>:AA
<ph>:F <p>:P
<que>$:K <qu>:K-W <q>:K
<rh>:R <r>:R
<sch>:SH <ssi>[oa]:SH <ss>:S <sh>:SH V<si>[oa]:ZH <si>[oa]:SH <sz>:SH [bdglmnrvw]<s>$:Z [aeioy]<s>$:Z <sm>$:Z-AH-M
<s>:S
<tch>:CH <ti>[aeo]:SH <ture>:CH-ER <tu>V:CH-UW V<th>er:DH <th>:TH <t>:T <tz>:T-S
g<u>E: <ui>:UW <uy>:AY <ur>V:UH-R <ur>:ER <u>CV:UW <u>$:UW <ue>$:UW <u>:AH
<v>:V
^<wr>:R <wh>:W <w>:W
<x>:K-S
^<y>V:Y <y>$:IY <y>:IH
<z>:Z
"""
"""left<letters>right:phones, where C, V and E stand for a consonant, a vowel, and a letter that softens c and g. At
each place of the word the longest letters that fit win, of these the first in the table; a letter without a rule is
silent. They get 17 % of CMUdict's phones wrong; with endings and compounds of the other words of CMUdict, 13 %.
"""


def pronunciations(token: str, lookup: Lookup) -> list[str]:
    """The phones of each way to say `token` (letters, apostrophes), never empty; one in UPPER case may be spelled out.

    Depends on nothing but the token and the dictionary, so `lookup` must not know words that were added to it.
    """
    word = token.lower()
    speakable = re.search("[aeiouy]", word) is not None
    ways = [phones for form in (word, f"{word}(2)", f"{word}(3)") if (phones := lookup(form))]
    if speakable and not ways:
        ways.append(_derived(word, lookup) or _compound(word, lookup) or by_rules(word) or _spelled(word))
    if not speakable or (token.isupper() and len(word) <= _MOST_LETTERS_NAMED):
        ways.append(_spelled(word))
    return list(dict.fromkeys(ways))


def _spelled(word: str) -> str:
    stem = word.removesuffix("'s") or word
    names = " ".join(_LETTER_NAMES[letter] for letter in stem if letter in _LETTER_NAMES)
    return names if stem == word else _plural(names)


def _plural(phones: str) -> str:
    """Dogs, cats, horses."""
    last = phones.split()[-1]
    return f"{phones} {'AH Z' if last in _SIBILANTS else 'S' if last in _VOICELESS else 'Z'}"


def _past(phones: str) -> str:
    """Begged, liked, wanted."""
    last = phones.split()[-1]
    return f"{phones} {'AH D' if last in ('T', 'D') else 'T' if last in _VOICELESS else 'D'}"


def _derived(word: str, lookup: Lookup) -> str | None:
    """A word of the dictionary with an ending."""
    if word.endswith("'s") and (known := lookup(word[:-2])):
        return _plural(known)
    for ending, add in (("s", _plural), ("es", _plural), ("ed", _past)):
        if word.endswith(ending) and (known := _stem(word.removesuffix(ending), lookup)):
            return add(known)
    for ending, phones in _ENDINGS.items():
        if word.endswith(ending) and (known := _stem(word.removesuffix(ending), lookup)):
            return f"{known} {phones}"
    return None


def _stem(stem: str, lookup: Lookup) -> str | None:
    """The phones of what stood before an ending: jump(ed), mak(ing), plann(ed), happi(ness)."""
    if len(stem) < _LEAST_STEM:
        return None
    forms = [stem, stem + "e"]
    if stem[-1] == stem[-2]:
        forms.append(stem[:-1])
    if stem[-1] == "i":
        forms.append(stem[:-1] + "y")
    return next(filter(None, map(lookup, forms)), None)


def _compound(word: str, lookup: Lookup) -> str | None:
    """Two words of the dictionary, as nearly of a length as can be."""
    cuts = range(_LEAST_HALF, len(word) - _LEAST_HALF + 1)
    for cut in sorted(cuts, key=lambda cut: abs(2 * cut - len(word))):
        first, second = lookup(word[:cut]), lookup(word[cut:])
        if first and second:
            return f"{first} {second}"
    return None


_Rule = tuple[str, re.Pattern[str], re.Pattern[str], str]


def _compiled(text: str) -> dict[str, list[_Rule]]:
    """By first letter, the longest letters first."""
    rules: dict[str, list[_Rule]] = {}
    for line in sorted(text.split(), key=lambda rule: rule.index("<") - rule.index(">")):
        left, letters, right, phones = re.split("[<>:]", line)
        before, after = (re.sub("[CVE]", lambda found: _CLASSES[found[0]], part) for part in (left, right))
        rule = (letters, re.compile(f"(?:{before})$"), re.compile(after), phones.replace("-", " "))
        rules.setdefault(letters[0], []).append(rule)
    return rules


_RULES = _compiled(_RULES_TEXT)


def by_rules(word: str) -> str:
    """The phones of a word by its letters alone."""
    phones = []
    at = 0
    while at < len(word):
        doubled = at > 0 and word[at] == word[at - 1] and word[at] in "bdfgjklmnprtvz"
        for letters, before, after, said in () if doubled else _RULES.get(word[at], ()):
            if word.startswith(letters, at) and before.search(word[:at]) and after.match(word, at + len(letters)):
                phones.append(said)
                at += len(letters)
                break
        else:
            at += 1
    return " ".join(filter(None, phones))
