"""Usage files: reading and mapping without a database, then the command on a real inbox."""

import gzip
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from costs.models import EventKey, InboxRow
from costs.usage_import import Body, UnusableFile, fingerprint, format_of, moment, plan, records

HEADER = ["time", "model", "prompt", "cost_type"]
inbox = pytest.mark.django_db(transaction=True, databases=["default", "inbox"])


def csv_bodies(text: str | bytes, mapped: list[str] | None = None, constants: list[str] | None = None) -> list[Body]:
    content = text if isinstance(text, bytes) else text.encode()
    header = content.split(b"\n", 1)[0].decode("utf-8-sig").strip().split(",")
    chosen = plan(kind="csv", header=header, mapped=mapped or [], constants=constants or [], stem="f00d")
    return list(chosen.bodies(records(io.BytesIO(content), "csv")))


def json_bodies(text: str | bytes, mapped: list[str] | None = None, **options: Any) -> list[Body]:
    content = text if isinstance(text, bytes) else text.encode()
    chosen = plan(kind="jsonl", header=[], mapped=mapped or [], constants=[], stem="f00d", **options)
    return list(chosen.bodies(records(io.BytesIO(content), "jsonl")))


def event(body: Body) -> dict[str, Any]:
    assert not body.error
    found: dict[str, Any] = json.loads(body.content, parse_float=Decimal)
    return found


class TestReading:
    def test_columns_named_like_fields_need_no_mapping_and_others_are_left_out(self) -> None:
        (body,) = csv_bodies("model,cost_type,amount,colour\ngpt-4o,openai_api,0.0125,red\n")

        assert event(body) == {
            "model": "gpt-4o",
            "cost_type": "openai_api",
            "amount": "0.0125",
            "event_id": "import-f00d-2",
        }

    def test_a_mapped_column_becomes_a_nested_number(self) -> None:
        (body,) = csv_bodies("n,hours\n1000,0.25\n", ["usage.input_tokens=n", "usage.cpu_core_hours=hours"])

        assert event(body)["usage"] == {"input_tokens": 1000, "cpu_core_hours": Decimal("0.25")}

    def test_a_constant_stands_in_every_event(self) -> None:
        bodies = csv_bodies("amount\n1\n2\n", constants=["cost_type=cdn", "metadata.batch=may"])

        assert [event(body)["cost_type"] for body in bodies] == ["cdn", "cdn"]
        assert event(bodies[0])["metadata"] == {"batch": "may"}

    def test_an_empty_value_is_an_absent_field(self) -> None:
        (body,) = csv_bodies("amount,post_id,cost_type\n1,,cdn\n")

        assert "post_id" not in event(body)

    def test_a_record_over_several_lines_bears_the_number_of_its_first(self) -> None:
        bodies = csv_bodies('amount,operation\n1,"two\nlines"\n2,one\n')

        assert [body.line for body in bodies] == [2, 4]

    def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(self) -> None:
        (body,) = csv_bodies(b"\xef\xbb\xbfamount,model\r\n1,gpt-4o\r\n")

        assert event(body)["amount"] == "1"
        assert event(body)["model"] == "gpt-4o"

    @pytest.mark.parametrize(
        ("line", "sentence"),
        [
            (b"1,2,3", "has 3 values, the header has 2 columns"),
            (b"1", "has 1 values, the header has 2 columns"),
            (b'1,"a"b', "is not valid CSV"),
            (b"1,\xff", "is not valid UTF-8"),
            (b"1," + b"x" * 2_000_000, "longer than 1 MB"),
        ],
        ids=["too many values", "too few values", "a stray quote", "another encoding", "an endless line"],
    )
    def test_a_bad_line_is_refused_with_a_sentence_and_the_next_one_is_read(self, line: bytes, sentence: str) -> None:
        bad, good = csv_bodies(b"amount,model\n" + line + b"\n2,gpt-4o\n")

        assert sentence in bad.error
        assert (bad.line, good.line) == (2, 3)
        assert event(good)["amount"] == "2"

    def test_text_where_a_count_belongs_is_refused(self) -> None:
        (body,) = csv_bodies("n\nmany\n", ["usage.input_tokens=n"])

        assert body.error == "usage.input_tokens: 'many' is no number"

    def test_json_lines_without_a_mapping_are_events_as_they_stand(self) -> None:
        line = {"cost_type": "cdn", "amount": 0.1, "event_id": "a", "surprise": 1}

        (body,) = json_bodies(json.dumps(line) + "\n\n")

        assert event(body) == line | {"amount": Decimal("0.1")}

    def test_a_mapping_reaches_into_nested_json_and_takes_whole_objects(self) -> None:
        line = {"response": {"usage": {"prompt_tokens": 7}, "model": "gpt-4o"}, "cost_type": "openai_api", "noise": 1}

        (body,) = json_bodies(json.dumps(line), ["usage=response.usage", "model=response.model"])

        assert event(body) == {
            "cost_type": "openai_api",
            "usage": {"prompt_tokens": 7},
            "model": "gpt-4o",
            "event_id": "import-f00d-1",
        }

    @pytest.mark.parametrize("line", [b"[1]", b"{", b'{"a": 1} {}', b'"\xff"', b'{"a": 1e999}'])
    def test_what_is_no_json_object_is_refused(self, line: bytes) -> None:
        (body,) = json_bodies(line)

        assert body.error.startswith("is no")

    @pytest.mark.parametrize(
        ("value", "time_format", "expected"),
        [
            ("1723560043", "unix", "2024-08-13T14:40:43+00:00"),
            ("1723560043.000001", "unix", "2024-08-13T14:40:43.000001+00:00"),
            (1723560043123, "unix_ms", "2024-08-13T14:40:43.123000+00:00"),
        ],
    )
    def test_unix_times_are_exact(self, value: Any, time_format: Any, expected: str) -> None:
        assert moment(value, time_format) == expected

    def test_a_time_beyond_the_calendar_is_refused(self) -> None:
        (body,) = json_bodies('{"timestamp": 1e30}', time_format="unix")

        assert "out of range" in body.error


