"""What pages are made of: colours, Markdown, charts, times and the reduction of a conversation."""

from datetime import UTC, datetime, timedelta

import pytest

from graphs.threads import EventView
from server.web.assets import STATIC
from server.web.charts import MOST_POINTS, chart, charts
from server.web.evidence_charts import bound_line
from server.web.markdown import to_html
from server.web.moments import ago, time_tag
from server.web.theme import DARK, LIGHT, ON_DARK, contrast, readable, stylesheet, tinted
from server.web.transcript import Failure, Question, Said, ToolCall, Transcript
from server.web.words import figure, label
from tools.autonomy.trial_schemas import PointView
from tools.healing.schemas import Series

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize("accent", ["#ffee00", "#000000", "#ffffff", "#2f5bea", "#777777"])
def test_any_accent_becomes_readable_on_light_and_on_dark(accent: str) -> None:
    for papers, towards, on_accent in ((LIGHT, "#000000", "#ffffff"), (DARK, "#ffffff", ON_DARK)):
        shade = readable(accent, papers, towards=towards)
        assert contrast(on_accent, shade) >= 4.5
        for paper in papers:
            assert contrast(shade, paper) >= 4.5
            assert contrast(shade, tinted(paper, shade)) >= 4.5


def test_the_papers_are_those_of_the_style_sheet() -> None:
    css = (STATIC / "academy.css").read_text()
    for names, papers in (("light", LIGHT), ("dark", DARK)):
        for name, paper in zip(("--paper", "--ground", "--shade"), papers, strict=True):
            assert f"{name}: {paper};" in css, (names, name)


def test_the_theme_has_a_dark_half() -> None:
    assert "prefers-color-scheme:dark" in stylesheet("#2f5bea")


def test_contrast_is_that_of_the_guideline() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize(
    ("written", "never"),
    [
        ("<script>alert(1)</script>", "<script"),
        ("[x](javascript:alert(1))", "href"),
        ("![x](https://tracker.example/p.png)", "<img"),
        ('<a onclick="x()">y</a>', "<a"),
        ('<div style="x">y</div>', "<div"),
        ("[x](data:text/html;base64,PHM+)", "href"),
    ],
)
def test_what_an_agent_wrote_brings_no_html_of_its_own(written: str, never: str) -> None:
    assert never not in to_html(written)


def test_markdown_keeps_what_a_report_needs() -> None:
    html = to_html(
        "# Found\n\n**catalog-1** is `hung`.\n\n- one\n- two\n\n| a | b |\n|-|-|\n| 1 | 2 |"
    )

    assert "<h3>Found</h3>" in html
    assert "<strong>catalog-1</strong> is <code>hung</code>" in html
    assert "<li>two</li>" in html
    assert "<td>2</td>" in html


def test_a_link_opens_without_telling_where_from() -> None:
    assert 'rel="noopener noreferrer nofollow"' in to_html("[docs](https://example.org)")


def series(*values: float, unit: str = "ms", name: str = "latency_ms") -> Series:
    points = [(NOW + timedelta(seconds=2 * n), value) for n, value in enumerate(values)]
    return Series(name=name, title="Answer time", unit=unit, points=points)


def test_a_chart_says_in_words_what_its_line_shows() -> None:
    drawn = chart(series(10, 40, 20))

    assert drawn is not None
    assert drawn.summary == "Now 20 ms; between 10 and 40 ms in the last 1 min."


def test_nothing_measured_draws_nothing() -> None:
    assert chart(series()) is None


def test_small_noise_stays_small_on_the_axis() -> None:
    drawn = chart(series(55.4, 55.9, 55.6, unit="MB"))

    assert drawn is not None
    heights = [float(point.split(",")[1]) for point in drawn.line.split()]
    assert max(heights) - min(heights) < 5


def test_a_long_series_keeps_its_peak() -> None:
    values = [1.0] * 900
    values[451] = 99.0
    drawn = chart(series(*values))

    assert drawn is not None
    assert len(drawn.line.split()) <= MOST_POINTS
    assert min(float(point.split(",")[1]) for point in drawn.line.split()) == pytest.approx(2.0)


def test_signals_that_show_trouble_come_first_and_a_clock_is_not_drawn() -> None:
    drawn = charts(
        [
            series(1, name="uptime_seconds"),
            series(1, name="open_files"),
            series(1, name="latency_ms"),
        ]
    )

    assert [one.name for one in drawn] == ["latency_ms", "open_files"]


def test_times_are_relative_in_sight_and_exact_behind() -> None:
    tag = time_tag(NOW - timedelta(minutes=5), NOW)

    assert tag == (
        '<time datetime="2026-11-23T08:55:00+00:00" title="23 Nov 2026, 08:55:00 UTC">'
        "5 min ago</time>"
    )
    assert ago(NOW + timedelta(hours=2), NOW) == "in 2 h"
    assert time_tag(None, NOW) == "never"


