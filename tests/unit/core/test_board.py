"""The board as rows and as HTML."""

from html.parser import HTMLParser

from sageops.board import Row, page, rows

from tests.unit.core.world import GROUP, ONE_STAGE, World


class Cells(HTMLParser):
    """The text of each cell, and every tag there is."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_newest_is_first_and_says_where_it_is_live() -> None:
    world = World().live(1)
    world.approved(2)
    world.wait(60)

    found = rows(GROUP, world.store.head, world.store.releases.values())

    assert found == (
        Row(
            GROUP,
            2,
            "AwaitingApproval",
            "production",
            ("staging",),
            "Waits for a person to approve production.",
        ),
        Row(GROUP, 1, "Live", "production", ("production",), "production serves version 1."),
    )


def test_the_latest_five_are_shown_and_whatever_is_live() -> None:
    world = World(*ONE_STAGE).live(1)
    for version in range(2, 9):
        world.registered(version)
    world.look()

    found = rows(GROUP, world.store.head, world.store.releases.values())

    assert [row.version for row in found] == [8, 7, 6, 5, 4, 1]


def test_a_group_nobody_has_looked_at_has_no_rows() -> None:
    assert rows(GROUP, None, []) == ()


def test_what_models_say_is_shown_as_data() -> None:
    why = "<script>alert('x')</script> & more"
    read = Cells(page([Row("<b>", 1, "Failed", "prod", (), why)]))

    assert set(read.tags) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert why in read.texts
    assert "<b>" in read.texts
    assert "–" in read.texts


def test_an_empty_board_says_what_to_do() -> None:
    assert "sageops policy push FILE" in page([])
