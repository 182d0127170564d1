"""An academy's HTTP API that answers what a test lays down, on a real port."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """Status and JSON of one answer, or a stream of AG-UI events, which may break off."""

    body: Any = None
    status: int = 200
    events: list[tuple[int, dict[str, Any]]] | None = None
    breaks: bool = False


@dataclass
class Asked:
    """One request as it came."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


@dataclass
class FakeApi:
    """Answers by `METHOD /path` (without query); the last answer laid down stays."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def lay(self, route: str, *answers: Answer) -> None:
        self.answers[route] = list(answers)

    def start(self) -> "FakeApi":
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                length = int(self.headers.get("content-length", "0"))
                body = json.loads(self.rfile.read(length)) if length else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                api.asked.append(Asked(self.command, self.path, body, headers))
                laid = api.answers.get(f"{self.command} {self.path.partition('?')[0]}", [])
                missing = Answer({"detail": f"There is no {self.path}."}, 404)
                answer = (laid.pop(0) if len(laid) > 1 else laid[0]) if laid else missing
                if answer.events is None:
                    self._whole(answer)
                else:
                    self._stream(answer)

            def _whole(self, answer: Answer) -> None:
                content = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _stream(self, answer: Answer) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for number, event in answer.events or []:
                    data = f"id: {number}\ndata: {json.dumps(event)}\n\n".encode()
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                if not answer.breaks:
                    self.wfile.write(b"0\r\n\r\n")
                self.close_connection = answer.breaks

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
