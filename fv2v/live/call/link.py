# SPDX-License-Identifier: Apache-2.0
"""The link of a call: where one side listens, and the secret that both then share.

The secret itself never travels. It keys an HMAC-SHA256 of every offer and answer, whose fingerprints DTLS
then checks: who listens on the way reads addresses, and can neither join nor stand in the middle. The path
that offers go to is made of it, too, so that the server refuses what comes from elsewhere unread.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

SCHEME = "fv2v"
_LINK = re.compile(rf"{SCHEME}://(\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]]+):(\d{{1,5}})/([\w-]{{16,64}})/?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Link:
    """Who has it may join."""

    host: str
    port: int
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "Link":
        """ValueError for anything but what `str` of a link is; it doesn't repeat the secret."""
        found = _LINK.fullmatch(text.strip())
        if found is None or not 0 < int(found[2]) < 1 << 16:
            raise ValueError(
                f"expected a link as `fv2v call --listen` prints it, {SCHEME}://HOST:PORT/SECRET, got "
                f"{len(text)} characters that are none"
            )
        return cls(found[1].strip("[]"), int(found[2]), found[3])

    def __str__(self) -> str:
        return f"{SCHEME}://{self._authority}/{self.secret}"

    @property
    def origin(self) -> str:
        """Of the server that listens there."""
        return f"http://{self._authority}"

    @property
    def _authority(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def sign(secret: str, purpose: str, body: bytes) -> str:
    """64 hexadecimal digits that only who knows the secret can make of an "offer", "answer" or "path"."""
    return hmac.new(secret.encode(), purpose.encode() + b"\0" + body, hashlib.sha256).hexdigest()


def is_signed(secret: str, purpose: str, body: bytes, signature: str) -> bool:
    """Whether `signature` is `sign`'s, compared in constant time."""
    return hmac.compare_digest(sign(secret, purpose, body).encode(), signature.encode("utf-8", "replace"))
