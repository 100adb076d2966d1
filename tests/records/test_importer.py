"""Data measured elsewhere: right numbers in, one clear line for everything doubtful."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.device import Quality
from verification_platform.records.errors import RecordingError
from verification_platform.records.exporter import export_csv, export_recording
from verification_platform.records.importer import import_files
from verification_platform.records.reader import open_recording
from verification_platform.records.seal import verify_seal

ROOT = Path(__file__).parents[2]
BEARING = ROOT.parent / "shared/data/bearing"

RATE = '[time]\nrate = "1 kHz"\n[channel.output_torque]\ncolumn = "M"\nunit = "mN·m"\n'
TIME = '[time]\ncolumn = "t"\nunit = "ms"\n[channel.output_torque]\ncolumn = "M"\nunit = "N·m"\n'


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Import `text` through `mapping` and open the result."""

    def _run(text: str | bytes, mapping: str, name: str = "data.csv") -> Any:
        data = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        (tmp_path / "map.toml").write_text(mapping, encoding="utf-8")
        return open_recording(import_files([tmp_path / name], tmp_path / "map.toml", tmp_path / "out"))

    return _run


def column(recording: Any, name: str = "output_torque") -> list[float]:
    return [float(x) for segment in recording.segments() for x in segment.read(name).values[:, 0]]


def test_units_rate_and_source_are_kept(run: Callable[..., Any], tmp_path: Path) -> None:
    recording = run("M\n1\n2.5\n-3e1\n", RATE)
    assert column(recording) == [0.001, 0.0025, -0.03]
    (segment,) = recording.segments()
    assert segment.tag == {"file": "data.csv"}
    assert np.array_equal(segment.read("output_torque").stamps_s, [0.0, 0.001, 0.002])
    record = recording.channels["output_torque"]
    assert (record.unit, record.rate_hz) == ("N·m", 1000.0)
    source = recording.attributes["imported"]["files"][0]
    assert source["sha256"] == hashlib.sha256((tmp_path / "data.csv").read_bytes()).hexdigest()
    assert source["rows"] == 3
    assert recording.integrity().complete
    assert verify_seal(tmp_path / "out").ok


def test_every_number_is_read_to_the_last_bit(run: Callable[..., Any]) -> None:
    rng = np.random.default_rng(7)
    numbers = np.concatenate(
        (rng.normal(size=5000) * 10.0 ** rng.integers(-300, 300, 5000), [5e-324, 1.7e308, 0.1, -0.0])
    )
    text = "M\n" + "\n".join(map(repr, numbers.tolist())) + "\n"
    assert np.array(column(run(text, RATE.replace("mN·m", "N·m")))).tobytes() == numbers.tobytes()


