"""The vocabulary of a report in both languages: quantities, conditions, channels, sources of uncertainty, series.

A name that is not in a table is printed as it stands: an unknown quantity is shown by its symbol, never
left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from verification_platform.engine.protocol import Text

from .formatting import plain, typographic, unit_symbol

CHANNELS = {
    "ambient_temperature": Text("环境温度", "Ambient temperature"),
    "housing_temperature": Text("壳体温度", "Housing temperature"),
    "ambient_humidity": Text("相对湿度", "Relative humidity"),
    "input_angle": Text("输入角", "Input angle"),
    "output_angle": Text("输出角", "Output angle"),
    "input_torque": Text("输入转矩", "Input torque"),
    "output_torque": Text("输出转矩", "Output torque"),
    "input_speed": Text("输入转速", "Input speed"),
    "drive_torque": Text("驱动器转矩", "Drive torque"),
    "load_torque_command": Text("加载转矩指令", "Load torque command"),
}

QUANTITIES = {
    "TE_pp": Text("传动误差峰峰值", "transmission error, peak to peak"),
    "TE_pp_worst": Text("单转最大传动误差峰峰值", "transmission error, worst single revolution"),
    "TE_bidirectional": Text("双向传动误差峰峰值", "transmission error, both directions"),
    "TE_rms": Text("传动误差均方根", "transmission error, r.m.s."),
    "A": Text("传动误差阶次幅值", "amplitude of a transmission-error order"),
    "LM_mid": Text("空程（滞回中线）", "lost motion, midline"),
    "LM_HD": Text("空程（±4 % 小循环）", "lost motion, loop to ±4 %"),
    "LM_outer": Text("空程（含滞回）", "lost motion including hysteresis"),
    "BL_0": Text("零转矩滞回宽度（回差）", "hysteresis width at zero torque (backlash)"),
    "K_ba": Text("扭转刚度 b/a", "torsional stiffness b/a"),
    "K_1": Text("扭转刚度，第一段", "torsional stiffness, section 1"),
    "K_2": Text("扭转刚度，第二段", "torsional stiffness, section 2"),
    "K_3": Text("扭转刚度，第三段", "torsional stiffness, section 3"),
    "phi_max": Text("额定转矩扭转角（正）", "torsion at +T_N"),
    "phi_min": Text("额定转矩扭转角（负）", "torsion at −T_N"),
    "W": Text("滞回损失", "hysteresis loss per loop"),
    "T_NL": Text("空载运行转矩", "no-load running torque"),
    "T_NL_output": Text("空载运行转矩，折算到输出", "no-load running torque, at the output"),
    "T_NL_pp": Text("空载转矩一转内峰峰值", "no-load torque, peak to peak over a turn"),
    "TQ1_offset": Text("转矩传感器 TQ1 零偏", "zero offset of torque transducer TQ1"),
    "torque_delay": Text("转矩通道延迟", "delay of the torque channel"),
    "torque_zero_drift": Text("转矩零点漂移", "drift of the torque zero"),
    "T_C": Text("库仑摩擦转矩", "Coulomb friction torque"),
    "T_v": Text("粘性摩擦系数", "viscous friction coefficient"),
    "T_offset": Text("转矩零偏", "torque offset"),
    "reversal_offset": Text("换向偏移", "reversal offset"),
    "t_d": Text("延迟时间（至 50 %）", "delay time, to 50 %"),
    "t_r": Text("上升时间（10→90 %）", "rise time, 10 to 90 %"),
    "t_90": Text("上升时间（0→90 %）", "rise time, from the step to 90 %"),
    "t_100": Text("首次到达时间", "time of first reach"),
    "t_p": Text("峰值时间", "peak time"),
    "t_s5": Text("调节时间（±5 %）", "settling time, band 5 %"),
    "t_s2": Text("调节时间（±2 %）", "settling time, band 2 %"),
    "M_p": Text("超调量", "overshoot"),
    "e_inf": Text("稳态误差", "steady-state error"),
    "t_d_pos": Text("位置延迟时间（至 50 %）", "delay time of the position, to 50 %"),
    "t_r_pos": Text("位置上升时间（10→90 %）", "rise time of the position, 10 to 90 %"),
    "t_90_pos": Text("位置上升时间（0→90 %）", "rise time of the position, from the command to 90 %"),
    "t_100_pos": Text("位置首次到达时间", "time of first reach of the position"),
    "t_p_pos": Text("位置峰值时间", "peak time of the position"),
    "t_s5_pos": Text("位置调节时间（±5 %）", "settling time of the position, band 5 %"),
    "t_s2_pos": Text("位置调节时间（±2 %）", "settling time of the position, band 2 %"),
    "M_p_pos": Text("位置超调量", "overshoot of the position"),
    "e_inf_pos": Text("位置稳态误差", "steady-state error of the position"),
    "t_set": Text("定位整定时间", "positioning settling time"),
    "rate_effect_LM_mid": Text("加载速率对空程的影响", "effect of the loading rate on lost motion"),
    "rate_effect_BL_0": Text("加载速率对回差的影响", "effect of the loading rate on backlash"),
    "offset": Text("零偏", "offset"),
    "closure": Text("闭合差", "closure"),
}
_GREEK = {"phi": "φ", "eta": "η", "theta": "θ", "sigma": "σ", "omega": "ω", "delta": "δ"}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A quantity's symbol: ``LM_mid`` is LM with subscript mid."""

    base: str
    sub: str


