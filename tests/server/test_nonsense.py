"""Characters that no store takes and no reader sees: refused or shown, never an error of ours."""

import httpx2
import pytest
from rich.text import Text

from server.commands.options import PlainConsole
from server.web.markdown import MOST_CHARACTERS, to_html
from server.web.rendering import environment
from tests.server.conftest import Browser


@pytest.mark.parametrize(
    "path",
    ["/api/actions/%00", "/api/actions?target=%00", "/approvals/apr%00", "/threads/%00"],
)
async def test_an_address_with_a_nul_is_refused(ada: Browser, path: str) -> None:
    answer = await ada.client.get(path)

    assert answer.status_code == 400
    assert "NUL" in answer.text


@pytest.mark.parametrize("path", ["/api/actions/%00/undo", "/actions/%00/release"])
async def test_nothing_is_done_under_an_address_with_a_nul(ada: Browser, path: str) -> None:
    assert (await ada.post(path, found="done")).status_code == 400


async def test_a_key_named_with_a_nul_is_made_under_a_name_that_can_be_stored(
    ada: Browser,
) -> None:
    answer = await ada.post("/account/keys", name="re\x00port")

    assert answer.status_code == 200
    assert "re\ufffdport" in answer.text


async def test_an_email_with_a_nul_belongs_to_nobody(anyone: httpx2.AsyncClient) -> None:
    answer = await anyone.post("/signin", data={"email": "a\x00@example.org", "password": "x"})

    assert answer.status_code == 403


def test_a_template_shows_what_would_turn_its_words_around() -> None:
    page = environment().from_string('<p title="{{ name }}">{{ name }}</p>{{ 5 }}')

    shown = page.render(name="a\u202eb\u200bc<")

    assert shown == '<p title="a⟨202E⟩bc&lt;">a⟨202E⟩bc&lt;</p>5'


def test_a_message_is_cut_where_it_would_bury_the_page() -> None:
    shown = to_html("x" * (MOST_CHARACTERS + 5))

    assert shown.count("x") == MOST_CHARACTERS
    assert "Cut: it has 20,005 characters." in shown


def test_the_command_line_sends_no_text_to_the_terminal_as_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = PlainConsole(highlight=False, width=80)

    console.print("wiped\x1b[2K", Text("in colour"), markup=False)

    assert capsys.readouterr().out == "wiped⟨001B⟩[2K in colour\n"
