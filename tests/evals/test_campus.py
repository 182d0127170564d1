"""Campus is a real small school: it serves, survives its database going away, and ends in time."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable

import httpx2
import psutil
import pytest

from tests.evals.conftest import Campus

LIMIT_MB = 45
"""Memory of its own that one campus process may take (shared library pages not counted)."""

pytestmark = pytest.mark.timeout(180)
"""The first test starts a database and six services, which on a busy machine takes a while."""


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def certificates(campus: Campus) -> int:
    issued: int = campus.get("worker-1", "/healthz").json()["certificates"]["issued"]
    return issued


def database_pids(campus: Campus) -> list[psutil.Process]:
    pid = campus.supervised.supervisor.process("postgres").pid
    assert pid is not None
    server = psutil.Process(pid)
    return [server, *server.children(recursive=True)]


def test_the_catalog_tells_courses_and_lessons(campus: Campus) -> None:
    courses = campus.get("catalog-1", "/courses").json()["courses"]
    assert [course["slug"] for course in courses][:2] == ["fractions", "night-sky"]
    course = campus.get("catalog-2", "/courses/bread").json()
    assert [lesson["number"] for lesson in course["lessons"]] == [1, 2, 3]
    lesson = campus.get("catalog-1", "/courses/bread/lessons/2").json()
    assert (lesson["title"], lesson["lessons"]) == ("Why we wait", 3)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/courses/none", 404),
        ("/courses/bread/lessons/99", 404),
        ("/courses/bread/lessons/two", 400),
        ("/courses/bread/lessons/99999999999", 400),
        ("/courses/%00", 400),
        ("/courses/';drop table course;--", 404),
        ("/certificates", 405),
    ],
)
def test_a_wrong_request_gets_a_sentence_and_the_right_status(
    campus: Campus, path: str, status: int
) -> None:
    answer = campus.get("catalog-1", path)

    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert answer.text.endswith(".\n")


def test_a_body_that_is_too_large_is_refused(campus: Campus) -> None:
    answer = campus.post("catalog-1", "/certificates", {"learner": "x" * 100_000})
    assert answer.status_code == 413


def test_the_player_shows_lessons_and_asks_for_certificates_that_the_worker_issues(
    campus: Campus,
) -> None:
    page = campus.get("player-1", "/learn/bread/3").text
    assert "<h1>Steam and crust</h1>" in page
    assert 'action="/learn/bread/complete"' in page
    issued = certificates(campus)

    asked = campus.post("player-1", "/learn/bread/complete", {"learner": "<Ada>"})

    assert asked.status_code == 202
    assert campus.post("player-1", "/learn/bread/complete", {}).status_code == 400
    assert campus.post("player-1", "/learn/none/complete", {"learner": "A"}).status_code == 404
    assert campus.get("player-1", "/learn/none/1").status_code == 404
    assert within(10, lambda: certificates(campus) > issued)


def test_visitors_make_the_signals_move(campus: Campus) -> None:
    def visits() -> float:
        figures = [campus.get(name, "/metrics").text for name in ("player-1", "player-2")]
        found = re.findall(r'campus_requests_total\{.*status="200"\} (\S+)', "".join(figures))
        return sum(map(float, found))

    before = visits()

    assert within(10, lambda: visits() >= before + 10)


def test_health_has_numbers_that_move(campus: Campus) -> None:
    def lately(replica: str) -> dict[str, float]:
        return {
            name: value
            for name, value in campus.get(replica, "/healthz").json().items()
            if isinstance(value, int | float)
        }

    assert within(15, lambda: lately("catalog-1").get("requests_per_second", 0) > 0.2)
    assert set(lately("worker-1")) == {
        "uptime_seconds",
        "requests_per_second",
        "error_percent",
        "answer_ms",
        "queue_depth",
        "queue_oldest_seconds",
    }
    assert lately("player-1")["answer_ms"] > 0


def test_the_figures_are_in_prometheus_text(campus: Campus) -> None:
    campus.get("catalog-1", "/courses")
    answer = campus.get("catalog-1", "/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in (
        r'campus_requests_total\{method="GET",status="200"\} \d',
        r"campus_errors_total \d",
        r'campus_request_seconds_bucket\{le="0.05"\} \d',
        r"campus_requests_in_flight \d",
    ):
        assert re.search(line, answer.text), line


def test_each_process_is_light(campus: Campus) -> None:
    for name in ("catalog-1", "player-1", "worker-1", "visitors-1"):
        pid = campus.supervised.supervisor.process(name).pid
        own = psutil.Process(pid).memory_full_info().uss / 2**20
        assert own < LIMIT_MB, f"{name} takes {own:.0f} MB"


def test_each_service_leaves_files_in_its_data_folder(campus: Campus) -> None:
    for service in ("catalog", "player", "worker"):
        folder = campus.settings.paths.campus / service / "exports"
        files = list(folder.glob("traffic-*.csv"))
        assert files
        assert re.match(r"\d{4}-\d\d-\d\dT[\d:]+\+00:00,\d+,\d+\n", files[0].read_text())


def test_the_catalog_says_503_without_its_database_and_recovers_by_itself(
    campus: Campus,
) -> None:
    supervisor = campus.supervised.supervisor
    pids = {name: supervisor.process(name).pid for name in ("catalog-1", "player-1", "worker-1")}
    supervisor.stop("postgres")
    campus.supervised.wait_for("postgres", "STOPPED")

    gone = campus.get("catalog-1", "/courses")
    passed_on = campus.get("player-1", "/")

    assert gone.status_code == 503
    assert "database can't be reached" in gone.text
    assert passed_on.status_code == 502
    assert "503" in passed_on.text
    assert within(10, lambda: campus.get("catalog-1", "/healthz").json()["status"] == "degraded")
    health = campus.get("worker-1", "/healthz")
    assert health.status_code == 200

    supervisor.start("postgres")
    campus.wait_until("catalog-1", "/courses", 200)
    campus.wait_until("player-1", "/", 200)
    assert within(10, lambda: campus.get("worker-1", "/healthz").json()["status"] == "ok")
    assert pids == {name: supervisor.process(name).pid for name in pids}


def test_a_frozen_database_is_answered_with_503_and_health_stays_quick(campus: Campus) -> None:
    frozen = database_pids(campus)
    for process in frozen:
        process.suspend()
    try:
        began = time.monotonic()
        answer = campus.get("catalog-1", "/courses")
        took = time.monotonic() - began
        began = time.monotonic()
        health = campus.get("catalog-1", "/healthz")
        health_took = time.monotonic() - began
    finally:
        for process in frozen:
            process.resume()

    assert (answer.status_code, health.status_code) == (503, 200)
    assert took < 2
    assert health_took < 0.5
    campus.wait_until("catalog-1", "/courses", 200)


def test_the_player_passes_over_a_catalog_that_refuses_and_names_one_that_hangs(
    campus: Campus,
) -> None:
    supervisor = campus.supervised.supervisor
    supervisor.stop("catalog-1")
    campus.supervised.wait_for("catalog-1", "STOPPED")
    assert [campus.get("player-1", "/").status_code for _ in range(4)] == [200] * 4
    supervisor.start("catalog-1")
    campus.wait_until("catalog-1", "/courses", 200)

    supervisor.signal("catalog-1", "STOP")
    answers: dict[int, str] = {}
    deadline = time.monotonic() + 15
    try:
        while {200, 502} - set(answers) and time.monotonic() < deadline:
            answer = campus.get("player-1", "/")
            answers[answer.status_code] = answer.text
    finally:
        supervisor.signal("catalog-1", "CONT")

    assert answers[502] == "The catalog did not answer: catalog-1 took over 1.5 s.\n"
    assert "Courses" in answers[200]


@pytest.mark.parametrize("name", ["catalog-2", "player-2", "worker-1", "visitors-1"])
def test_a_service_ends_within_two_seconds_of_sigterm(campus: Campus, name: str) -> None:
    pid = campus.supervised.supervisor.process(name).pid
    assert pid is not None
    began = time.monotonic()

    os.kill(pid, signal.SIGTERM)

    assert within(2, lambda: not psutil.pid_exists(pid)), "it is still there"
    assert time.monotonic() - began < 2
    campus.supervised.wait_for(name, "RUNNING")
    if name in campus.ports:
        campus.wait_until(name, "/healthz", 200)


def test_a_request_under_way_is_finished_before_the_end(campus: Campus) -> None:
    """The database is frozen, so that the catalog's answer takes its full 1.2 seconds."""
    frozen = database_pids(campus)
    pid = campus.supervised.supervisor.process("catalog-2").pid
    assert pid is not None
    for process in frozen:
        process.suspend()
    try:
        url = f"http://127.0.0.1:{campus.ports['catalog-2']}/courses"
        with httpx2.Client(trust_env=False) as client:
            ending = threading.Timer(0.3, os.kill, (pid, signal.SIGTERM))
            ending.start()
            answer = client.get(url, timeout=5)
            ending.join()
    finally:
        for process in frozen:
            process.resume()

    assert answer.status_code == 503
    assert within(3, lambda: not psutil.pid_exists(pid))
    campus.wait_until("catalog-2", "/courses", 200)
