"""Charts as SVG."""

from datetime import timedelta
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st
from sageops.charts import DARK, LIGHT, STYLE, Line, Span, chart, flat, gantt

from tests.unit.core.world import START

values = st.none() | st.floats(0, 1e9, allow_nan=False)


def line(*points: float | None, name: str = "version 2") -> Line:
    return Line(
        name, "canary", tuple((START + timedelta(minutes=i), p) for i, p in enumerate(points))
    )


def drawn(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def heights(svg: str) -> list[float]:
    [curve] = drawn(svg).findall("polyline")
    return [float(point.split(",")[1]) for point in curve.attrib["points"].split()]


def test_more_is_higher_up_and_the_same_is_level() -> None:
    first, second, third = heights(chart("Share", [line(0, 50, 50)], " %", top=100))

    assert first > second == third


def test_a_minute_without_figures_breaks_the_line() -> None:
    pieces = drawn(chart("Latency", [line(1, 2, None, 3, None, 4, 5)])).iter()

    assert [each.tag for each in pieces if each.tag in ("polyline", "circle")] == [
        "polyline",
        "circle",
        "polyline",
    ]


def test_a_reader_that_sees_no_picture_is_told_what_is_in_it() -> None:
    label = drawn(chart("Share", [line(0, 10, 30)], " %")).attrib["aria-label"]

    assert label == "Share. version 2: 30 % at the end, at most 30"


def test_without_figures_there_is_no_empty_picture() -> None:
    assert chart("Share", [line(None, None)]) == '<p class="quiet">Share: no figures.</p>'
    assert gantt("How long", []) == ""


def test_names_are_text() -> None:
    svg = chart("<b>", [line(1, 2, name="<script>alert(1)</script>")])
    rows = gantt("<b>", [Span("<i>", "baking", '"x"', START, START + timedelta(hours=1))])

    assert "<script" not in svg
    assert drawn(svg).find("script") is None
    assert drawn(rows).find("i") is None


@given(st.lists(values, min_size=1, max_size=30))
def test_whatever_the_figures_it_is_well_formed_and_inside_its_frame(points: list[float]) -> None:
    svg = chart("Figures", [line(*points)])
    if svg.startswith("<p"):
        return
    frame = drawn(svg)
    _, _, wide, high = map(float, frame.attrib["viewBox"].split())
    for curve in frame.findall("polyline"):
        for point in curve.attrib["points"].split():
            across, down = map(float, point.split(","))
            assert 0 <= across <= wide
            assert 0 <= down <= high


def test_flat_leaves_no_variable_and_both_palettes_know_the_same_colours() -> None:
    assert set(LIGHT) == set(DARK)
    assert "var(" not in flat(STYLE, DARK)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, 'contrast ratio'."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_every_colour_of_text_can_be_read_on_paper_and_on_cards() -> None:
    for palette in (LIGHT, DARK):
        for text in ("ink", "quiet", "link", "control", "canary", "limit", "good", "bad", "wait"):
            for ground in ("paper", "card"):
                assert contrast(palette[text], palette[ground]) >= 4.5, (text, ground)
        assert contrast(palette["on-button"], palette["button"]) >= 4.5
