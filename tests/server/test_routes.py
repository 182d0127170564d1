"""The API: its contract, decisions that count once, and errors a program can read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from memory.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.embedded import TENANT_ID
from tests.fakes.gatekeeping import Desk
from tests.fakes.people import add_tenant
from tests.server.conftest import Browser
from tools.kit.deps import Caller


@pytest.fixture
async def desk(control_db: Database, clock: FakeClock, tmp_path: Path, ada: Browser) -> Desk:
    """A gatekeeper whose questions Ada's tenant answers."""
    asker = Caller(
        tenant_id=TENANT_ID,
        tenant_slug="dynasty",
        person_id=ada.person.id,
        name=ada.person.name,
        roles=frozenset({"staff"}),
        fleet=True,
    )
    return Desk(control_db, clock, tmp_path / "locks", asker)


async def asked(desk: Desk, browser: Browser) -> dict[str, Any]:
    """A fresh question, as the API shows it."""
    proposed = await desk.propose()
    answer = await browser.client.get(f"/api/approvals/{proposed.approval_id}")
    body: dict[str, Any] = answer.json()
    return body


async def decide(browser: Browser, approval: dict[str, Any], **change: str) -> httpx2.Response:
    body = {"decision": "approve", "digest": approval["digest"], **change}
    return await browser.client.post(
        f"/api/approvals/{approval['id']}/decision",
        json=body,
        headers={"x-csrf-token": browser.csrf},
    )


async def test_approving_gives_one_permit(desk: Desk, ada: Browser) -> None:
    approval = await asked(desk, ada)

    answer = await decide(ada, approval)

    assert answer.status_code == 200
    assert answer.json()["state"] == "approved"
    assert answer.json()["decided_by"] == "ada"
    assert len(await desk.gatekeeper.ready("agents")) == 1


async def test_a_replayed_approval_is_a_conflict_and_does_nothing_more(
    desk: Desk, ada: Browser
) -> None:
    approval = await asked(desk, ada)
    await decide(ada, approval)
    action_id = approval["actions"][0]["id"]
    await desk.gatekeeper.drive(action_id)

    answer = await decide(ada, approval)

    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert desk.world.applied.total() == 1
    assert await desk.gatekeeper.ready("agents") == []


async def test_two_people_approve_at_once_and_one_effect_follows(
    desk: Desk, ada: Browser, bert: Browser
) -> None:
    approval = await asked(desk, ada)

    answers = await asyncio.gather(*(decide(who, approval) for who in (ada, bert) * 4))

    assert sorted(a.status_code for a in answers) == [200] + [409] * 7
    ready = await desk.gatekeeper.ready("agents")
    assert len(ready) == 1
    for action_id, purpose in ready:
        await desk.gatekeeper.drive(action_id, purpose)
    assert desk.world.applied.total() == 1


async def test_another_digest_is_a_conflict_and_permits_nothing(desk: Desk, ada: Browser) -> None:
    approval = await asked(desk, ada)

    answer = await decide(ada, approval, digest="0" * 64)

    assert answer.status_code == 409
    assert "not what would be done" in answer.json()["detail"]
    assert await desk.gatekeeper.ready("agents") == []


async def test_a_denied_question_permits_nothing(desk: Desk, ada: Browser) -> None:
    answer = await decide(ada, await asked(desk, ada), decision="deny")

    assert answer.json()["state"] == "denied"
    assert await desk.gatekeeper.ready("agents") == []


async def test_an_expired_question_can_no_longer_be_answered(
    desk: Desk, ada: Browser, clock: FakeClock
) -> None:
    approval = await asked(desk, ada)
    clock.advance(minutes=31)

    answer = await decide(ada, approval)

    assert answer.status_code == 409
    assert "expired" in answer.json()["detail"]
    assert await desk.gatekeeper.ready("agents") == []


async def test_a_decision_without_the_sessions_token_permits_nothing(
    desk: Desk, ada: Browser
) -> None:
    approval = await asked(desk, ada)

    answer = await ada.client.post(
        f"/api/approvals/{approval['id']}/decision",
        json={"decision": "approve", "digest": approval["digest"]},
    )

    assert answer.status_code == 403
    assert await desk.gatekeeper.ready("agents") == []


async def test_another_tenants_question_does_not_exist_here(
    desk: Desk, ada: Browser, control_db: Database, clock: FakeClock
) -> None:
    await add_tenant(control_db, clock, "other")
    foreign = Caller(
        tenant_id="ten_other",
        tenant_slug="other",
        person_id="per-x",
        name="x",
        roles=frozenset({"operator"}),
        fleet=True,
    )
    proposed = await desk.propose(caller=foreign)
    shown = await ada.client.get(f"/api/approvals/{proposed.approval_id}")
    decided = await decide(ada, {"id": proposed.approval_id, "digest": "0" * 64})

    assert (shown.status_code, decided.status_code) == (404, 404)


async def test_an_undo_is_asked_once_however_often_it_is_clicked(desk: Desk, ada: Browser) -> None:
    approval = await asked(desk, ada)
    await decide(ada, approval)
    action_id = approval["actions"][0]["id"]
    await desk.gatekeeper.drive(action_id)
    path, headers = f"/api/actions/{action_id}/undo", {"x-csrf-token": ada.csrf}

    first = await ada.client.post(path, headers=headers)
    second = await ada.client.post(path, headers=headers)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] == second.json()["id"]
    assert first.json()["kind"] == "undo"