def test_figures_read_as_people_write_them() -> None:
    assert [figure(v) for v in (1234567, 0.5, True, None, ["a", 2])] == [
        "1,234,567", "0.5", "yes", "none", "a, 2",
    ]  # fmt: skip
    assert label("disk_free_percent") == "Disk free (%)"


def event(seq: int, type_: str, **data: object) -> EventView:
    return EventView(seq=seq, run_id="run-1", type=type_, data=data, at=NOW)


def reduced(*events: EventView) -> Transcript:
    transcript = Transcript()
    for one in events:
        transcript.apply(one)
    return transcript


def test_words_that_stream_in_grow_one_item() -> None:
    transcript = reduced(
        event(1, "TEXT_MESSAGE_START", messageId="run-1.0.1", role="assistant"),
        event(2, "TEXT_MESSAGE_CONTENT", messageId="run-1.0.1", delta="All "),
        event(3, "TEXT_MESSAGE_CONTENT", messageId="run-1.0.1", delta="well."),
    )

    item = transcript.items["said-run-1_0_1"]
    assert isinstance(item, Said)
    assert (item.text, item.open) == ("All well.", True)


def test_a_message_that_starts_again_replaces_what_was_said() -> None:
    """A worker that took a dead one's run over says its message from the start."""
    transcript = reduced(
        event(1, "TEXT_MESSAGE_START", messageId="m", role="assistant"),
        event(2, "TEXT_MESSAGE_CONTENT", messageId="m", delta="Half"),
        event(3, "TEXT_MESSAGE_START", messageId="m", role="assistant"),
        event(4, "TEXT_MESSAGE_CONTENT", messageId="m", delta="Whole"),
        event(5, "TEXT_MESSAGE_END", messageId="m"),
    )

    item = transcript.items["said-m"]
    assert isinstance(item, Said)
    assert (item.text, item.open) == ("Whole", False)


def test_a_tool_call_says_how_it_ended() -> None:
    transcript = reduced(
        event(1, "TOOL_CALL_START", toolCallId="c", toolCallName="read_log", title="Read a log"),
        event(2, "TOOL_CALL_ARGS", toolCallId="c", delta="{}"),
        event(3, "TOOL_CALL_RESULT", toolCallId="c", content="no such replica", ok=False),
    )

    item = transcript.items["tool-c"]
    assert isinstance(item, ToolCall)
    assert (item.title, item.state, item.result) == ("Read a log", "failed", "no such replica")


def test_a_pause_shows_its_question_and_an_error_its_reason() -> None:
    outcome = {"type": "interrupt", "interrupts": [{"id": "c", "approvalId": "apr-1"}]}
    transcript = reduced(
        event(1, "RUN_FINISHED", outcome=outcome),
        event(2, "RUN_ERROR", message="The model can't be reached.", code="model_unavailable"),
    )

    question, failure = transcript.items.values()
    assert isinstance(question, Question)
    assert question.approval_id == "apr-1"
    assert isinstance(failure, Failure)
    assert failure.text == "The model can't be reached."
    assert transcript.doing == ""


def test_what_the_agent_is_at_is_said_until_the_turn_ends() -> None:
    working = {"status": "working", "steps": [{"specialist": "healer", "task": "x"}]}
    transcript = reduced(event(1, "RUN_STARTED"), event(2, "STATE_SNAPSHOT", snapshot=working))

    assert transcript.doing == "Working: healer"
    transcript.apply(event(3, "RUN_FINISHED", outcome={"type": "success"}))
    assert transcript.doing == ""


def grown(*bounds: float | None) -> list[PointView]:
    """Worlds that all passed, with the bound as it stood after each."""
    return [
        PointView(worlds=count, passed=count, bound=bound, at=NOW)
        for count, bound in enumerate(bounds, start=1)
    ]


def test_a_bound_stays_as_it_was_read_until_the_next_look() -> None:
    line = bound_line(grown(None, 0.5, 0.5, 0.75), 0.8)

    assert line is not None
    heights = [float(point.split(",")[1]) for point in line.bound.split()]
    assert heights == [48.0, 48.0, 48.0, 27.0]
    assert [right for right, *_ in line.looks] == [160.0, 314.0]
    assert "known to be above 75.0 %; above 80 % must be shown" in line.summary


def test_a_bound_read_at_the_last_world_is_seen_though_it_is_one_point() -> None:
    line = bound_line(grown(None, 0.9), 0.8)

    assert line is not None
    assert len(line.bound.split()) == 1
    assert [right for right, *_ in line.looks] == [314.0]


def test_evidence_without_a_look_has_no_bound_and_none_at_all_no_chart() -> None:
    line = bound_line(grown(None, None), None)

    assert line is not None
    assert (line.bound, line.looks, line.target, line.percent) == ("", [], None, None)
    assert line.summary == "2 of 2 distinct worlds passed."
    assert bound_line([], 0.8) is None
