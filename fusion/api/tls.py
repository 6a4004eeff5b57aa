"""TLS: a certificate from files, which may change while the server runs."""

from __future__ import annotations

import ssl
from pathlib import Path

from fusion.errors import SettingsError
from fusion.files import stamp_of


class Certificate:
    """The certificate that new connections are shown; those that are open keep theirs."""

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """key: None where the certificate's file has it. Raises SettingsError."""
        self._certificate = certificate
        self._key = key
        self._stamp = self._stamped()
        self.context = self._loaded()

    def refresh(self, *, force: bool = False) -> bool:
        """Read the files again if they have changed; whether they had.

        Raises SettingsError for files that do not fit; the certificate before stays in use.
        """
        stamp = self._stamped()
        if stamp == self._stamp and not force:
            return False
        self._stamp = stamp
        self._loaded()  # elsewhere first: half of a pair would be left behind in the context in use
        self._load_into(self.context)
        return True

    def _stamped(self) -> tuple[tuple[int, ...] | None, ...]:
        return tuple(stamp_of(path) for path in (self._certificate, self._key) if path is not None)

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load_into(context)
        return context

    def _load_into(self, context: ssl.SSLContext) -> None:
        try:
            # The default would ask for a passphrase on the terminal.
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")
        except ssl.SSLError as error:
            why = error.reason or str(error)
            raise SettingsError(
                f"server.tls_certificate: {self._certificate} and its key cannot be used: {why}"
            ) from None
        except OSError as error:
            files = " or ".join(str(path) for path in (self._certificate, self._key) if path is not None)
            raise SettingsError(f"server.tls_certificate: {files} cannot be read: {error.strerror}") from None
