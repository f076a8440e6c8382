"""What comes back from a call, as an agent is given it: bounded, plain, without secrets."""

import base64
import binascii
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
)

from mcp_server.fence.reading.magic import HEAD_BYTES, media_type
from orchestrator.words import printable

MEDIA_BYTES = 700_000
"""Of the pictures of one result, as in the workspace: what providers take."""

MAX_BLOCKS = 1000
"""Parts of one result that are looked at."""

MIN_SECRET_CHARS = 6
"""What is shorter is no secret, and stands in every other word."""


@dataclass(frozen=True)
class Cleaning:
    """How what a server says is made fit for an agent and for the record."""

    max_bytes: int
    """Of text."""
    secrets: Sequence[str] = ()
    """What the variables hold that the server was given; some servers repeat them."""

    def hidden(self, said: str) -> str:
        """Return a text, which may be JSON, with no secret in it."""
        for secret in self.secrets:
            if len(secret) >= MIN_SECRET_CHARS:
                for written in {secret, json.dumps(secret)[1:-1]}:
                    said = said.replace(written, "***")
        return said

    def text(self, said: str) -> str:
        """Return a text with no secret in it, control characters shown, and its end cut off."""
        whole = printable(self.hidden(said).replace("\r\n", "\n")).encode()
        if len(whole) <= self.max_bytes:
            return whole.decode()
        begun = whole[: self.max_bytes].decode(errors="ignore")
        return f"{begun}\n[{self.max_bytes:,} of {len(whole):,} bytes; ask for less at once]"

    def result(self, result: CallToolResult) -> CallToolResult:
        """Return a result as one text, with the pictures that a model can be shown."""
        blocks = result.content[:MAX_BLOCKS]
        texts = list(_texts(blocks))
        if not texts and result.structured_content is not None:
            texts = [json.dumps(result.structured_content, ensure_ascii=False)]
        media, left_out = _media(blocks)
        if len(result.content) > MAX_BLOCKS:
            left_out.append(f"[{len(result.content) - MAX_BLOCKS:,} more parts; left out]")
        said = self.text("\n".join([*texts, *left_out]))
        text = [TextContent(type="text", text=said)] if said or not media else []
        return CallToolResult(content=[*text, *media], is_error=result.is_error)


def _texts(blocks: Sequence[ContentBlock]) -> Iterator[str]:
    for block in blocks:
        match block:
            case TextContent(text=text):
                yield text
            case ResourceLink(uri=uri, name=name):
                yield f"{name}: {uri}"
            case EmbeddedResource(resource=found) if not isinstance(found, BlobResourceContents):
                yield found.text


def _media(blocks: Sequence[ContentBlock]) -> tuple[list[ContentBlock], list[str]]:
    """Return the pictures that a model is shown, and what is said in place of all else."""
    shown: list[ContentBlock] = []
    said: list[str] = []
    left = MEDIA_BYTES
    for encoded in _encoded(blocks):
        try:
            content = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            said.append("[something that is neither text nor a picture; left out]")
            continue
        # By what it is: a provider refuses a picture that is called another kind.
        kind = media_type(content[:HEAD_BYTES])
        if kind is None or not kind.mime.startswith("image/"):
            said.append(f"[{len(content):,} bytes that are no picture; left out]")
        elif len(content) > left:
            said.append(
                f"[a picture of {len(content):,} bytes; left out, there is room for {left:,}]"
            )
        else:
            left -= len(content)
            shown.append(ImageContent(type="image", data=encoded, mime_type=kind.mime))
    return shown, said


def _encoded(blocks: Sequence[ContentBlock]) -> Iterator[str]:
    for block in blocks:
        match block:
            case ImageContent(data=data) | AudioContent(data=data):
                yield data
            case EmbeddedResource(resource=BlobResourceContents(blob=blob)):
                yield blob
