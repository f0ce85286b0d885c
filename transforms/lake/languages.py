"""A column of languages, as people spell them → their normal codes."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from schemas.config import AUTO_PER_CHUNK
from schemas.languages import code, is_unsaid

_SPELLINGS = 10_000
"""More ways to write languages than there are."""
_SHOWN = 5


def language_codes(rows: DataFrame) -> Column:
    """The normal code of the column `language`, or 'auto-per-chunk'; null where it says nothing. Reads the column.

    Raises ValueError for what is no language.
    """
    spelled = F.col("language").cast("string")
    known = rows.where(spelled.isNotNull()).select(spelled).distinct().limit(_SPELLINGS).collect()
    codes = {tag: tag if tag == AUTO_PER_CHUNK else code(tag) for (tag,) in known if not is_unsaid(tag)}
    wrong = sorted(tag for tag, normal in codes.items() if normal is None)
    if wrong or len(known) == _SPELLINGS:
        raise ValueError(
            f"column language holds what is no language: {', '.join(map(repr, wrong[:_SHOWN]))}; "
            "write a code or a name ('en', 'pt-BR', 'German'), or leave it empty"
        )
    if not codes:
        return F.lit(None).cast("string")
    pairs = [F.lit(part) for pair in codes.items() for part in pair]
    return F.try_element_at(F.create_map(*pairs), spelled)
