"""What all suites share."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # an example may take long on a busy machine
settings.load_profile("untimed")
