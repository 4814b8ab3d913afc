"""./scripts/bench: it lists its benchmarks, its statistics are right, and a round of them runs."""

import io
import os
import subprocess
import sys
from importlib.util import find_spec

import msgspec
import pytest

from . import redis_server
from .processes import ROOT

SCRIPTS = ROOT / "scripts"
LIMIT_S = 90.0  # processes start processes here
sys.path.append(str(SCRIPTS))

from benchmarks import figures, terminal  # noqa: E402
from benchmarks.catalogue import BENCHMARKS, chosen  # noqa: E402
from benchmarks.program import turns  # noqa: E402
from benchmarks.tables import Aim, Report, Result, Table  # noqa: E402


def run(*arguments):
    env = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    return subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=env,
    )


def report_of(folder, *arguments):
    file = folder / "report.json"
    done = run(*arguments, "--json", str(file))
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(file.read_bytes(), type=Report), done.stdout


def a_table(**more):
    return Table(title="Speed", unit="operations/s", baseline="theirs", **more)


def test_it_lists_its_benchmarks_and_each_is_a_program():
    done = run("--list")
    assert done.stdout.split() == list(BENCHMARKS)
    assert [name for name in BENCHMARKS if not (SCRIPTS / "benchmarks" / f"{name}.py").exists()] == []


def test_help_names_every_benchmark():
    said = run("--help").stdout
    assert [name for name in BENCHMARKS if name not in said] == []


def test_the_beginning_of_a_name_chooses_all_that_begin_so():
    assert chosen(["actor"]) == ["actor_messages", "actor_restarts"]
    assert chosen([]) == list(BENCHMARKS)
    with pytest.raises(ValueError, match="no benchmark is called 'speed'"):
        chosen(["speed"])


def test_an_unknown_name_ends_with_a_usage_error():
    done = run("speed")
    assert done.returncode == 2
    assert "no benchmark is called 'speed'" in done.stderr


def test_options_of_one_benchmark_need_its_name():
    done = run("--callers", "1")
    assert done.returncode == 2
    assert "name it first" in done.stderr


def test_a_spread_is_the_median_with_the_least_and_the_most():
    assert figures.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert figures.spread([4.0, 1.0, 2.0, 3.0]) == (2.5, 1.0, 4.0)
    with pytest.raises(ValueError, match="nothing was measured"):
        figures.spread([])


def test_a_ratio_is_between_figures_of_one_round():
    # Of the medians it would be 2: a slow machine in one round is no fast contender.
    table = a_table(rows={"theirs": {"all": [10, 1, 100]}, "ours": {"all": [20, 4, 500]}})
    assert table.ratio("ours", "all") == (4, 2, 5)
    assert table.ratio("theirs", "all", "ours") == (0.25, 0.2, 0.5)


def test_there_is_no_ratio_where_a_figure_is_missing_or_nothing():
    table = a_table(rows={"theirs": {"all": [0, 2]}, "ours": {"all": [1, 2], "few": [1, 2]}})
    assert table.ratio("ours", "all") == (1, 1, 1)
    assert table.ratio("ours", "few") is None
    assert table.ratio("nobody", "all") is None
    with pytest.raises(ValueError, match="shorter"):
        figures.ratios([1], [])


@pytest.mark.parametrize(("share", "figure"), [(0.5, 51), (0.99, 100), (1.0, 100), (0.0, 1)])
def test_a_quantile_is_one_of_the_figures(share, figure):
    assert figures.quantile(range(100, 0, -1), share) == figure
    assert figures.quantile([], share) == 0


def test_an_aim_says_whether_it_was_met():
    rows = {"theirs": {"all": [10.0, 10.0]}, "ours": {"all": [90.0, 110.0]}}
    aims = [
        Aim(contender="ours", column="all", against="theirs", at_least=10),
        Aim(contender="ours", column="all", at_most=99),
        Aim(contender="ours", column="few", at_most=99),
    ]
    met, missed = a_table(rows=rows, aims=aims).verdicts()
    assert met == "met: ours, all: 10.0x theirs; aim: at least 10x"
    assert missed == "NOT met: ours, all: 100 operations/s; aim: at most 99 operations/s"


def test_everybody_is_first_in_turn():
    orders = [order for _, order in turns(["a", "b", "c"], 4)]
    assert ["".join(order) for order in orders] == ["abc", "bca", "cab", "abc"]


def test_a_piped_table_is_plain_and_has_ratios_and_figures():
    table = a_table(rows={"theirs": {"all": [10, 12]}, "ours": {"all": [100, 132]}})
    out = io.StringIO()
    terminal.show(Result(benchmark="speed", rounds=2, tables=[table], left_out=["glide: none"]), out)
    assert out.getvalue().split("\n")[1:] == [
        "Speed, x theirs: median (least-most) of 2 rounds, operations/s",
        "                               all",
        "theirs                1         11",
        "ours    10.5 (10.0-11.0)       116",
        "  left out: glide: none",
        "",
    ]
    assert terminal.markdown(table)[-1] == "| ours | 10.5 (10.0-11.0) 116 |"


def test_a_round_of_operations_on_redis(tmp_path):
    redis_server.need()
    named = ["--contenders", "original,bare hiredis,botvisor,coredis", "--seconds", "0.3"]
    report, said = report_of(tmp_path, "redis_operations", "--rounds", "1", "--callers", "2", *named)
    (result,) = report.results
    there = {"original pattern", "bare hiredis", "bare hiredis, our commands", "botvisor"}
    assert set(result.tables[0].rows) - {"coredis"} == there
    assert all(rate > 0 for row in result.tables[0].rows.values() for rate in row["2 callers"])
    assert ("left out: coredis" in said) is (find_spec("coredis") is None)
    shown = run("--from", str(tmp_path / "report.json"), "--markdown").stdout
    assert "| botvisor |" in shown


def test_a_list_of_the_fleet_is_timed_beside_the_bare_read(tmp_path):
    redis_server.need()
    report, _ = report_of(tmp_path, "fleet_listing", "--bots", "3", "--rounds", "1")
    rows = report.results[0].tables[0].rows
    assert list(rows) == ["bare read", "SCAN, one by one", "botvisor ps --json", "botvisor ps"]
    assert all(time > 0 for row in rows.values() for time in row["a list"])


def test_the_watchdog_is_seen_to_cost_something_where_there_is_one(tmp_path):
    report, _ = report_of(tmp_path, "watchdog_cost", "--rounds", "1", "--seconds", "0.6")
    rows = report.results[0].tables[0].rows
    (watched,) = rows["idle bot, watched"]["processor"]
    (thread,) = rows["the watchdog's thread"]["processor"]
    assert 0 < thread < watched
