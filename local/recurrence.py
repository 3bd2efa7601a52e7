"""When a schedule fires next: EventBridge Scheduler's `rate`, `cron` and `at` expressions.

Documentation: EventBridge Scheduler user guide, "Schedule types in EventBridge Scheduler"; the
same `rate` and `cron` are used by EventBridge's scheduled rules, in UTC.
"""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["InvalidExpression", "next_fire"]

_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
# Sunday is 1.
_DAYS = {name: number for number, name in enumerate("SUN MON TUE WED THU FRI SAT".split(), 1)}
_LAST_YEAR = 2199


class InvalidExpression(ValueError):
    """Scheduler answers `ValidationException: Invalid Schedule Expression`."""


def next_fire(
    expression: str, after: datetime, timezone: str = "UTC", anchor: datetime | None = None
) -> datetime | None:
    """The first moment strictly after `after` (aware), in UTC; None when it never fires again.

    `rate` counts from `anchor`, the schedule's StartDate or creation (default: `after`).
    `cron` and `at` are wall-clock times of `timezone`. Where clocks go forward, a time that does
    not exist that day is skipped; where they go back, a time that comes twice fires once
    (documentation: "Daylight savings time").
    Raises `InvalidExpression`.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise InvalidExpression(f"unknown time zone {timezone!r}") from None
    match = re.fullmatch(r"(rate|cron|at)\((.*)\)", expression.strip())
    if match is None:
        raise InvalidExpression(f"{expression!r} is none of rate(…), cron(…), at(…)")
    kind, body = match.groups()
    match kind:
        case "rate":
            return _next_rate(body, after, anchor or after)
        case "at":
            return _next_at(body, after, zone)
        case _:
            return _next_cron(_Cron.parse(body), after, zone)


def _next_rate(body: str, after: datetime, anchor: datetime) -> datetime:
    match = re.fullmatch(r"([1-9]\d*)\s+(minute|hour|day)(s?)", body.strip())
    if match is None:
        raise InvalidExpression(f"rate({body}): a positive number and minutes, hours or days")
    every = int(match[1]) * timedelta(**{f"{match[2]}s": 1})
    if anchor > after:
        return anchor.astimezone(UTC)
    return (anchor + every * ((after - anchor) // every + 1)).astimezone(UTC)


def _next_at(body: str, after: datetime, zone: ZoneInfo) -> datetime | None:
    if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", body.strip()) is None:
        raise InvalidExpression(f"at({body}): the form is yyyy-mm-ddThh:mm:ss")
    try:
        moment = datetime.fromisoformat(body.strip()).replace(tzinfo=zone).astimezone(UTC)
    except ValueError as error:
        raise InvalidExpression(f"at({body}): {error}") from None
    return moment if moment > after else None


@dataclass(frozen=True)
class _Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int]
    # `day of month` and `day of week` as written: what they mean depends on the month.
    day_of_month: str
    day_of_week: str

    @classmethod
    def parse(cls, body: str) -> "_Cron":
        fields = body.split()
        if len(fields) != 6:
            raise InvalidExpression(f"cron({body}): six fields, not {len(fields)}")
        minutes, hours, day_of_month, months, day_of_week, years = (f.upper() for f in fields)
        if (day_of_month == "?") == (day_of_week == "?"):
            raise InvalidExpression(
                f"cron({body}): exactly one of day-of-month and day-of-week must be ?"
            )
        cron = cls(
            _numbers(minutes, 0, 59),
            _numbers(hours, 0, 23),
            _numbers(months, 1, 12, _MONTHS),
            _numbers(years, 1970, _LAST_YEAR),
            day_of_month,
            day_of_week,
        )
        cron.days(2024, 1)  # finds what is wrong with the day fields now
        return cron

    def days(self, year: int, month: int) -> list[int]:
        """The days of one month on which it fires."""
        if self.day_of_week == "?":
            return sorted(_days_of_month(self.day_of_month, year, month))
        return sorted(_days_of_week(self.day_of_week, year, month))


def _next_cron(cron: _Cron, after: datetime, zone: ZoneInfo) -> datetime | None:
    for day in _days_from(cron, after.astimezone(zone).date()):
        moments = (
            datetime.combine(day, time(hour, minute), zone)
            for hour in sorted(cron.hours)
            for minute in sorted(cron.minutes)
        )
        for wall in moments:
            moment = wall.astimezone(UTC)
            # A wall-clock time that the zone skips does not survive the way there and back.
            exists = moment.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None)
            if exists and moment > after:
                return moment
    return None


def _days_from(cron: _Cron, first: date) -> Iterator[date]:
    for year in sorted(y for y in cron.years if y >= first.year):
        for month in sorted(cron.months):
            if (year, month) < (first.year, first.month):
                continue
            for day in cron.days(year, month):
                if date(year, month, day) >= first:
                    yield date(year, month, day)


def _numbers(
    field: str, low: int, high: int, names: dict[str, int] | None = None
) -> frozenset[int]:
    """`*`, `,`, `-` and `/`, which every field takes."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step_text = part.partition("/")
        step = _number(step_text, 1, high, None) if slash else 1
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (_number(end, low, high, names) for end in span.split("-", 1))
        else:
            first = _number(span, low, high, names)
            # `5/15` is from 5 to the end; `5` is 5.
            last = high if slash else first
        if first > last:
            raise InvalidExpression(f"{part}: the range goes backwards")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, high: int, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not text.isdigit() or not low <= int(text) <= high:
        raise InvalidExpression(f"{text!r} is not between {low} and {high}")
    return int(text)


def _days_of_month(field: str, year: int, month: int) -> frozenset[int]:
    last = calendar.monthrange(year, month)[1]
    if field == "L":
        return frozenset({last})
    if field == "LW":
        return frozenset({_nearest_weekday(last, year, month)})
    if match := re.fullmatch(r"(\d+)W", field):
        wanted = _number(match[1], 1, 31, None)
        return frozenset({_nearest_weekday(wanted, year, month)} if wanted <= last else ())
    return frozenset(day for day in _numbers(field, 1, 31) if day <= last)


def _nearest_weekday(day: int, year: int, month: int) -> int:
    """`W`: the weekday nearest to a day, never leaving the month."""
    last = calendar.monthrange(year, month)[1]
    match date(year, month, day).weekday():
        case 5:
            return day - 1 if day > 1 else day + 2
        case 6:
            return day + 1 if day < last else day - 2
        case _:
            return day


def _days_of_week(field: str, year: int, month: int) -> frozenset[int]:
    last = calendar.monthrange(year, month)[1]

    def on(weekday: int) -> list[int]:
        return [
            d for d in range(1, last + 1) if date(year, month, d).isoweekday() % 7 + 1 == weekday
        ]

    if field == "L":
        # The last day of the week: Saturday.
        return frozenset(on(7))
    if match := re.fullmatch(r"(\w+)L", field):
        return frozenset({on(_number(match[1], 1, 7, _DAYS))[-1]})
    if match := re.fullmatch(r"(\w+)#(\d)", field):
        nth = _number(match[2], 1, 5, None)
        return frozenset(on(_number(match[1], 1, 7, _DAYS))[nth - 1 : nth])
    return frozenset(d for weekday in _numbers(field, 1, 7, _DAYS) for d in on(weekday))
