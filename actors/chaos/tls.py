"""TLS for simulated exchanges: a certificate authority that is made in memory, and nobody's but a test's or demo's."""

import ssl


class Authority:
    """A fresh certificate authority; needs the extra ``chaos``. Its private key is never written anywhere."""

    def __init__(self) -> None:
        import trustme

        self._ca = trustme.CA()

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for :class:`~actors.transport.network.SystemNetwork`'s ``ca_pem``."""
        return self._ca.cert_pem.bytes()

    def server_context(self, *names: str) -> ssl.SSLContext:
        """What a server needs that is to be trusted as each of ``names``, host names or addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # trustme's annotation names a type of pyOpenSSL, which is not installed
        self._ca.issue_cert(*names).configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
        return context