def test_gzip_and_pieces(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes at the borders of the pieces in which a file is read."""
    monkeypatch.setattr("verification_platform.records.csvtext.PIECE_BYTES", 37)
    numbers = [k * 0.25 for k in range(500)]
    text = "t,M\n" + "".join(f"{k},{x}\n" for k, x in enumerate(numbers))
    recording = run(text.rstrip("\n"), TIME, "data.csv.gz")
    assert column(recording) == numbers
    assert recording.channels["output_torque"].rate_hz == pytest.approx(1000.0, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (
            "# from a logger\nrun 7\nt;M\nms;Nm\n0;1,5\n1;-2,5e-1\n",
            'delimiter=";"\ndecimal=","\nskip_lines=2\nskip_after_header=1',
        ),
        ("\ufefft,M\r\n0,1.5\r\n1,-0.25\r\n", ""),
        ('"t","M"\n"0","1.5"\n"1","-0.25"\n', ""),
        ("t\tM\n0\t1.5\n1\t-0.25\n\n", 'delimiter="\\t"'),
        ("note,t,M\nstart,0,1.5\n,1,-0.25\n", ""),
        ("t , M\n 0 , 1.5 \n 1, -0.25\n", ""),
        ("t,M\n0,+1.5\n1,-.25", ""),
    ],
    ids=[
        "decimal comma",
        "Windows",
        "quoted",
        "tabs and blank line",
        "text column",
        "spaces",
        "no last newline",
    ],
)
def test_spellings(run: Callable[..., Any], text: str, options: str) -> None:
    assert column(run(text, f"[file]\n{options}\n{TIME}")) == [1.5, -0.25]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16"])
def test_encodings(run: Callable[..., Any], encoding: str) -> None:
    text = "时间,转矩\n0,1.5\n1,-0.25\n".encode(encoding)
    mapping = TIME.replace('"t"', '"时间"').replace('"M"', '"转矩"')
    assert column(run(text, f'[file]\nencoding = "{encoding}"\n{mapping}')) == [1.5, -0.25]


def test_columns_by_number(run: Callable[..., Any]) -> None:
    mapping = TIME.replace('"t"', "1").replace('"M"', "3")
    assert column(run("0,9,1.5\n1,9,2\n", f"[file]\nheader = false\n{mapping}")) == [1.5, 2.0]


def test_calibration_and_fixture(run: Callable[..., Any]) -> None:
    mapping = (
        '[time]\nrate = "10 Hz"\n[fixture]\ndrag_U = "2 mN·m"\n'
        '[channel.housing_temperature]\ncolumn = "T"\nunit = "°C"\nsensor = "Pt100 7"\nresolution = "0.1 °C"\n'
        'calibration = { certificate = "C-1", laboratory = "L", date = 2026-01-02, due = 2027-01-02, U = "0.3 °C", k = 2 }\n'
        '[channel.output_torque]\ncolumn = "M"\nunit = "N·m"\nrange = "200 N·m"\n'
        'calibration = { certificate = "C-2", laboratory = "L", date = 2026-01-02, due = 2027-01-02, U = "50 mN·m", '
        'U_relative = "0.1 %" }\n'
    )
    recording = run("T,M\n25,1\n26,2\n", mapping)
    temperature, torque = recording.channels.values()
    assert (temperature.unit, torque.unit) == ("K", "N·m")
    assert (temperature.U, temperature.resolution) == pytest.approx((0.3, 0.1), abs=1e-12), (
        "a width has no offset"
    )
    assert (torque.U, torque.U_relative, torque.range, torque.certificate) == (0.05, 0.001, 200.0, "C-2")
    assert torque.due is not None
    assert torque.due.isoformat() == "2027-01-02"
    assert recording.fixture.drag_U == 0.002
    assert column(recording, "housing_temperature") == [298.15, 299.15]


@pytest.mark.parametrize(
    ("text", "mapping", "line"),
    [
        ("M\n1\n", RATE.replace("mN·m", "parsec"), r"map.toml: channel.output_torque: unknown unit 'parsec'; known are rad"),
        ("M\n1\n", RATE.replace("mN·m", "mm"), r"channel output_torque: unit mm measures m, expected a unit of N·m"),
        ("M\n1\n", RATE.replace("1 kHz", "1 ms"), r"time.rate: '1 ms' is in ms, expected a quantity in Hz"),
        ("M\n1\n", RATE.replace("rate", "fate"), r"map.toml: time: unknown entry 'fate'"),
        ("M\n1\n", RATE.replace('rate = "1 kHz"', ""), r"map.toml: time: give rate"),
        ("M\n1\n", TIME.replace("ms", "mm"), r"unit 'mm' is no unit of time"),
        ("M\n1\n", RATE + "= 1", r"not a valid TOML file"),
        ("M\n1\n", '[file]\ndecimal = ","\n' + RATE, r"delimiter and decimal are both ','"),
        ("M\n1\n", '[file]\nencoding = "klingon"\n' + RATE, r"unknown encoding 'klingon'"),
        ("M\n1\n", '[file]\nheader = false\n' + RATE, r"without a header line, columns are numbers"),
        ("M\n1\n", "[fixture]\ndrag = 1\n" + RATE, r"unknown entry 'drag'"),
        ("M\n1\n", '[[segment]]\nfile = "other*"\n' + RATE, r"no \[\[segment\]\] of the mapping names this file"),
        ("M\n1\n", "[[segment]]\nrows = [3, 2]\n" + RATE, r"is no interval"),
        ("M\n1\n", "[[segment]]\nrows = [0, 9]\n" + RATE, r"asks for rows 0 to 9, the file has 1"),
        ("torque,t\n1,2\n", RATE, r"data.csv: has no column 'M'; columns are 'torque', 't'"),
        ("M,M\n1,2\n", RATE, r"has two columns 'M'"),
        ("a\n1\n", RATE.replace('"M"', "4"), r"has no column 4; numbers go from 1 to 1"),
        ("M\n1\n2\nabc\n", RATE, r"data.csv, line 4, column 'M': value 'abc' is no finite number"),
        ("t,M\n0,1\n1,\n2,3\n", TIME, r"data.csv, line 3, column 'M': the value is missing; .* on_missing"),
        ("t,M\n0,1\n1,NaN\n", TIME, r"data.csv, line 3, column 'M': .*on_missing"),
        ("t,M\n0,1\n1,nan\n2,-inf\n", '[file]\non_missing = "flag"\n' + TIME, r"line 4, column 'M': value '-inf'"),
        ("t,M\n0,1\n1,2,3\n", TIME, r"line 3: has 3 cells, expected 2"),
        ("t,M\n0,1\n1\n", TIME, r"line 3: has 1 cells, expected 2"),
        ("t;M\n0;1,5\n1;2.5\n", '[file]\ndelimiter = ";"\ndecimal = ","\n' + TIME, r"line 3, column 'M': value '2.5'"),
        ("t,M\n0,1\n1,1\n2,1\n7,1\n8,1\n", TIME, r"data.csv, line 5: gap of 0.005 s \(period 0.001 s\); .* on_gap"),
        ("t,M\n0,1\n1,1\n2,1\n2,1\n", TIME, r"data.csv, line 5: time does not rise \(step 0 s\)"),
        ("t,M\n0,1\n1,1\n2,1\n1,1\n", TIME, r"data.csv, line 5: time does not rise \(step -0.001 s\)"),
        ("t,M\n0,1\n1,1\n,1\n", TIME, r"data.csv, line 4, column 't': the value is missing"),
        ("t,M\n,1\n1,1\n", '[file]\non_missing = "flag"\n' + TIME, r"line 2: the time is missing"),
        ("t,M\n5,1\n", TIME, r"time does not rise, so there is no sampling rate"),
        ("t,M\n0,1\n1,1\n2,1\n3,1\n", TIME.replace("[time]", '[time]\nrate = "1 Hz"'), r"every 0.001 s, expected 1 s"),
        ("M\n", RATE, r"data.csv: holds no data lines"),
        ("", RATE, r"data.csv: ends in line 1, before any data"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(
    run: Callable[..., Any], tmp_path: Path, text: str, mapping: str, line: str
) -> None:
    with pytest.raises(RecordingError, match=line) as caught:
        run(text, mapping)
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").glob("*")] == [] or not (tmp_path / "out").exists(), (
        "nothing half done"
    )


def test_wrong_files(run: Callable[..., Any], tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(RATE, encoding="utf-8")
    for name, what in (("data.tdms", "cannot import this format"), ("none.csv", "cannot be read")):
        with pytest.raises(RecordingError, match=what):
            import_files([tmp_path / name], mapping, tmp_path / "out")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"M\n" + b"1\n" * 9999)[:-20])
    with pytest.raises(RecordingError, match=r"cut.csv.gz: cannot be read \(Compressed file ended"):
        import_files([tmp_path / "cut.csv.gz"], mapping, tmp_path / "out")
    (tmp_path / "not.csv.gz").write_bytes(b"M\n1\n")
    with pytest.raises(RecordingError, match=r"not.csv.gz: cannot be read \(Not a gzipped file"):
        import_files([tmp_path / "not.csv.gz"], mapping, tmp_path / "out")
    with pytest.raises(RecordingError, match=r"nowhere.toml: cannot be read"):
        import_files([tmp_path / "cut.csv.gz"], tmp_path / "nowhere.toml", tmp_path / "out")
    with pytest.raises(RecordingError, match="no file"):
        import_files([], mapping, tmp_path / "out")
    run("M\n1\n", RATE)
    with pytest.raises(RecordingError, match="already holds a recording"):
        import_files([tmp_path / "data.csv"], mapping, tmp_path / "out")


def test_a_gap_may_split_the_recording(run: Callable[..., Any]) -> None:
    text = "t,M\n" + "".join(f"{t},{t}\n" for t in (*range(100), *range(150, 200)))
    recording = run(text, '[file]\non_gap = "split"\n' + TIME)
    assert [(dict(s.tag), s.rows["imported"]) for s in recording.segments()] == [
        ({"file": "data.csv", "part": 0}, (0, 100)),
        ({"file": "data.csv", "part": 1}, (100, 150)),
    ]
    gap = recording.attributes["imported"]["files"][0]["gaps"][0]
    assert (gap["line"], gap["row"], gap["length_s"]) == (102, 100, pytest.approx(0.051))


def test_a_missing_value_may_be_flagged(run: Callable[..., Any]) -> None:
    recording = run("t,M\n0,1\n1,\n2,3\n3,NA\n", '[file]\non_missing = "flag"\n' + TIME)
    (segment,) = recording.segments()
    samples = segment.read("output_torque")
    assert samples.quality[:, 0].tolist() == [Quality.GOOD, Quality.BAD, Quality.GOOD, Quality.BAD]
    assert np.isnan(samples.values[1, 0]), "not measured is never a number"
    assert recording.integrity().not_good == {"output_torque": 2}


def test_segments_by_time_rows_and_column(run: Callable[..., Any]) -> None:
    text = "t,M,dir\n" + "".join(f"{t + 500},{t},{1 if t < 60 else -1}\n" for t in range(100))
    mapping = (
        TIME
        + '[tag.direction]\ncolumn = "dir"\n'
        + '[[segment]]\ntime = ["10 ms", "90 ms"]\ntag = { load = 0.5 }\n[[segment]]\nrows = [0, 5]\n'
    )
    assert [(dict(s.tag), s.rows["imported"]) for s in run(text, mapping).segments()] == [
        ({"load": 0.5, "direction": 1}, (10, 60)),
        ({"load": 0.5, "direction": -1}, (60, 90)),
        ({"direction": 1}, (0, 5)),
    ]


def test_several_files_follow_each_other(tmp_path: Path) -> None:
    """Clocks that start again are shifted, and the shift is told."""
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("M\n1\n2\n")
    (tmp_path / "map.toml").write_text(RATE, encoding="utf-8")
    recording = open_recording(
        import_files([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "map.toml", tmp_path / "out")
    )
    a, b = recording.segments()
    assert (a.tag, b.tag) == ({"file": "a.csv"}, {"file": "b.csv"})
    assert b.read("output_torque").stamps_s[0] > a.read("output_torque").stamps_s[-1]
    assert [f["shifted_s"] for f in recording.attributes["imported"]["files"]] == [0.0, pytest.approx(1.001)]
    assert recording.integrity().complete


def test_export_and_import_keep_every_bit(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(
        tmp_path / "run/samples",
        [300, 700],
        [200],
        [{"direction": 1, "load": 0.1}, {"direction": -1, "load": 0.1}],
    )
    written = {path.name for path in export_csv(tmp_path / "run", tmp_path / "csv")}
    assert written == {
        "segments.csv", "samples-can0.csv", "samples-rs485.csv", "mapping-can0.toml", "mapping-rs485.toml",
    }  # fmt: skip
    head, first, *_ = (tmp_path / "csv/samples-can0.csv").read_text(encoding="utf-8").splitlines()
    assert head == "stamp [s],input_angle [rad],output_angle [rad]"
    assert first.startswith("0.0,0.0,841.4709848078965")
    before = open_recording(tmp_path / "run")
    for group in ("can0", "rs485"):
        out = import_files(
            [tmp_path / f"csv/samples-{group}.csv"],
            tmp_path / f"csv/mapping-{group}.toml",
            tmp_path / f"back-{group}",
        )
        after = open_recording(out)
        assert after.attributes.items() >= before.attributes.items()
        for old, new in zip(before.segments(), after.segments(), strict=True):
            assert old.tag == new.tag
            x, y = old.read(*before.groups[group]), new.read(*before.groups[group])
            assert x.values.tobytes() == y.values.tobytes()
            assert x.stamps_s.tobytes() == y.stamps_s.tobytes()
        for name in before.groups[group]:
            old_record, new_record = before.channels[name], after.channels[name]
            assert (old_record.unit, old_record.rate_hz, old_record.range) == (
                new_record.unit,
                new_record.rate_hz,
                new_record.range,
            )
            assert old_record.due == new_record.due


def test_export_leaves_flagged_samples_empty(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    recorded(tmp_path / "samples", [1100], [10])
    export_csv(tmp_path, tmp_path / "csv")
    lines = (tmp_path / "csv/samples-can0.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1009] == f"{1008 / 500!r},,"
    back = import_files(
        [tmp_path / "csv/samples-can0.csv"], tmp_path / "csv/mapping-can0.toml", tmp_path / "back"
    )
    assert open_recording(back).integrity().not_good == {"input_angle": 1, "output_angle": 1}


def test_exported_attributes_may_be_nested(tmp_path: Path, recorded: Callable[..., Any]) -> None:
    attributes = {
        "accelerations": {"drive": 500.0, "load": None},
        "axes": ["drive", 'Lastmotor "B"'],
        "note": None,
    }
    recorded(tmp_path / "samples", [20], [10], attributes=attributes)
    export_csv(tmp_path, tmp_path / "csv")
    back = import_files(
        [tmp_path / "csv/samples-can0.csv"], tmp_path / "csv/mapping-can0.toml", tmp_path / "back"
    )
    kept = {"accelerations": {"drive": 500.0}, "axes": ["drive", 'Lastmotor "B"']}
    assert open_recording(back).attributes.items() >= kept.items()


def test_other_export_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="'parquet' cannot be written; there is csv"):
        export_recording(tmp_path, tmp_path / "out", "parquet")


@pytest.mark.skipif(not BEARING.exists(), reason="the bearing records are not beside the checkout")
def test_bearing_records(tmp_path: Path) -> None:
    files = sorted(BEARING.glob("*.csv.gz"))
    out = import_files(files, ROOT / "examples/mappings/bearing.toml", tmp_path / "out")
    recording = open_recording(out)
    assert [dict(s.tag) for s in recording.segments()] == [{"fault": "inner race"}, {"fault": "outer race"}]
    assert recording.channels["acceleration"].rate_hz == 48828.0
    for path, segment in zip(files, recording.segments(), strict=True):
        with gzip.open(path, "rt") as file:
            expected = np.array([float(line) for line in list(file)[1:]]) * 9.80665
        assert np.array_equal(segment.read("acceleration").values[:, 0], expected)
    assert recording.integrity().complete


def test_the_documented_mappings_are_valid() -> None:
    """Every mapping in the repository, and the ones printed in the guide, can be loaded."""
    import re
    import tomllib

    from verification_platform.records.mapping import Mapping, load_mapping

    for path in (ROOT / "examples/mappings").glob("*.toml"):
        load_mapping(path)
    guide = (ROOT / "docs/how-to/import-data.md").read_text(encoding="utf-8")
    printed = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    assert len(printed) >= 2
    for text in printed:
        Mapping.model_validate(tomllib.loads(text))
