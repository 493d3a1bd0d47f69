# SPDX-License-Identifier: Apache-2.0
"""The tree keeps its order: who may import whom, read from the sources, imports inside functions too."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from places import ROOT, TESTS

# From the top: a module imports what stands lower, or beside it where no circle comes of it.
LAYERS = """
    fv2v __main__
    cli
    jobs live pipelines training metrics
    reenactor export losses diagnostics
    engine checkpoints viz codec
    networks data motion
    geometry face presets
    io config devices extras batch progress
    fv2v_kernels
"""
LAYER = {room: height for height, line in enumerate(LAYERS.splitlines()) for room in line.split()}


def imports(file: Path) -> Iterator[str]:
    """`a.b` of `import a.b`, `a.b` of `from a import b`; what type checkers alone read is left out."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    blocks = [
        node for node in nodes if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    unread = {each for block in blocks for each in ast.walk(block)}
    for node in nodes:
        if isinstance(node, ast.Import) and node not in unread:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node not in unread:
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read_graph() -> dict[str, set[str]]:
    """Each module of the product, and the modules of it that it imports."""
    files = {}
    for file in [*ROOT.glob("fv2v/**/*.py"), *ROOT.glob("fv2v_kernels/**/*.py")]:
        files[".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = file
    names = {module: set(imports(file)) - {"fv2v.__version__"} for module, file in files.items()}
    found = {
        module: {each if each in files else each.rpartition(".")[0] for each in named}
        for module, named in names.items()
    }
    return {module: named & (files.keys() - {module}) for module, named in found.items()}


GRAPH = read_graph()


def room(module: str) -> str:
    return module.removeprefix("fv2v.").split(".")[0]


def test_imports_point_down():
    up = [
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if LAYER[room(module)] > LAYER[room(other)]
    ]
    assert not up, "\n".join(sorted(up))


def test_there_is_no_circle_of_modules():
    TopologicalSorter(GRAPH).prepare()  # it raises a CycleError that names one


def test_there_is_no_circle_of_folders():
    rooms: dict[str, set[str]] = {}
    for module, others in GRAPH.items():
        rooms.setdefault(room(module), set()).update({room(other) for other in others} - {room(module)})
    TopologicalSorter(rooms).prepare()


def test_no_test_file_imports_another():
    files = list(TESTS.glob("**/test_*.py"))
    names = {file.stem for file in files}
    assert len(names) == len(files), "two test files of one name"
    assert not [(file.name, each) for file in files for each in imports(file) if names & set(each.split("."))]


def test_few_modules_stand_at_the_root():
    assert len(list(ROOT.glob("fv2v/*.py"))) <= 8