async def test_a_stuck_action_is_released_with_what_a_person_found(
    desk: Desk, ada: Browser
) -> None:
    approval = await asked(desk, ada)
    await decide(ada, approval)
    action_id = approval["actions"][0]["id"]
    path, headers = f"/api/actions/{action_id}/release", {"x-csrf-token": ada.csrf}
    early = await ada.client.post(path, json={"found": "done"}, headers=headers)
    desk.world.apply_raises, desk.world.observes = "after", "unknown"
    assert (await desk.gatekeeper.drive(action_id)).state == "stuck"

    forged = await ada.client.post(path, json={"found": "done"})
    wrong = await ada.client.post(path, json={"found": "maybe"}, headers=headers)
    body = {"found": "not-done", "note": "It is where it was."}
    released = await ada.client.post(path, json=body, headers=headers)
    again = await ada.client.post(path, json=body, headers=headers)

    assert [a.status_code for a in (early, forged, wrong, again)] == [409, 403, 422, 409]
    assert early.json()["detail"] == f"{action_id} is permitted, not stuck."
    name = ada.person.name
    assert released.json()["state"] == "escalated"
    assert released.json()["note"] == f"{name} looked: it was not done. It is where it was."


async def test_the_fleet_is_described_and_unknown_until_the_healer_looks(ada: Browser) -> None:
    fleet = (await ada.client.get("/api/fleet")).json()

    catalog = next(s for s in fleet["services"] if s["name"] == "catalog")
    assert catalog["status"] == "unknown"
    assert [r["name"] for r in catalog["replicas"]] == ["catalog-1", "catalog-2"]
    assert fleet["looked_at"] is None


async def test_the_audit_log_is_paged_from_its_end(desk: Desk, ada: Browser) -> None:
    for _ in range(3):
        await decide(ada, await asked(desk, ada), decision="deny")

    first = (await ada.client.get("/api/audit?limit=4")).json()
    second = (await ada.client.get(f"/api/audit?limit=4&before={first['next_before']}")).json()

    seqs = [e["seq"] for e in first["entries"] + second["entries"]]
    assert seqs == sorted(seqs, reverse=True)
    assert len(set(seqs)) == 8


async def test_the_audit_log_can_be_narrowed_to_one_kind(desk: Desk, ada: Browser) -> None:
    await decide(ada, await asked(desk, ada))

    entries = (await ada.client.get("/api/audit?kind=approval.")).json()["entries"]

    assert {e["kind"] for e in entries} == {"approval.asked", "approval.approved"}


async def test_where_each_operation_stands_is_said_with_its_reason(ada: Browser) -> None:
    operations = (await ada.client.get("/api/autonomy")).json()["operations"]

    assert {o["name"] for o in operations} == {
        "healing.restart_replica",
        "healing.archive_old_data",
    }
    assert {o["level"] for o in operations} == {"asks"}
    assert all(o["reason"] for o in operations)


async def test_an_unknown_thing_is_a_problem_with_a_sentence(ada: Browser) -> None:
    for path in ("incidents/inc-none", "approvals/apr-none", "actions/act-none", "threads/thr-no"):
        answer = await ada.client.get(f"/api/{path}")
        problem = answer.json()
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["kind"] == "not_found"
        assert problem["instance"] == f"/api/{path}"
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["detail"].endswith(".")


async def test_a_wrong_body_names_each_fault_and_its_place(ada: Browser) -> None:
    answer = await ada.client.post(
        "/api/keys", json={"days": 0, "colour": "red"}, headers={"x-csrf-token": ada.csrf}
    )

    assert answer.status_code == 422
    assert {fault["where"] for fault in answer.json()["faults"]} == {
        "body.name",
        "body.days",
        "body.colour",
    }


async def test_a_time_written_badly_is_refused_not_guessed(ada: Browser) -> None:
    answer = await ada.client.get("/api/incidents?before=yesterday")

    assert answer.status_code == 422
    assert "query.before" in answer.json()["detail"]


def operations_of(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_openapi_documents_every_operation(app: FastAPI) -> None:
    """A summary, a tag, who may call it, its errors and what a success looks like, for each."""
    seen = dict(operations_of(app))
    for name, operation in seen.items():
        assert operation.get("summary"), name
        assert operation.get("description"), name
        assert operation.get("tags"), name
        assert operation.get("x-who"), name
        success = next(v for k, v in operation["responses"].items() if k.startswith("2"))
        assert success.get("content") or "204" in operation["responses"], name
        if "/api/" in name:
            for status in ("401", "403", "503"):
                content = operation["responses"][status]["content"]
                assert list(content) == ["application/problem+json"], name
    assert "POST /api/threads/{thread_id}/messages" in seen
    assert "GET /api/autonomy" in seen


def test_openapi_gives_an_example_of_every_body(app: FastAPI) -> None:
    schemas = app.openapi()["components"]["schemas"]
    for name, operation in operations_of(app):
        body = operation.get("requestBody")
        if body is None:
            continue
        reference = body["content"]["application/json"]["schema"]["$ref"]
        assert schemas[reference.rsplit("/", 1)[-1]].get("examples"), name


def test_openapi_names_both_ways_to_prove_who_asks(app: FastAPI) -> None:
    document = app.openapi()

    assert set(document["components"]["securitySchemes"]) == {"key", "session"}
    assert "Problem" in document["components"]["schemas"]
