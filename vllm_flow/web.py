"""The web, through one guarded GET: an address that was checked is the very address that is connected to.

A host that is allowed by its name may resolve to a machine of the local network, and to another one a moment later. So
the name is resolved once, every address it has is judged, and the connection goes to one of these; the name itself is
left to TLS and the Host header. Redirects come through the same gate. Proxies of the environment would resolve anew,
and are not asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Self
from urllib.parse import urljoin, urlsplit, urlunsplit

from vllm_flow import __version__
from vllm_flow.core.errors import WebError, listed, shown
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.pages import Page, Web
from vllm_flow.core.registry import resource

if TYPE_CHECKING:
    import httpx2

CLIENT = "httpx2"
MISSING = f"the package {CLIENT} is not installed. Install it: pip install 'vllm-flow[web]'"
WHERE = "resources.web"
PORTS = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
TEXTS = frozenset({"", "application/json", "application/xml"})
"""Media types that are texts, beside text/…, …+json and …+xml."""
ACCEPT = "text/*, application/json, */*;q=0.1"
NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port; as an entry of an allow-list its host may be `*.example.org`: all below that name."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of a URL, or of an entry, whose scheme is https unless it says otherwise. Raises ValueError."""
        parts = urlsplit(text if "://" in text else f"https://{text}")
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("it is no address of the web")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it holds a user's name")
        host = parts.hostname if ":" in parts.hostname else parts.hostname.encode("idna").decode("ascii")
        return cls(parts.scheme, host.lower().removesuffix("."), parts.port or PORTS[parts.scheme])

    def covers(self, other: Origin) -> bool:
        if (self.scheme, self.port) != (other.scheme, other.port):
            return False
        return other.host.endswith(self.host[1:]) if self.host.startswith("*.") else other.host == self.host

    def __str__(self) -> str:
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}{port}"


@resource("web/http")
@dataclass(frozen=True)
class Http:
    """GETs texts from the hosts that are listed, and from no others."""

    hosts: tuple[str, ...] = ()
    """`example.org`, `*.example.org` for all below it, `example.org:8443`; over https, unless it is `http://…`."""
    private: bool = False
    """Whether a listed host may be on this machine or in the local network."""
    timeout_s: Annotated[float, above(0)] = 10.0
    """How long one page may take, redirects included."""
    max_bytes: Annotated[int, at_least(1)] = 1_000_000
    """How long a page may be, unpacked."""
    redirects: Annotated[int, at_least(0)] = 3

    def problems(self) -> Iterator[OptionProblem | str]:
        for place, host in enumerate(self.hosts):
            try:
                bare = urlsplit(host if "://" in host else f"https://{host}")
                fits = Origin.parse(host).host.count("*") == host.startswith("*.") and not (bare.path or bare.query)
            except ValueError:
                fits = False
            if not fits:
                problem = f"{shown(host)} is no host. Write example.org, *.example.org or http://localhost:8080."
                yield OptionProblem(("hosts", str(place)), problem)
        if find_spec(CLIENT) is None:
            yield f"{MISSING}."

    def refusal(self, url: str, where: str = WHERE) -> str:
        """Why no request may go there, and what would be right; empty when one may, for all its name tells."""
        try:
            wanted = Origin.parse(url)
        except ValueError as error:
            what = "its host is no name" if isinstance(error, UnicodeError) else str(error)
            return f"{what}. Write one such as https://example.org/page."
        if any(Origin.parse(one).covers(wanted) for one in self.hosts):
            return ""
        return f"{wanted} is not allowed. Add it to {where}.hosts, which has: {listed(self.hosts)}."

    def open(self) -> Web:
        return GuardedWeb(self)