_SYMBOLS = {
    "rate_effect_BL_0": Symbol("ΔBL", "rate"),
    "rate_effect_LM_mid": Symbol("ΔLM", "rate"),
    "reversal_offset": Symbol("Δe", "rev"),
    "TE_bidirectional": Symbol("TE", "bidir"),
    "TQ1_offset": Symbol("T", "1,0"),
    "torque_delay": Symbol("Δt", "TQ2"),
    "torque_zero_drift": Symbol("ΔT", "2,0"),
}


def symbol(quantity: str) -> Symbol:
    """Split ``LM_mid`` into base and subscript; Greek letters by name; a name of words stays as it is."""
    if quantity in _SYMBOLS:
        return _SYMBOLS[quantity]
    base, _, sub = quantity.partition("_")
    base = _GREEK.get(base, base)
    return Symbol(base, sub.replace("_", ",")) if len(base) <= 4 else Symbol(quantity.replace("_", " "), "")


def quantity_name(quantity: str) -> Text | None:
    """What a quantity is called: ``A_200`` and ``LM_mid(3 %)`` are found by their stem. None when unknown."""
    stem = re.sub(r"\(.*\)$", "", quantity)
    return QUANTITIES.get(stem) or QUANTITIES.get(re.sub(r"_[\d.]+$", "", stem))