class TestPlanning:
    @pytest.mark.parametrize(
        ("mapped", "constants", "sentence"),
        [
            (["model"], [], "must look like field=value"),
            (["price=model"], [], "is no field of an event"),
            (["model.name=model"], [], "is no field of an event"),
            (["usage.=model"], [], "is no field of an event"),
            (["model=engine"], [], "No column engine"),
            (["model=model"], ["model=gpt-4o"], "either mapped or set"),
            (["model=model", "model=time"], [], "given twice"),
        ],
    )
    def test_a_mapping_that_cannot_work_is_refused_at_once(
        self, mapped: list[str], constants: list[str], sentence: str
    ) -> None:
        with pytest.raises(UnusableFile, match=sentence):
            plan(kind="csv", header=HEADER, mapped=mapped, constants=constants, stem="f00d")

    def test_a_constant_wins_over_a_column_of_the_same_name(self) -> None:
        (body,) = csv_bodies("amount,cost_type\n1,cdn\n", constants=["cost_type=storage"])

        assert event(body)["cost_type"] == "storage"

    @pytest.mark.parametrize("name", ["usage.txt", "usage", "usage.gz"])
    def test_an_unknown_kind_of_file_is_refused(self, name: str) -> None:
        with pytest.raises(UnusableFile, match="must end in"):
            format_of(Path(name))

    def test_a_file_has_the_same_fingerprint_packed_and_unpacked(self, tmp_path: Path) -> None:
        plain, packed = tmp_path / "a.csv", tmp_path / "a.csv.gz"
        plain.write_bytes(b"amount\n1\n")
        packed.write_bytes(gzip.compress(b"amount\n1\n"))

        assert fingerprint(plain) == fingerprint(packed)

    def test_a_torn_archive_is_refused_before_anything_is_read_of_it(self, tmp_path: Path) -> None:
        torn = tmp_path / "a.csv.gz"
        torn.write_bytes(gzip.compress(b"amount\n" + b"1\n" * 10_000)[:-20])

        with pytest.raises(UnusableFile, match="cannot be read"):
            fingerprint(torn)


