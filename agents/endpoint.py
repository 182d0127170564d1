"""The one way to a language model: any OpenAI-compatible server, or the embedded model.

`Endpoint.chat` is the client of the graphs, `Endpoint.model` that of the specialists; both share
one HTTP client, so that retries, budgets and checks hold for both alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import SecretStr
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agents.embedded.app import PREFIX, create_app
from agents.embedded.protocol import Playbook
from agents.embedded.router import IntentRouter
from agents.embedded.transport import StreamingASGITransport

EMBEDDED_URL = "http://embedded.invalid/v1"
"""Never resolved: requests to it are served in this process."""


@dataclass(frozen=True)
class ModelConfig:
    """Which endpoint, and by which names models are called there."""

    url: str
    name: str
    key: SecretStr | None = None
    embedded: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    """Model names that differ from `name`, by role."""

    def model_name(self, role: str) -> str:
        """The model that plays *role* (`router`, or a specialist's name)."""
        return PREFIX + role if self.embedded else self.names.get(role, self.name)


EMBEDDED = ModelConfig(url=EMBEDDED_URL, name="embedded", embedded=True)


class Endpoint:
    """Clients for every role over one connection pool. Close it with `aclose`."""

    def __init__(self, config: ModelConfig, *, playbooks: Mapping[str, Playbook]) -> None:
        self.config = config
        transport: httpx2.AsyncBaseTransport
        if config.embedded:
            transport = StreamingASGITransport(create_app(playbooks, IntentRouter.fitted()))
        else:
            transport = httpx2.AsyncHTTPTransport()
        self._http = httpx2.AsyncClient(transport=transport, timeout=60.0)
        self._key = config.key or SecretStr("none")
        self._openai = AsyncOpenAI(
            base_url=config.url,
            api_key=self._key.get_secret_value(),
            http_client=self._http,
            max_retries=0,
        )

    def chat(self, role: str) -> ChatOpenAI:
        """A langchain client for *role*: async only, streaming with usage."""
        return ChatOpenAI(
            model=self.config.model_name(role),
            base_url=self.config.url,
            api_key=self._key,
            http_async_client=self._http,
            openai_proxy="",
            max_retries=0,
            stream_usage=True,
            use_responses_api=False,
        )

    def model(self, role: str) -> OpenAIChatModel:
        """A pydantic-ai model for *role*."""
        return OpenAIChatModel(
            self.config.model_name(role), provider=OpenAIProvider(openai_client=self._openai)
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
