"""
Keep a telephone-number inventory true in a SQL database.
"""

from __future__ import annotations

__version__ = "0.1.0"
