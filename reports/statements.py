"""What every report says in both languages: verdicts, states, the statements it must carry, who signs."""

from __future__ import annotations

from verification_platform.engine.protocol import Text
from verification_platform.metrology.result import RunStatus, Verdict

VERDICTS = {
    Verdict.PASS: Text("合格", "Pass"),
    Verdict.CONDITIONAL_PASS: Text("有条件合格", "Conditional pass"),
    Verdict.INCONCLUSIVE: Text("无法判定", "Inconclusive"),
    Verdict.CONDITIONAL_FAIL: Text("有条件不合格", "Conditional fail"),
    Verdict.FAIL: Text("不合格", "Fail"),
    Verdict.NONE: Text("仅报告", "Report only"),
}
NO_VERDICT = Text("不判定", "No verdict")
#: Colour family of a verdict in the template. Colour never stands alone: the words are always printed.
TONES = {
    Verdict.PASS: "good",
    Verdict.CONDITIONAL_PASS: "fair",
    Verdict.INCONCLUSIVE: "open",
    Verdict.CONDITIONAL_FAIL: "poor",
    Verdict.FAIL: "bad",
    Verdict.NONE: "plain",
}
SENTENCES = {
    Verdict.PASS: Text("全部有限值的特性均合格。", "Every characteristic with a limit passes."),
    Verdict.CONDITIONAL_PASS: Text(
        "至少一项结果在限值以内、但落在保护带内：有条件合格。",
        "At least one result lies within its limit but inside the guard band: conditional pass.",
    ),
    Verdict.INCONCLUSIVE: Text(
        "至少一项试验或判定不成立，不能得出总体结论。",
        "At least one run or decision is inconclusive: no overall conclusion can be drawn.",
    ),
    Verdict.CONDITIONAL_FAIL: Text(
        "至少一项结果超出限值、但落在保护带内：有条件不合格。",
        "At least one result lies beyond its limit but inside the guard band: conditional fail.",
    ),
    Verdict.FAIL: Text(
        "至少一项结果超出限值与保护带。", "At least one result lies beyond its limit and the guard band."
    ),
    Verdict.NONE: Text(
        "订单未规定限值，仅报告结果。", "The order sets no limits: results are reported only."
    ),
}
STATUSES = {
    RunStatus.VALID: (Text("有效", "Valid"), "good"),
    RunStatus.INVALID: (Text("无效", "Invalid"), "bad"),
    RunStatus.INCONCLUSIVE: (Text("不充分", "Inconclusive"), "open"),
    RunStatus.ABORTED_SAFETY: (Text("安全中止", "Aborted by safety"), "bad"),
}

#: ISO/IEC 17025:2017 7.8.2.1 l and note, 7.8.2.2; the prototype statement of the platform.
STATEMENTS = (
    Text("本报告结果仅与所检样品有关。", "The results relate only to the items tested."),
    Text(
        "未经实验室书面批准，不得部分复制本报告（全文复制除外）。",
        "This report shall not be reproduced except in full without written approval of the laboratory.",
    ),
    Text(
        "样品为中试样机，结果不代表批量产品。",
        "The sample is a prototype; the results do not represent series production.",
    ),
    Text(
        "样品按收到时的状态检测；样品数据由客户提供。",
        "The item was tested as received; item data were supplied by the customer.",
    ),
)
DRAFT_STATEMENT = Text(
    "草稿：本报告未经授权签字人签署，不具有正式报告的效力。",
    "DRAFT: not signed by an authorised person; this is not a released report.",
)
ROLES = {
    "prepared": Text("编制", "Prepared by"),
    "checked": Text("审核", "Checked by"),
    "authorised": Text("批准", "Authorised by"),
}

BENCH_KINDS = {
    "emulated": Text("线缆级仿真台架", "emulated (byte-exact devices, simulated plant)"),
    "simulated": Text("内置仿真台架", "simulated (built-in plant, virtual time)"),
    "hardware": Text("实物台架", "hardware"),
}
