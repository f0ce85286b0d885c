"""Which paths and addresses a job may open: those in `fetch.allowed_roots`, and over http nothing in a private network
that is not among them.

A manifest is often written by others than the job's owner: what it names must not reach what only the job's machines
can see, before all a cloud's metadata service (169.254.169.254).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transforms.errors import RecordingError
from transforms.stores.reasons import NotAllowed

if TYPE_CHECKING:
    import aiohttp

_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs"}
"""Protocols by other names."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Where a network of IPv6 alone reaches the addresses of IPv4 (RFC 6052)."""
_AZURE_HOST = ipaddress.IPv4Address("168.63.129.16")
"""Serves the configuration of Azure's machines to them alone, although the address looks public."""


def allowed(uri: str, roots: Sequence[str]) -> str:
    """`uri`, if it is in one of `roots` or there are none. Links and '..' of local paths are followed first.

    Raises RecordingError 'not_allowed' otherwise.
    """
    chain = uri.split("::") if "://" in uri.partition("::")[2] else [uri]  # as fsspec chains filesystems
    try:
        if len(chain) > 1 and any(link.startswith(("http://", "https://")) for link in chain):
            raise NotAllowed("an address over http must stand alone, without other filesystems around it")
        for link in chain:
            _check_in(roots, link)
    except NotAllowed as error:
        raise RecordingError("fetch", "not_allowed", f"{uri}: {error}") from error
    return uri


def http_options(uri: str, roots: Sequence[str]) -> dict[str, Any]:
    """For fsspec's filesystem of http: a client that opens no private address, unless one of `roots` names the host of
    `uri`, and follows no redirect to what a manifest may not name."""
    return {"get_client": partial(_client, roots=tuple(roots), named=_names_host(uri, roots))}


def _check_in(roots: Sequence[str], uri: str) -> None:
    if roots and not any(_holds(root, uri) for root in roots):
        raise NotAllowed(
            f"{uri} is in none of fetch.allowed_roots ({', '.join(roots)}); correct the uri, or add its folder or "
            "address there and try --reprocess failed"
        )


def _holds(root: str, uri: str) -> bool:
    from transforms.stores.fetch import local_path  # which asks this module

    folder, path = local_path(root), local_path(uri)
    if folder is not None and path is not None:
        try:
            return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
        except ValueError:  # a zero byte: nothing is opened by this name, and its own failure says why
            return True
    if folder is not None or path is not None:
        return False
    try:
        scheme, host, port, inner = _parts(uri)
        root_scheme, root_host, root_port, root_inner = _parts(root)
    except ValueError:  # no address
        return False
    return (
        scheme == root_scheme
        and root_host in ("", host)
        and root_port in (None, port)
        and (root_inner == "" or inner == root_inner or inner.startswith(f"{root_inner}/"))
        and ".." not in inner.split("/")  # a folder above to some stores, a name to others
    )


def _names_host(uri: str, roots: Sequence[str]) -> bool:
    return any(_holds(root, uri) and _parts(root)[1] for root in roots if "://" in root)


def _parts(uri: str) -> tuple[str, str, int | None, str]:
    """Scheme, host (or bucket), port (None where it is not written: a root holds all then), and the path without
    slashes around it."""
    scheme, _, rest = uri.partition("://")
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    if scheme in ("http", "https") and rest:
        from yarl import URL  # as the client reads it: another reading would be a way around

        url = URL(uri)
        return scheme, (url.host or "").lower().rstrip("."), url.explicit_port, url.path.strip("/")
    if uri.startswith("dbfs:/"):
        return "dbfs", "", None, uri.removeprefix("dbfs:").strip("/")
    host, _, path = rest.partition("/")
    return scheme, host, None, path.strip("/")


async def _client(*, roots: Sequence[str], named: bool, **options: Any) -> aiohttp.ClientSession:
    import aiohttp

    async def check(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Sees each address of a chain of redirects."""
        _check_in(roots, str(request.url))
        if named and not _names_host(str(request.url), roots):
            raise NotAllowed(f"it redirects to {request.url}, whose host is not named in fetch.allowed_roots")
        return await send(request)

    connector = aiohttp.TCPConnector(socket_factory=None if named else _public_socket)
    return aiohttp.ClientSession(connector=connector, middlewares=(check,), **options)


def _public_socket(address: tuple[Any, ...]) -> socket.socket:
    """For an address that a name was resolved to, however it was written, as getaddrinfo gives it."""
    family, kind, protocol, _, where = address
    if _is_private(where[0]):
        raise NotAllowed(
            "its server, or the one that it redirects to, is in a private network; where recordings are meant to come "
            "from there, name its host in fetch.allowed_roots and try --reprocess failed"
        )
    return socket.socket(family, kind, protocol)


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        inner = (
            ip.ipv4_mapped or ip.sixtofour or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        )
        ip = inner or ip
    return not ip.is_global or ip.is_multicast or ip == _AZURE_HOST