def usage_file(folder: Path, rows: int, name: str = "usage.csv") -> Path:
    path = folder / name
    lines = (f"{1_577_836_800 + row},post_{row % 7},{100 + row}\n" for row in range(rows))
    path.write_text("at,post_id,n\n" + "".join(lines))
    return path


def run_import(path: Path, *options: str) -> None:
    mapping = ["--time-format", "unix", "--map", "timestamp=at", "--map", "usage.input_tokens=n"]
    constants = ["--set", "cost_type=openai_api", "--set", "model=gpt-4o"]
    call_command("import_usage", str(path), *mapping, *constants, *options)


class TestTheCommand:
    @inbox
    def test_history_older_than_the_window_is_accepted(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run_import(usage_file(tmp_path, rows=1_001))

        assert "1,001 accepted" in capsys.readouterr().out
        assert EventKey.objects.filter(source="default").count() == 1_001

    @inbox
    def test_a_second_run_adds_nothing_and_a_packed_copy_is_the_same_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = usage_file(tmp_path, rows=50)
        packed = tmp_path / "copy.csv.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))

        run_import(path)
        run_import(packed)

        assert "50 duplicate" in capsys.readouterr().out
        assert EventKey.objects.count() == 50

    @inbox
    def test_a_longer_copy_with_its_own_ids_adds_only_what_is_new(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "usage.csv"
        header, rows = "event_id,cost_type,amount", [f"id-{number},cdn,0.5" for number in range(5)]

        path.write_text("\n".join([header, *rows[:3]]))
        call_command("import_usage", str(path))
        path.write_text("\n".join([header, *rows]))
        call_command("import_usage", str(path))

        assert "2 accepted, 3 duplicate" in capsys.readouterr().out

    @inbox
    def test_sources_do_not_share_ids(self, tmp_path: Path) -> None:
        path = usage_file(tmp_path, rows=3)

        run_import(path, "--source", "one")
        run_import(path, "--source", "two")

        assert EventKey.objects.count() == 6

    @inbox
    def test_a_dry_run_judges_every_line_and_writes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = usage_file(tmp_path, rows=2)
        path.write_text(path.read_text() + "1577836800,post_9,-\n9999999999,post_9,1\n")

        with pytest.raises(CommandError, match="2 of 4 lines"):
            run_import(path, "--dry-run")

        said = capsys.readouterr()
        assert "2 would be accepted, 2 would be rejected" in said.out
        assert "line 4: usage.input_tokens: '-' is no number" in said.err
        assert "line 5: timestamp: lies more than 10 minutes in the future" in said.err
        assert not EventKey.objects.exists()
        assert not InboxRow.objects.exists()

    @inbox
    def test_bad_lines_do_not_stop_the_good_ones_and_twenty_are_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "usage.jsonl"
        good, bad = '{"cost_type": "cdn", "amount": "0.5"}', '{"cost_type": "cdn", "amount": "-1"}'
        path.write_text("\n".join([good, *[bad] * 25, good]))

        with pytest.raises(CommandError, match="25 of 27 lines") as raised:
            call_command("import_usage", str(path))

        said = capsys.readouterr()
        assert raised.value.returncode == 1
        assert "line 2: amount: must not be negative" in said.err
        assert said.err.count("must not be negative") == 20
        assert "and 5 more" in said.err
        assert "2 accepted, 25 rejected" in said.out

    @inbox
    def test_a_changed_line_under_a_known_id_is_a_conflict_and_the_first_stands(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "usage.jsonl"
        path.write_text('{"event_id": "a", "cost_type": "cdn", "amount": 1}')
        call_command("import_usage", str(path))
        path.write_text('{"event_id": "a", "cost_type": "cdn", "amount": 2}')

        with pytest.raises(CommandError, match="1 of 1 lines"):
            call_command("import_usage", str(path))

        assert "1 conflict" in capsys.readouterr().out

    def test_a_missing_file_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("import_usage", str(tmp_path / "absent.csv"))
