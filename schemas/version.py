"""Of the package, and of the tables that it makes."""

from __future__ import annotations

VERSION = "0.2.0"
TABLES_VERSION = ".".join(VERSION.split(".")[:2])
"""Tables carry it, as the property `lakescribe.version`: a release that changes them raises the second number."""
