"""Settings: environment over file over default, and mistakes are named."""

from pathlib import Path

import pytest

from jotunheim import settings
from jotunheim.exceptions.model import DataValidationError


def _fields(environ: dict[str, str]) -> list[str]:
    with pytest.raises(DataValidationError) as raised:
        settings.load(environ)
    return [problem.field for problem in raised.value.problems]


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "jotunheim.toml"
    file.write_text(f'state_dir = "{tmp_path}"\nlisten = "127.0.0.1:1"\nworker_concurrency = 2\n')
    loaded = settings.load({"JOTUNHEIM_CONFIG": str(file), "JOTUNHEIM_LISTEN": "[::1]:2"})
    assert (loaded.state_dir, loaded.listen, loaded.worker_concurrency) == (tmp_path, "[::1]:2", 2)
    assert loaded.database == f"sqlite:///{tmp_path}/jotunheim.db"
    assert loaded.queue == f"sqlite:///{tmp_path}/queue.db"


def test_mistakes_are_all_named_and_values_are_not_repeated() -> None:
    environ = {
        "JOTUNHEIM_LISTEN": "nowhere",
        "JOTUNHEIM_SECRET_KYE": "hush",
        "JOTUNHEIM_WORKER_CONCURRENCY": "0",
    }
    assert sorted(_fields(environ)) == sorted(environ)
    with pytest.raises(DataValidationError) as raised:
        settings.load(environ)
    assert "hush" not in str(raised.value.problems)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert _fields({"JOTUNHEIM_CONFIG": str(tmp_path / "missing.toml")}) == ["JOTUNHEIM_CONFIG"]
    broken = tmp_path / "broken.toml"
    broken.write_text("listen = ")
    assert _fields({"JOTUNHEIM_CONFIG": str(broken)}) == ["JOTUNHEIM_CONFIG"]


def test_the_range_of_vmids_must_not_be_empty() -> None:
    assert _fields({"JOTUNHEIM_VMID_FIRST": "500", "JOTUNHEIM_VMID_LAST": "400"}) == ["JOTUNHEIM_VMID_LAST"]


def test_the_command_lines_own_variables_are_no_settings() -> None:
    settings.load(dict.fromkeys(settings.NOT_SETTINGS - {"JOTUNHEIM_CONFIG"}, "x"))


def test_a_secret_key_does_not_show_in_a_dump() -> None:
    loaded = settings.load({"JOTUNHEIM_SECRET_KEY": "hush"})
    assert "hush" not in repr(loaded)
    assert "hush" not in loaded.model_dump_json()


def test_relative_paths_do_not_depend_on_where_a_run_happens() -> None:
    assert settings.load({"JOTUNHEIM_STATE_DIR": "state"}).state_dir == Path.cwd() / "state"


def test_a_lost_workers_job_is_found_within_fifteen_seconds() -> None:
    defaults = settings.load({})
    assert defaults.lease_seconds + defaults.sweep_seconds <= 15
