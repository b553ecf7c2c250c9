"""What holds for all tests: a property is about values, never about how long a busy machine takes for one example."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
