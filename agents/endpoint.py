"""The one way to a language model: any OpenAI-compatible server, or the embedded model.

`Endpoint.chat` is the client of the graphs, `Endpoint.model` that of the specialists; both share
one HTTP client, so that retries, budgets and checks hold for both alike. Work inside
`async with endpoint.run(run_id)`: what is spent there counts towards one run, and whatever goes
wrong with the model leaves it as one of `agents/errors.py`.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import structlog
from langchain_core.messages import BaseMessage
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from pydantic import SecretStr, ValidationError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agents.checking import Check, CheckedStream, decoded, read_whole, words_of
from agents.embedded.app import PREFIX, RUN_HEADER, create_app
from agents.embedded.protocol import Playbook
from agents.embedded.router import IntentRouter
from agents.embedded.transport import StreamingASGITransport
from agents.errors import (
    BrokenAnswer,
    EndpointRefused,
    EndpointTimeout,
    EndpointUnavailable,
    MalformedArguments,
)
from agents.metering import Budgets, RunMeter, current_meter
from agents.retries import RETRIED, GiveUp, next_try, retry_after
from agents.routing import RouteDecision
from agents.tokens import TokenCounter, byte_bound, local_counter, request_tokens
from agents.translation import translate
from agents.wire import error_text, read_body
from tools.kit.clock import Clock, SystemClock

EMBEDDED_URL = "http://embedded.invalid/v1"
"""Never resolved: requests to it are served in this process."""

log = structlog.get_logger(__name__)


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

    def __init__(
        self,
        config: ModelConfig,
        *,
        playbooks: Mapping[str, Playbook],
        budgets: Budgets | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.config = config
        self.budgets = budgets or Budgets()
        inner: httpx2.AsyncBaseTransport
        if config.embedded:
            inner = StreamingASGITransport(create_app(playbooks, IntentRouter.fitted()))
            count: TokenCounter = byte_bound
        else:
            inner = httpx2.AsyncHTTPTransport()
            count = local_counter() or byte_bound
        self._http = httpx2.AsyncClient(
            transport=MeteredTransport(
                inner,
                budgets=self.budgets,
                count=count,
                clock=clock or SystemClock(),
                embedded=config.embedded,
            ),
            timeout=self._timeout(),
        )
        self._chats: dict[str, ChatOpenAI] = {}
        self._key = config.key or SecretStr("none")
        self._openai = AsyncOpenAI(
            base_url=config.url,
            api_key=self._key.get_secret_value(),
            http_client=self._http,
            max_retries=0,
            timeout=self._timeout(),
        )

    def _timeout(self) -> httpx2.Timeout:
        return httpx2.Timeout(self.budgets.read_seconds, connect=self.budgets.connect_seconds)

    def chat(self, role: str) -> ChatOpenAI:
        """A langchain client for *role*: async only, streaming with usage; one for every use.

        Making one takes 40 ms, in which nobody else of this process is served.
        """
        if role not in self._chats:
            self._chats[role] = self._new_chat(role)
        return self._chats[role]

    def _new_chat(self, role: str) -> ChatOpenAI:
        return ChatOpenAI(
            model=self.config.model_name(role),
            base_url=self.config.url,
            api_key=self._key,
            http_async_client=self._http,
            openai_proxy="",
            max_retries=0,
            timeout=self._timeout(),
            stream_usage=True,
            use_responses_api=False,
        )

    def model(self, role: str) -> OpenAIChatModel:
        """A pydantic-ai model for *role*."""
        return OpenAIChatModel(
            self.config.model_name(role), provider=OpenAIProvider(openai_client=self._openai)
        )

    async def route(self, messages: Sequence[BaseMessage]) -> RouteDecision:
        """Ask the router; call it inside `run`.

        Raises:
            MalformedArguments: the decision doesn't fit its schema.
            UnknownTool: the router called something else.
            BrokenAnswer: it answered in words only.
            ModelError: whatever else went wrong.
        """
        chat = self.chat("router").with_structured_output(
            RouteDecision, method="function_calling", include_raw=True
        )
        answer = await chat.ainvoke(list(messages))
        assert isinstance(answer, dict)
        if isinstance(answer["parsed"], RouteDecision):
            return answer["parsed"]
        meter = current_meter.get()
        if meter is not None and meter.findings:
            raise meter.findings[0]
        problem = answer["parsing_error"]
        if problem is not None:
            raise MalformedArguments(f"The router's decision can't be used: {_brief(problem)}")
        raise BrokenAnswer("The router answered in words where a decision was asked for.")

    @asynccontextmanager
    async def run(self, run_id: str) -> AsyncIterator[RunMeter]:
        """Count everything spent inside towards *run_id*, and type everything that fails.

        Raises:
            ModelError: in place of whatever a client library raised about the model. Other
                exceptions, and those that steer a graph, pass unchanged.
        """
        meter = RunMeter(run_id, self.budgets)
        before = current_meter.get()
        current_meter.set(meter)
        try:
            yield meter
        except Exception as error:
            typed = translate(error, meter)
            if typed is None or typed is error:
                raise
            raise typed from error
        finally:
            # Not `reset(token)`: a generator may be closed from another context than it began in.
            current_meter.set(before)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()


class MeteredTransport(httpx2.AsyncBaseTransport):
    """Budgets, retries and checks around the transport that really sends."""

    def __init__(
        self,
        inner: httpx2.AsyncBaseTransport,
        *,
        budgets: Budgets,
        count: TokenCounter,
        clock: Clock,
        embedded: bool,
    ) -> None:
        self._inner = inner
        self._budgets = budgets
        self._count = count
        self._clock = clock
        self._embedded = embedded

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send, retry where that may help, and check the answer as it passes.

        Raises:
            ModelError: as `agents/errors.py` says.
        """
        sent = _request_json(await request.aread())
        meter = current_meter.get() or RunMeter("", self._budgets)
        tokens = request_tokens(sent, self._count)
        meter.begin_call(tokens)
        if self._embedded and meter.run_id:
            request.headers[RUN_HEADER.decode()] = meter.run_id
        response = await self._send(request, meter)
        tools = [str(t.get("function", {}).get("name")) for t in sent.get("tools") or []]
        check = Check(meter, tokens, tools, self._count)
        if sent.get("stream") and "event-stream" in response.headers.get("content-type", ""):
            return httpx2.Response(
                response.status_code,
                headers=decoded(response.headers),
                stream=CheckedStream(response, check, self._budgets),
                extensions=response.extensions,
            )
        check.book(read_body(await response.aread()))
        return response

    async def _send(self, request: httpx2.Request, meter: RunMeter) -> httpx2.Response:
        """An answer with status 2xx; a whole one is read already.

        Raises:
            EndpointUnavailable: no such answer within tries and deadline.
            EndpointRefused: the endpoint won't serve this request.
        """
        began = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            left = self._budgets.deadline_seconds - (time.monotonic() - began)
            asked: float | None = None
            cause: Exception | None = None
            try:
                async with asyncio.timeout(max(left, 0.001)):
                    response = await self._inner.handle_async_request(request)
                    streams = "event-stream" in response.headers.get("content-type", "")
                    if not (response.is_success and streams):
                        response = await read_whole(response, self._budgets.answer_bytes)
            except (TimeoutError, httpx2.ReadTimeout, httpx2.WriteTimeout) as error:
                # Not tried again: the endpoint may be working on it, and be paid for it twice.
                raise EndpointTimeout(
                    f"The model took longer than {min(self._budgets.read_seconds, left):.0f} s "
                    "to answer. Try again, or ask for less at once."
                ) from error
            except httpx2.TransportError as error:
                failure, cause = f"can't be reached ({words_of(error)})", error
            else:
                if response.is_success:
                    return response
                failure = self._declined(response)
                asked = retry_after(response.headers.get("retry-after"), self._clock.now())
            decision = next_try(
                self._budgets, attempt=attempt, elapsed=time.monotonic() - began, asked=asked
            )
            if self._embedded or isinstance(decision, GiveUp):
                reason = decision.reason if isinstance(decision, GiveUp) else "it is deterministic"
                raise EndpointUnavailable(
                    f"The model endpoint {failure}; gave up: {reason}."
                ) from cause
            meter.retries += 1
            log.warning(
                "model_call_retried", attempt=attempt, seconds=decision.seconds, failure=failure
            )
            await asyncio.sleep(decision.seconds)

    def _declined(self, response: httpx2.Response) -> str:
        """What a failing endpoint said.

        Raises:
            EndpointRefused: trying again can't help.
        """
        said, code = error_text(response.content)
        if response.status_code in RETRIED and code != "insufficient_quota":
            return f"answers {response.status_code}: {said}"
        advice = {
            401: "Check ACADEMY_MODEL_KEY.",
            403: "Check what ACADEMY_MODEL_KEY may use.",
            404: "Check ACADEMY_MODEL_URL and ACADEMY_MODEL_NAME.",
        }.get(response.status_code, "")
        raise EndpointRefused(
            f"The model endpoint refuses with {response.status_code}: {said} {advice}".rstrip(),
            status=response.status_code,
            provider_code=code,
        )

    async def aclose(self) -> None:
        """Close the transport that sends."""
        await self._inner.aclose()


def _request_json(body: bytes) -> dict[str, Any]:
    value = json.loads(body) if body else {}
    return value if isinstance(value, dict) else {}


def _brief(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        return "; ".join(str(one["msg"]) for one in problem.errors(include_url=False)[:3])
    return str(problem).splitlines()[0][:300]
