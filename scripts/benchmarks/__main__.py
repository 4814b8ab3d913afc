"""Measure botvisor beside what people use without it, in rounds that take turns.

Machines are noisy: trust the ratios between contenders of one run, not the rates. Each benchmark is a process
of its own, with a private Redis of its own.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from . import machine, plots, terminal
from .catalogue import BENCHMARKS, chosen
from .tables import Report, Result

EXAMPLES = """
examples:
  ./scripts/bench --quick                                 every table, in two minutes
  ./scripts/bench --json all.json --plots plots           the full run, which takes most of an hour
  ./scripts/bench redis_operations --callers 100          one benchmark: redis_operations --help
  ./scripts/bench actor                                   those whose names begin so
  ./scripts/bench --from all.json --markdown              the tables of an earlier run, for a page
"""


def parser() -> argparse.ArgumentParser:
    width = max(map(len, BENCHMARKS))
    listed = "\n".join(f"  {name:{width}}  {about}" for name, about in BENCHMARKS.items())
    made = argparse.ArgumentParser(
        prog="./scripts/bench",
        usage="./scripts/bench [NAME...] [options]",
        description=__doc__,
        epilog=f"benchmarks, all by default; of a NAME its beginning will do:\n{listed}\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    made.add_argument("-h", "--help", action="store_true", help="say this, or with one NAME its own options")
    made.add_argument("--list", action="store_true", help="print the names of the benchmarks")
    made.add_argument(
        "--quick", action="store_true", help="few and short rounds: to see that it works, not to quote"
    )
    made.add_argument("--rounds", type=int, help="of each contender; each benchmark has its own default")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every round's figures there")
    made.add_argument("--plots", type=Path, metavar="FOLDER", help="draw the tables there")
    made.add_argument("--png", action="store_true", help="draw PNG in place of SVG")
    made.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    made.add_argument(
        "--from", dest="earlier", type=Path, metavar="FILE", help="measure nothing: show an earlier run"
    )
    return made


def main() -> int:
    its = parser()
    options, further = its.parse_known_args()
    # The first words name benchmarks; what follows an option that is not ours is the benchmark's.
    options.names = list(itertools.takewhile(lambda word: not word.startswith("-"), further))
    further = further[len(options.names) :]
    if options.list:
        print("\n".join(BENCHMARKS))
        return 0
    try:
        names = chosen(options.names)
    except ValueError as error:
        its.error(str(error))
    if options.help and (len(names) > 1 or not options.names):
        its.print_help()
        return 0
    if options.help:
        further = ["--help"]
    if further and len(names) > 1:
        its.error(f"{' '.join(further)} may be for one benchmark, and {len(names)} are to run: name it first")
    failed: list[str] = []
    if options.earlier:
        report = msgspec.json.decode(options.earlier.read_bytes(), type=Report)
        report.results = [each for each in report.results if each.benchmark in names]
        for result in report.results:
            show(result, options)
    else:
        report = Report(machine=machine.machine(), when=str(datetime.date.today()), quick=options.quick)
        print(f"{report.machine}; load average {machine.load()}", file=sys.stderr)
        began = time.monotonic()
        failed = [name for name in names if not run(name, further, options, report)]
        if "--help" in further:
            return 0
        print(f"\n{len(report.results)} benchmarks took {time.monotonic() - began:.0f} s", file=sys.stderr)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    if options.plots:
        try:
            files = plots.draw(report, options.plots, "png" if options.png else "svg")
        except ImportError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{len(files)} plots are in {options.plots}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(name: str, further: list[str], options: argparse.Namespace, report: Report) -> bool:
    """Run a benchmark, show its tables and add them to the report. Returns whether it ended well."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "result.json"
        command = [sys.executable, "-P", "-m", f"{__package__}.{name}", "--json", str(file), *further]
        command += ["--quick"] if options.quick else []
        command += ["--rounds", str(options.rounds)] if options.rounds else []
        if subprocess.run(command).returncode != 0:
            return False
        if not file.exists():  # it only said what its options are
            return True
        result = msgspec.json.decode(file.read_bytes(), type=Result)
    report.results.append(result)
    show(result, options)
    return True


def show(result: Result, options: argparse.Namespace) -> None:
    if not options.markdown:
        terminal.show(result)
        return
    for table in result.tables:
        print(f"\n{terminal.heading(result, table)}\n")
        print("\n".join(terminal.markdown(table)))
        words = [*table.verdicts(), *([table.note] if table.note else [])]
        print("".join(f"\n- {each}" for each in words))


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no reason for a traceback
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
