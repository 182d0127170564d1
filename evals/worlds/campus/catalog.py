"""The course catalog: courses and lessons from its own database, and a queue of certificates.

    GET  /courses                     all courses
    GET  /courses/SLUG                one course with its lesson titles
    GET  /courses/SLUG/lessons/N      one lesson
    POST /certificates                learner, course: asks the worker for a certificate

With the database gone it answers 503 and its cause, and recovers by itself.
"""

from typing import Any

from evals.worlds.campus.serving import Answer, Options, Request, Service, as_json, run, text
from evals.worlds.campus.store import Store, StoreDown


class Catalog(Service):
    """One replica of the catalog."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.store = Store(options.database_url)

    async def look(self) -> dict[str, Any]:
        """The database."""
        return {"dependencies": {"database": await self.store.check()}}

    async def answer(self, request: Request) -> Answer:
        """One request; 503 while the database is gone."""
        try:
            return await self._answer_from_store(request)
        except StoreDown as error:
            return text(503, f"The catalog's database can't be reached: {error}")

    async def close(self) -> None:
        """Close the connection."""
        await self.store.close()

    async def _answer_from_store(self, request: Request) -> Answer:
        parts = [part for part in request.path.split("/") if part]
        match (request.method, parts):
            case ("GET", ["courses"]):
                query = "select slug, title, summary from course order by position"
                return as_json({"courses": await self.store.run(query)})
            case ("GET", ["courses", slug]):
                return await self._course(slug)
            case ("GET", ["courses", slug, "lessons", number]):
                return await self._lesson(slug, number)
            case ("POST", ["certificates"]):
                return await self._ask_certificate(request.form())
            case (_, ["courses" | "certificates", *_]):
                return text(405, f"{request.method} is not something {request.path} does.")
            case _:
                return text(404, "There are /courses and /certificates here.")

    async def _course(self, slug: str) -> Answer:
        courses = await self.store.run(
            "select slug, title, summary from course where slug = %s", (slug,)
        )
        if not courses:
            return text(404, f"There is no course `{slug}`.")
        lessons = await self.store.run(
            "select number, title from lesson where course = %s order by number", (slug,)
        )
        return as_json({**courses[0], "lessons": lessons})

    async def _lesson(self, slug: str, number: str) -> Answer:
        if not (number.isascii() and number.isdigit() and len(number) < 5):
            return text(400, "A lesson is asked for by its number, such as 1.")
        lessons = await self.store.run(
            "select l.course, c.title as course_title, l.number, l.title, l.body, "
            "(select count(*) from lesson where course = l.course) as lessons "
            "from lesson l join course c on c.slug = l.course where l.course = %s and number = %s",
            (slug, int(number)),
        )
        return as_json(lessons[0]) if lessons else text(404, f"`{slug}` has no lesson {number}.")

    async def _ask_certificate(self, form: dict[str, str]) -> Answer:
        learner, course = form.get("learner", "")[:80], form.get("course", "")
        if not learner or "\x00" in learner + course:
            return text(400, "A certificate needs `learner` and `course`.")
        asked = await self.store.run(
            "insert into certificate (learner, course) select %s, slug from course "
            "where slug = %s returning id",
            (learner, course),
        )
        return as_json(asked[0], 202) if asked else text(404, f"There is no course `{course}`.")


if __name__ == "__main__":
    run(Catalog)