class GuardedWeb:
    """Connects for each page anew, in whatever event loop it is asked."""

    def __init__(self, options: Http, where: str = WHERE) -> None:
        """where: the place of the options in a configuration, for messages."""
        self._options, self._where = options, where

    async def get(self, url: str) -> Page:
        try:
            import httpx2
        except ModuleNotFoundError as cause:
            raise WebError(f"{url}: {MISSING}.") from cause
        try:
            async with asyncio.timeout(self._options.timeout_s):
                return await self._followed(url)
        except TimeoutError:
            limit = f"{self._options.timeout_s:g} s"
            raise WebError(f"{url}: no whole page came within {limit}. Raise {self._where}.timeout_s.") from None
        except httpx2.HTTPError as error:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise WebError(f"{url}: no page could be had: {what.rstrip('.')}. Look at the address.") from error

    async def _followed(self, url: str) -> Page:
        place = url
        for _ in range(self._options.redirects + 1):
            found = await self._once(place)
            if isinstance(found, Page):
                return found
            place = urljoin(place, found)
        most = self._options.redirects
        raise WebError(f"{url}: it redirects more than {most} times. Give the address it leads to: {place}.")

    async def _once(self, url: str) -> Page | str:
        """The page, or where it has moved."""
        import httpx2

        if problem := self._options.refusal(url, self._where):
            raise WebError(f"{url}: {problem}")
        origin, parts = Origin.parse(url), urlsplit(url)
        address = await self._address(url, origin)
        netloc = f"[{address}]:{origin.port}" if ":" in address else f"{address}:{origin.port}"
        named = str(origin).partition("://")[2]
        headers = {"Host": named, "User-Agent": f"vllm-flow/{__version__}", "Accept": ACCEPT}
        limits = httpx2.Timeout(self._options.timeout_s)
        context = _trusted() if origin.scheme == "https" else False
        async with httpx2.AsyncClient(trust_env=False, timeout=limits, verify=context) as client:
            target = urlunsplit((origin.scheme, netloc, parts.path or "/", parts.query, ""))
            request = client.build_request("GET", target, headers=headers, extensions={"sni_hostname": origin.host})
            response = await client.send(request, stream=True)
            try:
                if response.status_code in REDIRECTS and "location" in response.headers:
                    return str(response.headers["location"])
                return await self._page(url, response)
            finally:
                await response.aclose()

    async def _address(self, url: str, origin: Origin) -> str:
        """The first of the host's addresses, when all of them may be connected to."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise WebError(f"{url}: {origin.host} has no address ({why}). Look at the name.") from None
        addresses = [str(one[4][0]) for one in found]
        for one in addresses if not self._options.private else ():
            if not is_public(one):
                problem = f"{origin.host} is {one}, on this machine or in the local network"
                raise WebError(f"{url}: {problem}. If that is meant: {self._where}.private=true.")
        return addresses[0]

    async def _page(self, url: str, response: httpx2.Response) -> Page:
        if not response.is_success:
            raise WebError(f"{url}: the server answered {response.status_code} {response.reason_phrase}. Look there.")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not (kind.startswith("text/") or kind in TEXTS or kind.endswith(("+json", "+xml"))):
            raise WebError(f"{url}: it is {kind}, and only texts are read. Give the address of a text.")
        body = bytearray()
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > self._options.max_bytes:
                most = self._options.max_bytes
                raise WebError(f"{url}: it is longer than {most} bytes. Raise {self._where}.max_bytes.")
        encoding = response.charset_encoding or "utf-8"
        try:
            return Page(url, kind, body.decode(encoding))
        except (LookupError, UnicodeDecodeError):
            raise WebError(f"{url}: its text is not {encoding}, as it says. Give another address.") from None


@cache  # it reads a long file
def _trusted() -> ssl.SSLContext:
    """Whom TLS believes: SSL_CERT_FILE and SSL_CERT_DIR count."""
    import httpx2

    return httpx2.create_ssl_context()


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet: none of this machine, of a local network, or of a group.

    An IPv6 address that carries an IPv4 address (RFC 4291, 3056, 6052) is judged by both.
    """
    one = ipaddress.ip_address(address.partition("%")[0])
    inner = []
    if isinstance(one, ipaddress.IPv6Address):
        if one.ipv4_mapped is not None:
            return is_public(str(one.ipv4_mapped))
        inner = [str(found) for found in (one.sixtofour,) if found is not None]
        inner += [str(ipaddress.IPv4Address(one.packed[-4:]))] if one in NAT64 else []
    return one.is_global and not one.is_multicast and all(map(is_public, inner))
