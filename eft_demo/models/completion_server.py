"""Requests to a completion server over HTTP: tries, time limits, the key, and an error for each fault.

Every request may be repeated: token ids go in, one token comes out, and the server changes nothing. Knows
HTTP; does not know what the answers mean. Importing this module imports httpx: import it only where needed.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
import weakref
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from eft_demo.errors import RemoteError, error_text
from eft_demo.families.server import Server
from eft_demo.host.environment import proxy_variables, without_secrets
from eft_demo.settings import LOOPBACK, Settings

PAUSE_S = 0.1  # before the second try; doubled before each further one
# After a fault, requests fail at once for this share of the time that it took, but at least for REST_S: the
# engine tries each column on its own, and those that need no server must not wait for every one of them.
REST_SHARE, REST_S = 0.25, 0.2
MAX_SMALL_BYTES = 4_000_000  # of an answer that is not log-probs
PASSING = (429, 500, 502, 503, 504)  # may be over at the next try
CHECK_ADDRESS = "Please check that its address leads to a completion server such as vLLM, and try again."
MORE_LOGPROBS = "Please start it with --max-logprobs -1 (vLLM), so that it sends as many."
START_AGAIN = "Please look at its log, and try again."


class CompletionServer:
    """A server of one model. `role` is for messages. Not thread-safe: the engine's thread uses it."""

    def __init__(self, role: str, server: Server, settings: Settings) -> None:
        """Makes no request. Raises RemoteError if the environment's proxies or certificates are unusable."""
        self.server, self.settings = server, settings
        self._name = f"The server {server.address} of the model {role}"
        # The key belongs to one server: a family file that names another must not get it.
        self._key = settings.base_key if server.url == settings.base_url else ""
        try:
            self._client = httpx.Client(
                headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
                # A proxy cannot reach this machine's own addresses.
                trust_env=not _is_loopback(server.url),
                follow_redirects=False,  # or the key and the texts would go to another host
            )
        except Exception as error:  # a proxy or a certificate file that the environment names
            raise self.fault(
                f"cannot be asked ({self._brief(error)})",
                "Please correct or unset the environment's proxies (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY) and "
                "SSL_CERT_FILE.",
            ) from None
        weakref.finalize(self, self._client.close)
        self._rest_until_s = 0.0
        self._last_fault = ""

    def fault(self, what: str, remedy: str) -> RemoteError:
        """The error for a fault of this server: `what` goes on after its name."""
        return RemoteError(f"{self._name} {what}. {remedy}")

    def get(self, url: str) -> Any:
        """The JSON at this address. Raises RemoteError."""
        return self._ask("GET", url, None, MAX_SMALL_BYTES)

    def post(self, url: str, body: Mapping[str, object], most_bytes: int = MAX_SMALL_BYTES) -> Any:
        """The JSON with which the server answers `body`. Raises RemoteError."""
        return self._ask("POST", url, body, most_bytes)

    def ask_if_there(self, method: str, url: str, body: Mapping[str, object] | None = None) -> Any:
        """The JSON of a page that not every server has, or None. Tries once and remembers no fault."""
        try:
            return self._once(
                method, url, body, MAX_SMALL_BYTES, time.monotonic() + self.settings.base_answer_s
            )
        except (RemoteError, _Passing, _Silent):
            return None

    def _ask(self, method: str, url: str, body: Mapping[str, object] | None, most_bytes: int) -> Any:
        """The answer to the first try that gets one, within the time for all of them."""
        began_s = time.monotonic()
        if began_s < self._rest_until_s:
            raise RemoteError(self._last_fault)
        until_s, pause_s = began_s + self.settings.base_answer_s, PAUSE_S
        for left in reversed(range(self.settings.base_tries)):
            try:
                return self._once(method, url, body, most_bytes, until_s)
            except _Passing as fault:
                message, is_last = str(fault), not left or time.monotonic() + pause_s >= until_s
            except _Silent as fault:
                message, is_last = str(fault), True
            if is_last:
                break
            time.sleep(pause_s)
            pause_s *= 2
        now_s = time.monotonic()
        self._last_fault, self._rest_until_s = message, now_s + max(REST_S, REST_SHARE * (now_s - began_s))
        raise RemoteError(message)

    def _once(
        self, method: str, url: str, body: Mapping[str, object] | None, most_bytes: int, until_s: float
    ) -> Any:
        """One try. Raises _Passing or _Silent if a later one may succeed, RemoteError if none can."""
        left_s = max(until_s - time.monotonic(), 0.001)
        limits = httpx.Timeout(left_s, connect=min(left_s, self.settings.base_connect_s))
        try:
            with self._client.stream(method, url, json=body, timeout=limits) as answer:
                content = self._content(answer, most_bytes, until_s)
        except httpx.ConnectTimeout:
            raise _Silent(self._unreachable(f"no connection in {self.settings.base_connect_s:g} s")) from None
        except httpx.TimeoutException:
            raise _Silent(self._late()) from None
        except httpx.ProxyError as error:
            raise self.fault(
                f"cannot be reached through the proxy ({self._brief(error)})",
                f"Please correct or unset {' and '.join(proxy_variables())}, or name the server's host in "
                "NO_PROXY.",
            ) from None
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error).upper():
                raise self._untrusted(error) from None
            raise _Passing(self._unreachable(self._brief(error))) from None
        except (httpx.InvalidURL, UnicodeError) as error:  # such as a name that cannot be encoded
            raise self.fault(
                f"has an address that cannot be used ({self._brief(error)})", CHECK_ADDRESS
            ) from None
        except (httpx.TransportError, httpx.DecodingError, ssl.SSLError) as error:
            raise _Passing(
                str(self.fault(f"broke off its answer ({self._brief(error)})", START_AGAIN))
            ) from None
        if answer.status_code != httpx.codes.OK:
            raise self._refusal(answer.status_code, content)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise _Passing(str(self.fault("sent something other than JSON", CHECK_ADDRESS))) from None

    def _content(self, answer: httpx.Response, most_bytes: int, until_s: float) -> bytes:
        """The whole answer. Raises _Silent when it comes too slowly, RemoteError if it is too long."""
        pieces, size = [], 0
        for piece in answer.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > most_bytes:
                raise self.fault(f"sent more than {most_bytes:,} bytes", "Please check its address.")
            if time.monotonic() > until_s:
                raise _Silent(self._late())
        return b"".join(pieces)

    def _late(self) -> str:
        fault = f"did not answer within {self.settings.base_answer_s:g} s"
        return str(
            self.fault(fault, "Please check that it runs and is not overloaded, or raise EFT_BASE_ANSWER_S.")
        )

    def _unreachable(self, reason: str) -> str:
        proxies = [] if _is_loopback(self.server.url) else proxy_variables()
        hint = f" Requests go through {' and '.join(proxies)}." if proxies else ""
        remedy = f"Please check that it runs and that its address is right, and try again.{hint}"
        return str(self.fault(f"cannot be reached ({reason})", remedy))

    def _untrusted(self, error: Exception) -> RemoteError:
        return self.fault(
            f"has a certificate that is not trusted ({self._brief(error)})",
            "Please set SSL_CERT_FILE to the certificates of your network.",
        )

    def _refusal(self, code: int, content: bytes) -> RemoteError | _Passing:
        """The error for an HTTP code other than 200."""
        if code in PASSING:
            what = "takes no more requests" if code == 429 else "has an internal error"
            return _Passing(str(self.fault(f"{what} (HTTP {code})", START_AGAIN)))
        if code in (401, 403):
            remedy = (
                "Please set EFT_BASE_KEY to a key that may use it."
                if self.server.url == self.settings.base_url
                else f"Please set EFT_BASE_KEY, and EFT_BASE_URL={self.server.url}: the key goes there alone."
            )
            return self.fault(f"does not accept {'this key' if self._key else 'requests without a key'} "
                              f"(HTTP {code})", remedy)  # fmt: skip
        if code == 404:
            remedy = "Please check its address, which usually ends in /v1, and the name of the model."
            return self.fault("has no such page or model (HTTP 404)", remedy)
        if 300 <= code < 400:
            remedy = "Please give the address that it leads to."
            return self.fault(
                f"sends requests to another address (HTTP {code}), which is not followed", remedy
            )
        reason = self._reason(content)
        remedy = MORE_LOGPROBS if "logprobs" in reason else "Please look at its log."
        return Refused(str(self.fault(f"refused a request (HTTP {code}{reason})", remedy)))

    def _reason(self, content: bytes) -> str:
        """What the server says about a refusal, with a colon before it, or ""."""
        try:
            found = json.loads(content)
            found = found.get("error", found)
            text = found["message"] if isinstance(found, dict) else found
        except (ValueError, RecursionError, AttributeError, KeyError):
            return ""
        shown = " ".join(self._safe(str(text)).split())[:160]
        return f": {shown}" if shown.isprintable() and shown else ""

    def _brief(self, error: Exception) -> str:
        return self._safe(error_text(error, None))[:160]

    def _safe(self, text: str) -> str:
        return without_secrets(text.replace(self._key, "***") if self._key else text)


class Refused(RemoteError):
    """The server does not grant a request, such as one for more log-probs than it sends."""

    def is_about(self, what: str) -> bool:
        """Whether the server names this as the reason."""
        return what in str(self)


class _Passing(Exception):
    """A fault that may be over at the next try. The message is for people."""


class _Silent(Exception):
    """The time is over. The message is for people."""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK
