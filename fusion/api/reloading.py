"""Files that are read again while the server runs: the keys, and the certificate."""

from __future__ import annotations

import asyncio
import logging

from fusion.api.auth import KeyRing
from fusion.api.tls import Certificate
from fusion.errors import SettingsError
from fusion.keys import KeyFile
from fusion.logs import event
from fusion.settings import KeySettings

log = logging.getLogger(__name__)

# A key that is revoked is refused within a second.
POLL_SECONDS = 0.25
# What a crash may lose of when keys were used.
NOTE_SECONDS = 10.0


class Reloading:
    """Keeps the key ring and the certificate as their files are.

    A file that cannot be used is told in the log once, and what was read before stays.
    """

    def __init__(
        self, file: KeyFile, ring: KeyRing, datastores: frozenset[str], certificate: Certificate | None
    ) -> None:
        """Raises SettingsError for keys that cannot be read."""
        self._file = file
        self._ring = ring
        self._datastores = datastores
        self._certificate = certificate
        self._used = file.last_used()
        self._noted: dict[str, float] = {}
        self._stamp = file.stamp()
        self._install(file.read())

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        noted_at = loop.time()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.refresh()
            if loop.time() - noted_at > NOTE_SECONDS:
                noted_at = loop.time()
                await asyncio.to_thread(self.note_use)

    def refresh(self, *, force: bool = False) -> None:
        """`force`: also what looks unchanged."""
        stamp = self._file.stamp()
        if force or stamp != self._stamp:
            self._stamp = stamp
            try:
                self._install(self._file.read())
            except SettingsError as error:
                event(log, logging.ERROR, "keys_unusable", f"the API keys stay as they were: {error}")
            else:
                event(log, logging.INFO, "keys_read", "the API keys were read again")
        if self._certificate is not None:
            try:
                if self._certificate.refresh(force=force):
                    event(log, logging.INFO, "certificate_read", "the certificate was read again")
            except SettingsError as error:
                event(log, logging.ERROR, "certificate_unusable", f"the certificate stays as it was: {error}")

    def note_use(self) -> None:
        """Write down when keys were used last, if that has changed."""
        used = self._used | self._ring.last_used()
        if used != self._noted:
            try:
                self._file.note_use(used)
            except OSError as error:  # a full disk, say
                why = f"when API keys were used last cannot be noted: {error.strerror}"
                event(log, logging.WARNING, "key_use_not_noted", why)
            self._noted = used

    def _install(self, keys: dict[str, KeySettings]) -> None:
        for key in keys.values():
            if key.datastore not in self._datastores:
                why = f"the API key {key.id} is for the datastore {key.datastore}, which is not there"
                event(log, logging.WARNING, "key_left_out", why, key=key.id, datastore=key.datastore)
        self._used = {identity: at for identity, at in self._used.items() if identity in keys}
        self._ring.install(key for key in keys.values() if key.datastore in self._datastores)
