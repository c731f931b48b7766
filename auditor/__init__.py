"""Audits submissions to OpenAI's Parameter Golf challenge for legality."""

from __future__ import annotations

__version__ = "0.1.0"
