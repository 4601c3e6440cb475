"""A replay's proof for people: one page without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

from pipeline.replay.proof import Report

_STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem;border-bottom:1px solid #ccc;"
    "text-align:left;font-variant-numeric:tabular-nums}.verified{color:#06703a}.mismatched{color:#b00020}"
    ".unknown{color:#8a5a00}"
)
MEANING: Final = {
    "verified": "Every message arrived once and as it was sent, and the lake holds what it should.",
    "mismatched": "Something is not as it should be: it is listed below.",
    "unknown": "Not all of the messages could be followed in time, so nothing can be said about the rest.",
}


def page(report: Report) -> str:
    """The proof as HTML."""
    outcome = report["outcome"]
    delivered, travel, fresh = report["delivered"], report["time_travel"], report["freshness"]
    parts = [
        f"<h1>Replay {_text(report['replay'])}: <span class={_text(outcome)}>{_text(outcome)}</span></h1>",
        f"<p>{_text(MEANING[outcome])}</p>",
        _table(
            ("", ""),
            [
                ("table", report["table"]),
                ("rows", report["rows"]),
                ("new times by the rule", report["timestamps"]["rule"]),
                ("topic", delivered["topic"]),
                ("found in the topic", f"{delivered['found']} of {delivered['expected']}"),
                (
                    "missing, twice, altered",
                    f"{delivered['missing']}, {delivered['doubled']}, {delivered['altered']}",
                ),
                ("processed after seconds", fresh["seconds"]),
                ("the versions before", f"{travel['tag']}, {'still there' if travel['reachable'] else 'gone'}"),
            ],
        ),
        "<h2>Where rows went</h2>",
        _table(("from and to", "rows"), report["moves"].items()),
    ]
    if report["mismatches"]:
        parts += [
            f"<h2>What does not fit: {report['mismatch_count']} rows</h2>",
            _table(("key", "what"), ((row["key"], "; ".join(row["what"])) for row in report["mismatches"])),
        ]
    if report["pending"]:
        parts += [
            f"<h2>Not known yet: waiting for {_text(report.get('waiting_for', 'the processor'))}</h2>",
            _table(("key",), ((row["key"],) for row in report["pending"])),
        ]
    if report["disturbed"]:
        parts.append(f"<p>Rows that were not re-pushed changed in {_text(', '.join(report['disturbed']))}.</p>")
    totals = report["totals"]
    columns = list(next(iter(totals.values()), {}))
    parts += [
        "<h2>Totals</h2>",
        _table(("table", *columns), ((name, *counts.values()) for name, counts in totals.items())),
        "<h2>The first rows</h2>",
        _table(
            ("key", "before", "after", "time before", "time after", "message"),
            (
                [row[n] for n in ("key", "before", "after", "time_before", "time_after", "message")]
                for row in report["sample"]
            ),
        ),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Replay {_text(report['replay'])}</title>"
        f"<style>{_STYLE}</style>{''.join(parts)}</html>"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    heads = "".join(f"<th>{_text(name)}</th>" for name in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{heads}</tr>{body}</table>"


def _text(value: object) -> str:
    return escape("" if value is None else str(value))
