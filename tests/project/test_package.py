# SPDX-License-Identifier: Apache-2.0
"""What people expect of a package: names that editors know, a version, a cheap import, `python -m`."""

import ast
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from places import ROOT
from tiny import TINY_LIVEPORTRAIT, TINY_VOX

import fv2v
import fv2v_kernels
from fv2v import checkpoints

FOLDER = Path(fv2v.__file__).parent
MODULES = {
    path.stem for path in FOLDER.iterdir() if path.suffix == ".py" or (path.is_dir() and path.stem.isalpha())
}

WATCH = """
import os, sys
written = []
def watch(event, arguments):
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        written.append(arguments[0])
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.fork", "subprocess.Popen"):
        written.append((event, arguments))
sys.addaudithook(watch)
def threads():
    return len(os.listdir("/proc/self/task"))
def refuse(*arguments, **options):
    raise AssertionError("CUDA was asked for something")
"""


def run(code: str, **environment: str) -> str:
    """What a process prints that runs `code` and writes no bytecode."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_editors_see_the_names_that_exist():
    """The table and the imports of the TYPE_CHECKING block name the same things in the same modules."""
    tree = ast.parse((FOLDER / "__init__.py").read_text())
    (block,) = (
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    shown = {alias.asname: node.module for node in imports for alias in node.names}
    assert shown == fv2v._MODULES
    assert list(fv2v._MODULES) == sorted(fv2v._MODULES)
    assert all(alias.name == alias.asname for node in imports for alias in node.names)
    assert fv2v.__all__ == [*fv2v._MODULES]
    assert all(getattr(fv2v, name) is not None for name in fv2v.__all__)


def test_no_module_hides_a_public_name():
    """Importing a submodule `fv2v.render` would replace the function `fv2v.render`."""
    assert not MODULES & {*fv2v.__all__}


def test_the_map_of_rooms_is_complete():
    assert fv2v.__doc__ is not None
    rooms = fv2v.__doc__.split("\n\n")[2].splitlines()
    named = {name.strip() for room in rooms for name in room.strip().partition("  ")[0].split(",")}
    assert {"__init__", "__main__"} <= MODULES
    assert MODULES - {"__init__", "__main__"} <= named


@pytest.mark.parametrize("package", [fv2v, fv2v_kernels], ids=lambda package: package.__name__)
def test_tells_its_version_and_that_it_is_typed(package):
    try:
        expected = installed_version("fv2v")
    except PackageNotFoundError:
        expected = "0+unknown"
    assert package.__version__ == expected
    assert (Path(package.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


def test_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "fv2v", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "reenact" in done.stdout


def test_importing_fv2v_imports_no_torch_and_writes_nothing():
    code = (
        'import fv2v; assert threads() == 1; print(written, "torch" in sys.modules, "numpy" in sys.modules)'
    )
    assert run(WATCH + code).split("\n")[0] == "[] False False"


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_importing_the_reenactor_touches_no_gpu_starts_no_thread_and_writes_nothing():
    code = """
import av, cv2, numpy, torch  # which start threads of their own
before = threads()
written.clear()
for name in ("is_available", "device_count", "init", "current_device", "get_device_properties"):
    setattr(torch.cuda, name, refuse)
torch._C._cuda_init = refuse
import fv2v, fv2v_kernels, fv2v.reenactor
print(threads() - before, written, torch.cuda.is_initialized())
print(fv2v_kernels.available("warp3d", "cpu")[-1])
"""
    assert run(WATCH + code).splitlines() == ["0 [] False", "reference"]


@pytest.mark.parametrize("config", [TINY_VOX, TINY_LIVEPORTRAIT], ids=lambda config: config.name)
def test_a_reenactor_is_made_without_the_compiler_of_pytorch(tmp_path, config):
    """Its imports take longer than reading a small model."""
    checkpoints.save(checkpoints.random(config), tmp_path / "weights.safetensors")
    code = f"""
import sys
from fv2v import Reenactor
Reenactor(weights={str(tmp_path / "weights.safetensors")!r})
print([each for each in ("sympy", "torch._dynamo", "torch._inductor") if each in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_the_page_for_contributors_names_what_exists():
    page = (ROOT / ".github/CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:fv2v|fv2v_kernels|csrc|tests|benches)/[\w/.]*)`", page)
    assert len(named) > 20
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []
