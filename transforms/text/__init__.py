"""What is known of texts, words and scripts, each fact once: tokens to words, words to segments, folding for search,
normalization for scores.

In and out: strings and offsets. Must not know any other room.
"""
