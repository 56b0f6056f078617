"""Nothing is loaded that could run code, sent beyond this computer, or left behind."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import watched

SOURCE = Path(__file__).resolve().parents[1] / "src" / "napari_recurrent_mz"
RUNS_CODE = {"eval", "exec", "pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
SPEAKS = {"urllib", "http", "requests", "ftplib", "smtplib", "huggingface_hub", "pooch"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize(
    ("name", "options"),
    [("reconstruct", {}), ("evaluate", {"is_missing": True}), ("reconstruct zarr", {"after_s": 1})],
)
def test_a_command_leaves_nothing_behind(tmp_path: Path, name: str, options: dict) -> None:
    """Also without its input, and after Ctrl-C; ``python tests/watched.py`` tries all."""
    status, noted = watched.watched(name, tmp_path, **options)
    assert not noted
    assert (status == 0) == (not options) or "after_s" in options


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_module_can_run_code_from_a_file(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [getattr(node, "module", None) or ""] + [alias.name for alias in node.names]
            assert not {name.split(".")[0] for name in named} & (RUNS_CODE | SPEAKS)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in (*RUNS_CODE, "torch.load")
            assert not any(word.arg == "allow_pickle" for word in node.keywords)