#: Conditions: key → label and display unit ("" as it stands, "T_N" a fraction of the rated torque).
_CONDITIONS = {
    "load": (Text("负载", "load"), "T_N"),
    "direction": (Text("方向", "direction"), "direction"),
    "side": (Text("侧", "side"), "side"),
    "order": (Text("阶次", "order"), ""),
    "repeat": (Text("重复", "repeat"), ""),
    "position": (Text("位置", "position"), ""),
    "band": (Text("温度段", "temperature band"), ""),
    "speed": (Text("转速", "speed"), "r/min"),
    "input_speed": (Text("输入转速", "input speed"), "r/min"),
    "output_speed": (Text("输出转速", "output speed"), "r/min"),
    "rate": (Text("加载速率", "loading rate"), "N·m/s"),
    "torque": (Text("转矩", "torque"), "N·m"),
    "p": (Text("转矩点 p", "torque point p"), "%"),
    "base_speed": (Text("基准转速", "base speed"), "r/min"),
    "step": (Text("阶跃", "step"), "r/min"),
    "position_step": (Text("位置阶跃", "position step"), "°"),
    "profile": (Text("指令时间", "duration of the command"), "ms"),
    "positioning_band": (Text("定位带 ±ε", "positioning band ±ε"), "°"),
    "signal": (Text("信号", "signal"), "words"),
    "definition": (Text("定义", "definition"), ""),
    "method": (Text("方式", "method"), "words"),
    "how": (Text("来源", "how"), "words"),
    "statistic": (Text("统计", "statistic"), "statistic"),
    "temperature": (Text("温度", "temperature"), "°C"),
    "housing_temperature": (Text("壳体", "housing"), "°C"),
}
_DIRECTIONS = {
    1: Text("正向 (+)", "forward (+)"),
    -1: Text("反向 (−)", "reverse (−)"),
    0: Text("双向", "both directions"),
}
_SIDES = {"+": Text("正转矩侧", "positive torque"), "-": Text("负转矩侧", "negative torque")}
_WORDS = {
    "dynamic": Text("动态", "dynamic"),
    "static": Text("静态", "static"),
    "from the friction law": Text("由摩擦规律得出", "from the friction law"),
    "small": Text("小信号", "small signal"),
    "large": Text("大信号（转矩达到限值）", "large signal (torque limited)"),
}
#: Conditions that only sort.
UNSAID = frozenset({"rank"})
_EXTREME = re.compile(r"(max|min) of (\d+) positions")
_EXTREMES = {"max": Text("最大值", "largest"), "min": Text("最小值", "smallest")}


def conditions(found: Mapping[str, str | float | int | bool]) -> list[Text]:
    """Conditions of a result in words; ``from`` and ``to`` are one torque range, and what only sorts is not said."""
    if "from" in found and "to" in found:
        low, high = (plain(float(found[key]), "N·m") for key in ("from", "to"))
        span = f"{low} … {high} {unit_symbol('N·m')}"
        rest = {key: value for key, value in found.items() if key not in ("from", "to")}
        return [*conditions(rest), Text(f"区间 {span}", f"range {span}")]
    return [condition(key, value) for key, value in found.items() if key not in UNSAID]


def condition(key: str, value: str | float | int | bool) -> Text:
    """One condition in words, e.g. ``负载 50 % T_N`` / ``load 50 % T_N``; unknown keys as they stand."""
    words = key.replace("_", " ")
    label, how = _CONDITIONS.get(key, (Text(words, words), ""))
    if how == "direction" and value in _DIRECTIONS:
        return _DIRECTIONS[int(value)]
    if how == "side" and value in _SIDES:
        return _SIDES[str(value)]
    if how == "words" and value in _WORDS:
        return _WORDS[str(value)]
    if how == "statistic" and (match := _EXTREME.fullmatch(str(value))):
        which, count = _EXTREMES[match[1]], match[2]
        return Text(f"{count} 个位置的{which.zh}", f"{which.en} of {count} positions")
    if isinstance(value, bool):
        return Text(f"{label.zh}：{'是' if value else '否'}", f"{label.en}: {'yes' if value else 'no'}")
    shown = _shown(value, how)
    return Text(f"{label.zh} {shown}", f"{label.en} {shown}")


def _shown(value: str | float | int, how: str) -> str:
    if isinstance(value, str):
        return value
    if how == "T_N":
        return f"{typographic(f'{100 * value:.6g}')} % T_N"
    if how not in ("", "direction", "side", "words", "statistic"):
        return f"{plain(float(value), how, 3 if how == '°C' else 6)} {unit_symbol(how)}"
    return typographic(f"{value:.6g}" if isinstance(value, float) else str(value))


