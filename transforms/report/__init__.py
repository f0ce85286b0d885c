"""The tables → one HTML page on how a lake stands: facts first, then the page.

Must not know audio or engines.
"""
