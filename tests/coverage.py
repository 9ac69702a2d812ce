# SPDX-License-Identifier: Apache-2.0
"""usage: llvm-cov export -format=lcov ... | tests/coverage.py ROOT LEAST DIRECTORY...

Prints how much of each file under the directories was reached and which lines were not. Fails if all in all it is less than LEAST per cent.
"""

import sys


def ranges(lines):
    """1, 2, 3, 5 as 1-3, 5."""
    runs = []
    for line in lines:
        if runs and runs[-1][1] == line - 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def read(report):
    """{file: {line: times}} of a report as lcov writes it."""
    files, lines = {}, {}
    for record in report:
        key, _, value = record.strip().partition(":")
        if key == "SF":
            lines = files.setdefault(value, {})
        elif key == "DA":
            line, times = value.split(",")[:2]
            lines[int(line)] = lines.get(int(line), 0) + int(times)
    return files


def main(root, least, *directories):
    wanted = tuple(f"{root}/{directory}/" for directory in directories)
    reached_lines = all_lines = 0
    for file, lines in sorted(read(sys.stdin).items()):
        if not file.startswith(wanted):
            continue
        missed = sorted(line for line, times in lines.items() if times == 0)
        reached_lines += len(lines) - len(missed)
        all_lines += len(lines)
        print(f"{file[len(root) + 1:]:40} {len(lines):5} {100 * (len(lines) - len(missed)) // len(lines):4} %  {ranges(missed)}".rstrip())
    if all_lines == 0:
        sys.exit("coverage: the report has none of these files")
    share = 100 * reached_lines / all_lines
    print(f"{reached_lines} of {all_lines} lines were reached, {share:.1f} %")
    if share < float(least):
        sys.exit(f"coverage: less than {least} %")


main(*sys.argv[1:])
