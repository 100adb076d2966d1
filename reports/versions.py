"""When a report does not verify and another version of the software made it: what that may mean, and how to find out.

Numbers are compared bit for bit, so a computation that was changed since, even in the order of its sums, gives another
last digit. That is no pass: only the version that made the report can tell a changed digit from a changed number.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from verification_platform.engine.protocol import Text

from .findings import Finding
from .model import ReportData, Software

#: Relative differences up to this come from rounding alone; a table of results prints six digits at the most.
ROUNDING = 1e-9


def advice(
    findings: list[Finding], data: ReportData, here: Software, pdf: Path, recording: Path | None
) -> Text | None:
    """What to tell the reader of a report that another version made; None when that explains nothing."""
    made = data.typesetting.pilotbench
    if (made.version, made.commit) == (here.version, here.commit):
        return None
    recomputed = max((finding.deviation for finding in findings), default=0.0)
    if not recomputed and all(finding.state != "unchecked" for finding in findings):
        return None
    zh = [f"本报告由 {_zh(made)} 生成，现在用于核验的是 {_zh(here)}，两者不是同一版本。"]
    en = [f"This report was made by {made.named}; it is checked here by {here.named}, another version."]
    if 0 < recomputed <= ROUNDING:
        zh.append(
            f"重新计算的数值相对偏差不超过 {recomputed:.1g}，仅涉及末位数字，版本之间计算次序不同即可如此。"
        )
        en.append(
            f"The recomputed numbers differ by at most {recomputed:.1g} of themselves: the last digits only, as happens when a "
            "version computes in another order."
        )
    elif recomputed:
        zh.append("差异大于舍入所致：或者计算方法已随版本改变，或者报告或运行目录被改动过。")
        en.append(
            "The difference is larger than rounding: either the method changed between the versions, or report or run folder "
            "was altered."
        )
    zh.append("本次核验不算通过。请在同类计算机上用生成报告的版本再核验一次：")
    en.append(
        "This is no pass. Verify once more with the version that made the report, on a computer of the same kind:"
    )
    command = _command(made, pdf, recording)
    zh_end = "若在该版本下验证通过，则报告中的数值正是该版本由此记录算得；若仍不通过，则报告或记录已被改动。"
    en_end = (
        "If it verifies there, its numbers are what that version computed from this recording; if not, report or recording "
        "was altered."
    )
    if made.commit.endswith("+"):
        zh_end += "（“+”表示当时的源代码含未提交的修改，该提交本身可能给出不同的末位。）"
        en_end += " (The + means that its source had changes that were not committed; the commit itself may differ.)"
    return Text(
        "\n".join(["".join(zh), command or f"{_zh(made)}", zh_end]), _paragraphs(en, command, made, en_end)
    )


def _paragraphs(en: list[str], command: str, made: Software, end: str) -> str:
    return "\n".join([" ".join(en), command or made.named, end])


def _zh(software: Software) -> str:
    return f"{software.name} {software.version}" + (f"（提交 {software.commit}）" if software.commit else "")


def _command(made: Software, pdf: Path, recording: Path | None) -> str:
    """To be run in a checkout of this repository; empty when it is not known which commit that was."""
    if not made.commit:
        return ""
    commit = made.commit.rstrip("+")
    there = f"../pilotbench-{commit}"
    given = f" --recording {shlex.quote(str(recording.absolute()))}" if recording is not None else ""
    return (
        f"  git worktree add {there} {commit}\n"
        f"  make -C {there} setup\n"
        f"  {there}/.venv/bin/pilotbench verify {shlex.quote(str(pdf.absolute()))}{given}"
    )
