"""Who may do what: users of the app, its admins, keys of the API; all from the environment, none in a file.

    RAYON_APP_USERS   "anna:her-password,ben:his-password"   who may open the app; unset: everyone
    RAYON_APP_ADMINS  "anna"                                  who may promote and roll back
    RAYON_API_KEYS    "shop:its-key,erp:its-key"              what may call the API; unset: everything

Secrets are kept as digests and compared in constant time. Knows no HTTP beyond a header's text.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

USERS, ADMINS, KEYS = "RAYON_APP_USERS", "RAYON_APP_ADMINS", "RAYON_API_KEYS"
EVERYONE = "api"
RESERVED = (EVERYONE, "app", "replay")
"""Names that stand for whoever has none."""
_MIN_SECRET, _MAX_NAME = 8, 64


class AccessError(ValueError):
    """A variable of the environment is not what it should be. The message names it, and no secret."""


class Access(NamedTuple):
    """Users and keys by name, as SHA-256 digests of their secrets, and the names of the admins.

    `local` says that the server listens on this machine alone: where there are no users then, whoever is there is an
    admin. (Behind a proxy that lets others in, name users.)
    """

    users: Mapping[str, bytes]
    admins: frozenset[str]
    keys: Mapping[str, bytes]
    local: bool

    def login(self, name: str, password: str) -> bool:
        """Say whether a user may open the app."""
        return _same(self.users.get(name, b""), password)

    def admin(self, name: str | None) -> bool:
        """Say whether a user may promote and roll back."""
        return name in self.admins if self.users else self.local

    def caller(self, authorization: str, key: str = "") -> str | None:
        """Return the name of who calls the API, from the headers `Authorization: Bearer KEY` or `X-API-Key: KEY`; None
        where the key is not known. Everyone is 'api' where there are no keys.
        """
        if not self.keys:
            return EVERYONE
        given = key or authorization.removeprefix("Bearer ").strip()
        found = None
        for name, digest in self.keys.items():  # all of them, so that the time tells nothing
            if _same(digest, given):
                found = name
        return found


def read_access(environment: Mapping[str, str], local: bool) -> Access:
    """Return what the environment allows.

    Raises:
        AccessError: an entry is not 'name:secret', a secret has fewer than 8 characters, an admin is no user.
    """
    users, keys = _pairs(environment, USERS), _pairs(environment, KEYS)
    admins = frozenset(name.strip() for name in environment.get(ADMINS, "").split(",") if name.strip())
    if strangers := admins - users.keys():
        raise AccessError(f"{ADMINS} names {', '.join(sorted(strangers))}, who is no user of {USERS}: add them there.")
    return Access(users, admins, keys, local)


def _pairs(environment: Mapping[str, str], variable: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    entries = [entry.strip() for entry in environment.get(variable, "").split(",") if entry.strip()]
    for place, entry in enumerate(entries, 1):
        name, colon, secret = entry.partition(":")
        if not colon or not name or len(secret) < _MIN_SECRET:
            raise AccessError(
                f"{variable}: entry {place} is not 'name:secret' with a secret of {_MIN_SECRET} characters or more "
                "(entries are separated by commas)."
            )
        if name in RESERVED or "/" in name or len(name) > _MAX_NAME:
            raise AccessError(f"{variable}: entry {place}: choose a name of up to {_MAX_NAME} characters without '/'.")
        if name in found:
            raise AccessError(f"{variable}: '{name}' is there twice.")
        found[name] = sha256(secret.encode()).digest()
    return found


def _same(digest: bytes, secret: str) -> bool:
    return hmac.compare_digest(digest, sha256(secret.encode("utf-8", "surrogatepass")).digest())
