"""The benchmark in bench/: its rows and targets fit together, and its report is right."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the benchmark runs on Linux", allow_module_level=True)

import programs
from contenders import PEERS
from report import SHOWN, group_section, targets_table
from rows import GROUPS, ROWS, Row
from run import medians, with_messages
from targets import TARGETED, TARGETS, Growth, Target

PEER = {peer.key: peer for peer in PEERS}
GROUP = {group.name: group for group in GROUPS}


def results(rates, failures=(), full=True, what="rate"):
    """Results with one number for each row and program."""
    rows = {
        row: {"title": row, "cells": {key: {"median": {what: n}} for key, n in cells.items()}}
        for row, cells in rates.items()
    }
    return {"rows": rows, "failures": list(failures), "full": full}


# Rows


def test_rows_have_names_of_their_own_and_a_group():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {row.group for row in ROWS} == set(GROUP)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_programs_of_a_row_can_do_it(row):
    role = row.kind if row.kind in ("client", "speed") else "server"
    for key in row.peers:
        assert getattr(PEER[key], role)
        assert PEER[key].secure or not row.tls
    subset = row.in_subset()
    assert subset is None or set(subset.peers) <= set(row.peers)


@pytest.mark.parametrize("row", [row for row in ROWS if row.deflate], ids=lambda row: row.name)
def test_the_load_generator_offers_what_the_servers_are_told(row):
    server, load = (dict(pairwise((*words, ""))) for words in (row.mode, row.deflate))
    assert server["--deflate"] == load["--server-bits"] == load["--client-bits"]
    assert server["--level"] == load["--level"]
    assert server["--mem-level"] == load["--mem-level"]
    alone = "--no-takeover" in row.mode
    assert alone == ("--server-no-takeover" in row.deflate) == ("--client-no-takeover" in load)


def test_a_file_of_messages_is_made_when_a_row_needs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "BUILD", tmp_path)
    row = Row("deflate/x", "", (), ("--size", "90"), deflate=("--deflate", "MESSAGES"))
    assert with_messages(row, ["load", "--port", "1"]) == ["load", "--port", "1"]
    _, path = with_messages(row, ["--deflate", "MESSAGES"])
    text = Path(path).read_text()
    messages = {text[i : i + 90] for i in range(0, len(text), 90)}
    assert len(messages) == len(text) / 90
    assert len(text) > 2 * 2**15
    assert all(json.loads(message) for message in messages)


# Targets


@pytest.mark.parametrize("cell", sorted(TARGETED), ids="-".join)
def test_what_a_target_is_about_is_measured(cell):
    name, key = cell
    (row,) = [row for row in ROWS if row.name == name]
    assert key in row.peers


def test_targets_compare_the_same_number_of_both_programs():
    for target in TARGETS:
        assert target.theirs is None or target.ours[2] == target.theirs[2]
        assert (target.at_least is None) != (target.at_most is None)


@pytest.mark.parametrize(
    ("bounds", "measured", "text", "met"),
    [
        ({"at_least": 1.05}, 1.05, "1.05", True),
        ({"at_least": 1.05}, 1.0549, "1.05", True),
        ({"at_least": 1.05}, 1.048, "1.048", False),
        ({"at_least": 1.05}, 1.04996, "1.04996", False),
        ({"at_least": 1.05}, 1.04, "1.04", False),
        ({"at_least": 12}, 9.66, "9.66", False),
        ({"at_most": 0.25}, 0.25, "0.25", True),
        ({"at_most": 0.25}, 0.2503, "0.2503", False),
        ({"at_most": 0.25}, 0.246, "0.25", True),
    ],
)
def test_a_verdict_can_be_seen_from_what_is_printed(bounds, measured, text, met):
    target = Target("", ("", "", ""), None, "", **bounds)
    assert target.is_met(measured) is met
    assert target.text(measured) == text


def test_growth_is_that_of_ours_over_that_of_the_floor():
    growth = Growth(
        "", ("growth/10000", "wsfast-event", "cpu"), ("growth/10000", "bare-c", "cpu"), "bare-c"
    )
    rows = {
        "growth/100": {"wsfast-event": 7.0, "bare-c": 5.0},
        "growth/10000": {"wsfast-event": 10.5, "bare-c": 6.0},
    }
    assert growth.measure(results(rows, what="cpu")) == pytest.approx(1.25)
    del rows["growth/100"]["bare-c"]
    assert growth.measure(results(rows, what="cpu")) is None


# The report


def test_a_missed_target_that_would_round_to_met_has_a_third_digit():
    row = {"wsfast-event": 1048.0, "picows-core": 1000.0}
    text = targets_table(results({"client/200B/1": row}, full=False))
    assert text.splitlines()[2:] == [
        "| client, listeners, 200 B one a write | picows core (uvloop) | ≥ 1.05x | 1.048x "
        "| **missed** |"
    ]


def test_what_failed_is_not_available_and_what_was_not_asked_for_is_empty():
    rates = {
        "client/200B/1": {"wsfast-event": 2000.0, "picows-core": 1000.0, "websockets": 500.0},
        "client/200B/16": {"wsfast-event": 4000.0},
    }
    cells = results(rates, ["client/200B/16 picows-core: the connection was lost"])
    for row in cells["rows"].values():
        for cell in row["cells"].values():
            cell["median"] |= {"cpu": 3.0, "user": 1.0, "system": 2.0}
    rate, _ = (part for part in group_section(cells, GROUP["client"]).split("\n\n") if "|" in part)
    assert rate.splitlines()[2:] == [
        "| **wsfast, listeners** | 2.00k | 4.00k |",
        "| picows core (uvloop) | 1.00k (2.00x) | n/a |",
        "| websockets (uvloop) | 500 (4.00x) |  |",
    ]


def test_what_compression_leaves_is_a_part_and_less_is_better():
    cell = {"rate": 1000.0, "cpu": 3.0, "user": 1.0, "system": 2.0}
    cells = results({})
    cells["rows"]["deflate/1KiB/1"] = {
        "title": "1 KiB",
        "cells": {
            "wsfast-event": {"median": {**cell, "ratio": 0.2}},
            "node": {"median": {**cell, "ratio": 0.25}},
        },
    }
    *_, ratio = group_section(cells, GROUP["deflate"]).split("\n\n")
    assert ratio.splitlines()[2:] == [
        "| **wsfast, listeners** | 20.0% |",
        "| Node's ws | 25.0% (1.25x) |",
    ]


def test_groups_show_what_can_be_shown():
    assert {what for group in GROUPS for what in group.shows} == set(SHOWN)


def test_medians_are_of_each_number_and_the_share_of_user_time_is_of_all_rounds():
    cells = [
        {"rate": 10.0, "cpu": 2.0, "user": 2.0, "system": 0.0, "messages": 100},
        {"rate": 30.0, "cpu": 4.0, "user": 0.0, "system": 4.0, "messages": 100},
        {"rate": 20.0, "cpu": 3.0, "user": 1.0, "system": 2.0, "messages": 100},
    ]
    median = medians(cells)
    assert median["rate"] == 20.0
    assert median["cpu"] == 3.0
    assert median["user"] == pytest.approx(1.0)
    assert median["system"] == pytest.approx(2.0)