#: Sources of uncertainty as the protocols name them; a source that is not here is printed as it stands.
_SOURCES = {
    "bench drag": "台架阻力矩",
    "bias of max − min by noise": "噪声引起的峰峰值偏移",
    "creep within a loop (closure)": "循环内蠕变（闭合差）",
    "data reduction": "数据处理",
    "delay of the torque channel": "转矩通道延迟",
    "drift between the directions": "两方向间漂移",
    "drift while averaging (temperature, lubricant)": "平均期间漂移（温度、润滑）",
    "drift within a revolution (closure)": "一转内漂移（闭合差）",
    "fixture compliance C_f": "夹具柔度 C_f",
    "how flat the top is": "峰顶平坦程度",
    "how the response begins: at once or with an inertia": "响应起始形式：立即或带惯性",
    "instant of the command, within one sampling period": "指令时刻，在一个采样周期之内",
    "instant of the step, within one sampling period": "阶跃时刻，在一个采样周期之内",
    "mounting of EN2": "EN2 安装偏心",
    "noise and ripple of the mean": "均值的噪声与波动",
    "noise and ripple of the means": "均值的噪声与波动",
    "noise, second rate": "噪声（第二加载速率）",
    "noise in max − min": "峰峰值中的噪声",
    "noise of angle and torque": "角度与转矩噪声",
    "noise of angle and instants about the final line": "末段直线拟合的角度与时刻噪声",
    "noise of the angle": "角度噪声",
    "noise of the angles": "角度噪声",
    "noise of the mean response": "平均响应的噪声",
    "noise where the band is entered": "进入误差带处的噪声",
    "noise where the response begins": "响应起始处的噪声",
    "noise of the angles in max − min": "峰峰值中的角度噪声",
    "widening of max − min by the error of EN2": "EN2 误差引起的峰峰值增大",
    "opening of the loops at their ends": "循环端点张开量",
    "repeatability between runs": "试验间重复性",
    "repeats": "重复测量",
    "repeats, beyond that noise": "重复测量（超出该噪声的部分）",
    "repeatability between loops": "循环间重复性",
    "repeatability": "重复性",
    "residuals of the law": "拟合残差",
    "sampling period": "采样周期",
    "sampling period, other end": "采样周期（另一端）",
    "sync skew": "同步偏差",
    "taken back to the nominal speed (slope of the law)": "换算到名义转速",
    "top between two samples": "两采样点之间的峰值",
    "torque zero, drift during the run": "试验期间转矩零点漂移",
}
_CHANNEL_SOURCE = re.compile(r"(\w+): (certificate|resolution)\b(.*)")
_PARTS = {", absolute part": "，绝对项", ", relative part": "，相对项"}


def source(name: str) -> Text:
    """A source of uncertainty in both languages."""
    if match := _CHANNEL_SOURCE.fullmatch(name):
        channel, what, rest = match.groups()
        label = CHANNELS.get(channel, Text(channel, channel.replace("_", " ")))
        certificate = next(
            (rest.removesuffix(part) + words for part, words in _PARTS.items() if rest.endswith(part)), rest
        )
        zh = f"{label.zh}：{'证书' if what == 'certificate' else '分辨力'}{certificate}"
        return Text(zh, f"{label.en[:1].lower()}{label.en[1:]}: {what}{rest}")
    stem = max((known for known in _SOURCES if name.startswith(known)), key=len, default=None)
    return Text(name if stem is None else _SOURCES[stem], name)


#: Series of charts.
_SERIES = {
    "forward": Text("正向", "forward"),
    "reverse": Text("反向", "reverse"),
    "cw": Text("顺时针", "CW"),
    "ccw": Text("逆时针", "CCW"),
    "up": Text("加载（转矩增）", "torque rising"),
    "down": Text("卸载（转矩减）", "torque falling"),
    "midline": Text("中线", "midline"),
    "fit": Text("拟合", "fit"),
    "measured": Text("测得", "measured"),
    "φ_↑": Text("转矩增 φ↑", "torque rising φ↑"),
    "φ_↓": Text("转矩减 φ↓", "torque falling φ↓"),
    "φ_m": Text("中线 φm", "midline φm"),
    "T_C + T_v·ω": Text("拟合", "fit T_C + T_v·ω"),
    "K_1, K_2, K_3": Text("分段刚度", "stiffness sections"),
}


def series_name(name: str) -> Text:
    """What a series of a chart is called in its legend; unknown names as they stand."""
    return _SERIES.get(name) or QUANTITIES.get(name) or Text(name, name)
