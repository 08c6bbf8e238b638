"""Makes all addresses on the page relative, so that proxies need not forward the public address.

Knows where Gradio writes its guess of the public address, and the head of its page; knows nothing of access
rights.
"""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from eft_demo.ui.page import asset

# From these headers Gradio would build addresses that other visitors may not reach.
GUESSED_FROM = (b"x-gradio-server", b"x-forwarded-host", b"x-forwarded-proto")
HERE = b"."  # Gradio's page resolves this against its own address
HEAD = b"<head>"
ICON = b'\n<link rel="icon" href="./favicon.ico">'  # or the browser requests one from the root of the site
MANIFEST = b'href="/manifest.json"'


class OwnAddress:
    """ASGI middleware: Gradio's page calls the server relative to where it was opened."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.head = HEAD + b"\n<script>\n" + asset("early.js").encode() + b"</script>" + ICON

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"][:2] in ("/#", "/?") and scope["method"] in ("GET", "HEAD"):
            await send({"type": "http.response.start", "status": 307, "headers": _to_the_link(scope)})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [(name, value) for name, value in scope["headers"] if name.lower() not in GUESSED_FROM]
        scope = {**scope, "headers": [*headers, (b"x-gradio-server", HERE)]}
        if scope["path"] in ("/", "/config"):  # the query is for our page; Gradio has its own parameters
            scope["query_string"] = b""
        await self.app(scope, receive, self._relative(send) if scope["path"] == "/" else send)

    def _relative(self, send: Send) -> Send:
        """`send` that puts our script first in the page's head and removes links to the site's root."""
        start: list[Message] = []
        body = bytearray()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            page = bytes(body).replace(HEAD, self.head, 1)
            page = page.replace(MANIFEST, MANIFEST.replace(b"/", b"./"), 1)
            headers = [(name, value) for name, value in start[0]["headers"] if name != b"content-length"]
            headers.append((b"content-length", str(len(page)).encode()))
            await send({**start[0], "headers": headers})
            await send({"type": "http.response.body", "body": page})

        return sending


def _to_the_link(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Redirect to the page with the link after a #: chat and mail programs may write %23 or %3F instead."""
    raw = scope.get("raw_path") or scope["path"].encode()
    link = re.sub(rb"^.*?/(?:%23|%3f|[#?])", b"", raw, count=1, flags=re.IGNORECASE)
    link += b"&" + scope["query_string"] if scope["query_string"] else b""
    up = b"../" * scope["path"].count("/", 1) or b"./"
    return [(b"location", up + b"#" + link), (b"cache-control", b"no-store"), (b"content-length", b"0")]
