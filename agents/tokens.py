"""Counts tokens without ever downloading: exactly where an encoding is at hand, else a bound.

The bound is the number of UTF-8 bytes. Every byte-pair encoding in use starts from single bytes and
only ever merges neighbours, so a text never has more tokens than bytes. It over-counts English
about fourfold, which makes a budget strict, never loose; reported usage replaces it afterwards.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

TokenCounter = Callable[[str], int]

PER_MESSAGE = 8
"""Tokens around one message (role, separators, name); published recipes say 3 to 4."""

_lock = threading.Lock()


def byte_bound(text: str) -> int:
    """The most tokens *text* can have under any byte-level byte-pair encoding."""
    return len(text.encode("utf-8", errors="surrogatepass"))


def local_counter(encoding: str = "o200k_base") -> TokenCounter | None:
    """An exact counter if tiktoken has *encoding* in its cache on this machine, else None.

    tiktoken would download what it lacks; its reader is replaced while this looks, so it can't.
    """
    import tiktoken
    import tiktoken.load

    def refuse(blobpath: str) -> bytes:
        raise FileNotFoundError(blobpath)

    with _lock:
        reader = tiktoken.load.read_file
        tiktoken.load.read_file = refuse
        try:
            found = tiktoken.get_encoding(encoding)
        except (FileNotFoundError, ValueError):
            return None
        finally:
            tiktoken.load.read_file = reader
    return lambda text: len(found.encode_ordinary(text))


def request_tokens(request: Mapping[str, Any], count: TokenCounter) -> int:
    """Tokens a chat-completions request sends: messages, tool schemas and response format."""
    messages = request.get("messages")
    total = PER_MESSAGE
    for message in messages if isinstance(messages, list) else []:
        total += PER_MESSAGE + count(_text(message))
    for part in ("tools", "response_format"):
        if request.get(part):
            total += count(_text(request[part]))
    return total


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
