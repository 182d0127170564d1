"""The lesson player: pages for learners, with everything it shows asked of the catalog.

    GET  /                        the courses
    GET  /learn/SLUG/N            a lesson
    POST /learn/SLUG/complete     learner: asks for a certificate

A catalog replica that refuses is passed over; one that doesn't answer in time is 502 with its
cause, because the request may have had an effect there.
"""

from html import escape
from typing import Any
from urllib.parse import quote

import httpx2

from evals.worlds.campus.neighbours import Neighbours
from evals.worlds.campus.serving import (
    NO_AUTHORITIES,
    Answer,
    Options,
    Request,
    Service,
    page,
    run,
    text,
)

CATALOG_SECONDS = 1.5


class CatalogGone(Exception):
    """The catalog did not answer; the message is the cause."""


class Player(Service):
    """One replica of the player."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.catalog = Neighbours(options.home, "catalog")
        self.client = httpx2.AsyncClient(
            timeout=CATALOG_SECONDS, trust_env=False, verify=NO_AUTHORITIES
        )

    async def look(self) -> dict[str, Any]:
        """The catalog."""
        try:
            await self._ask("GET", "/courses")
        except CatalogGone as error:
            return {"dependencies": {"catalog": {"ok": False, "note": str(error)}}}
        return {"dependencies": {"catalog": {"ok": True, "note": ""}}}

    async def answer(self, request: Request) -> Answer:
        """One request; 502 while the catalog doesn't answer."""
        parts = [part for part in request.path.split("/") if part]
        try:
            match (request.method, parts):
                case ("GET", []):
                    return _courses(await self._ask("GET", "/courses"))
                case ("GET", ["learn", slug, number]):
                    path = f"/courses/{quote(slug, safe='')}/lessons/{quote(number, safe='')}"
                    return _lesson(await self._ask("GET", path))
                case ("POST", ["learn", slug, "complete"]):
                    learner = request.form().get("learner", "")
                    data = {"learner": learner, "course": slug}
                    asked = await self._ask("POST", "/certificates", data)
                    done = text(202, "Your certificate is on its way.")
                    return done if asked.status_code == 202 else _passed_on(asked)
                case _:
                    return text(404, "There is / and /learn/COURSE/LESSON here.")
        except CatalogGone as error:
            return text(502, f"The catalog did not answer: {error}.")

    async def close(self) -> None:
        """Close what calling the catalog holds open."""
        await self.client.aclose()

    async def _ask(
        self, method: str, path: str, data: dict[str, str] | None = None
    ) -> httpx2.Response:
        refused: list[str] = []
        for name, url in self.catalog.in_turn():
            try:
                answer = await self.client.request(method, url + path, data=data)
            except httpx2.ConnectError:
                refused.append(name)
                continue
            except httpx2.TimeoutException:
                raise CatalogGone(f"{name} took over {CATALOG_SECONDS} s") from None
            except httpx2.HTTPError as error:
                raise CatalogGone(f"{name}: {type(error).__name__}") from error
            if answer.status_code >= 500:
                raise CatalogGone(f"{name} said {answer.status_code}: {answer.text.strip()[:200]}")
            return answer
        raise CatalogGone(f"no connection to {', '.join(refused)}" if refused else "it has no port")


def _courses(answer: httpx2.Response) -> Answer:
    items = "".join(
        f'<li><a href="/learn/{escape(quote(course["slug"]))}/1">{escape(course["title"])}</a>: '
        f"{escape(course['summary'])}</li>"
        for course in answer.json()["courses"]
    )
    return page(_frame("Campus", f"<h1>Courses</h1><ul>{items}</ul>"))


def _lesson(answer: httpx2.Response) -> Answer:
    if answer.status_code != 200:
        return _passed_on(answer)
    lesson = answer.json()
    course = escape(quote(lesson["course"]))
    if lesson["number"] < lesson["lessons"]:
        following = f'<a href="/learn/{course}/{lesson["number"] + 1}">Next lesson</a>'
    else:
        following = (
            f'<form method="post" action="/learn/{course}/complete">'
            '<label>Your name <input name="learner" required maxlength="80"></label> '
            "<button>Finish the course</button></form>"
        )
    return page(
        _frame(
            lesson["title"],
            f"<p>{escape(lesson['course_title'])}, lesson {lesson['number']} of "
            f"{lesson['lessons']}</p><h1>{escape(lesson['title'])}</h1>"
            f"<p>{escape(lesson['body'])}</p>{following}",
        )
    )


def _passed_on(answer: httpx2.Response) -> Answer:
    return text(answer.status_code, answer.text.strip()[:500])


def _frame(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title></head><body><main>{content}</main></body></html>"
    )


if __name__ == "__main__":
    run(Player)
