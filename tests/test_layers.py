"""The order of the packages, what each may import of another, and what may be imported at a module's top."""

import ast
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fansr

ROOT = Path(fansr.__file__).parent
# A package imports only packages named before it; modules at the top of fansr (fit, fit_table, fit_stream, regressor, warm) may import all.
ORDER = [
    "streams", "expressions", "cli", "simplification", "corpus", "fitting", "network", "proposers", "search", "tables",
    "evaluation", "distillation", "scaling",
]  # fmt: skip
FOR_ALL = {"fansr.version", "fansr.errors"}  # know nothing themselves
# What trains or runs elsewhere than on a CPU; the rest, sampling on a CPU with it, works where torch is not loaded.
TORCH = {
    "corpus.render_torch",
    "distill",
    "distill_switching",
    *(f"distillation.{name}" for name in ("block", "block_rows", "input_columns", "judging", "law_layer", "law_values", "local", "places", "pruning", "record_cache", "recording",
      "reservoir", "saliency", "shrunk_norm", "stand_in", "tuning")),
    *(f"network.{name}" for name in
      ("architecture", "batches", "checkpoints", "device", "in_order", "layout", "network_parts", "optimizers", "torch_inference",
       "table_encoder", "training_loop", "training_run")),
}  # fmt: skip
# Commands that look at streams must start fast: none of these at their top, nor at the top of what they import.
HEAVY = {"torch", "numba", "scipy", "pandas", "simplipy", "matplotlib", "sympy"}
LIGHT = [
    "cli.cat",
    "corpus.gen",
    "evaluation.score",
    "simplification.simplify",
    "corpus.decontam",
    "corpus.render",
    "network.train",
    "network.sample",
    "fit",
    "scaling.law",
]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or path.stem != "__init__"}


def package_of(name: str) -> str:
    """ "search" for "search.turns"; "" for a module at the top."""
    top = name.split(".")[0]
    return top if (ROOT / top).is_dir() else ""


def imports(path: Path, top_only: bool = False):
    """(module, name or None) of every import: everywhere in a file, or only of those made when it is loaded."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.suffix == ".pyi", f"{path}: a relative import"
            yield from ((node.module, alias.name) for alias in node.names)


def public(package: str) -> dict[str, str]:
    """Names that other packages may import, with the module each comes from: what the package's stub lists."""
    stub = ROOT / package / "__init__.pyi"
    names = {}
    for node in ast.parse(stub.read_text()).body if stub.exists() else []:
        for alias in node.names:
            inner = ".".join(part for part in (package, node.module, "" if node.module else alias.name) if part)
            names[alias.name] = f"{inner}.{alias.name}" if f"{inner}.{alias.name}" in MODULES else inner
    return names


def ours(path: Path, top_only: bool = False):
    """(module of fansr, name) of every import of our own, as "search.turns" or "search"."""
    for module, name in imports(path, top_only):
        if module == "fansr" and name in MODULES:
            yield name, None
        elif module.startswith("fansr."):
            yield module.removeprefix("fansr."), name


def test_every_package_has_its_place():
    assert {package_of(name) for name in MODULES} - {""} == set(ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way_and_through_public_names(name):
    mine = package_of(name)
    allowed = ORDER[: ORDER.index(mine) + 1] if mine else ORDER
    for module, imported in ours(MODULES[name]):
        other = package_of(module)
        if f"fansr.{module}" in FOR_ALL or (other and other == mine):
            continue
        assert other or not mine, f"{name} imports {module}, a module above all packages"
        assert not other or other in allowed, f"{name} imports {module}, which comes after it"
        if other:
            wanted = f"fansr.{other}, whose __init__.pyi lists its public names"
            assert module == other and imported in public(other), (
                f"{name} imports {imported} of {module}; wanted: of {wanted}"
            )


@pytest.mark.parametrize("path", sorted(ROOT.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_what_a_package_says_of_its_files_is_so(path):
    """Every file named in a package's docstring is there, and so is every folder."""
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert text, "an __init__ is a docstring first"
    for name in re.findall(r"\b[\w/]+\.py\b|\b\w+/(?!\w)", text):
        assert (path.parent / name).exists(), f"{name} is not in {path.parent}"


def test_contributing_lists_the_packages_in_their_order():
    text = (ROOT.parent / "CONTRIBUTING.md").read_text()
    part = text.partition("## The rooms")[2].partition("\n## ")[0]
    assert re.findall(r"^    fansr/(\w+)/ ", part, re.M) == ORDER
    for name in re.findall(r"^    fansr/(\w+\.py) ", part, re.M):
        assert (ROOT / name).exists(), name


def one_letter_apart(a: str, b: str) -> bool:
    """Whether one letter more, less or other makes b of a."""
    a, b = sorted((a, b), key=len)
    if len(b) - len(a) > 1 or a == b:
        return False
    i = next((i for i, (p, q) in enumerate(zip(a, b)) if p != q), len(a))
    return a[i + (len(a) == len(b)) :] == b[i + 1 :]


def test_names_of_modules_are_not_mistaken_for_each_other():
    assert one_letter_apart("power", "powers") and one_letter_apart("spell", "spill") and one_letter_apart("ab", "b")
    assert not one_letter_apart("spell", "respell") and not one_letter_apart("power", "power")
    stems = sorted({path.stem for path in MODULES.values()} - {"__init__"})
    alike = [(a, b) for a, b in itertools.combinations(stems, 2) if one_letter_apart(a, b)]
    assert not alike


@pytest.mark.parametrize("package", ORDER)
def test_no_package_imports_itself_in_a_circle(package):
    """Modules of a package can be put in an order, counting what is imported when they are loaded."""
    left = {
        name: {module for module, _ in ours(path, top_only=True) if module in MODULES and module != name}
        | {f"{module}.{inner}" for module, inner in ours(path, top_only=True) if f"{module}.{inner}" in MODULES}
        for name, path in MODULES.items()
        if package_of(name) == package
    }
    while left:
        ready = [name for name, needs in left.items() if not needs & set(left)]
        assert ready, f"in a circle: {sorted(left)}"
        for name in ready:
            del left[name]


@pytest.mark.parametrize("package", ORDER)
def test_public_names_are_used_and_exist(package):
    module = __import__(f"fansr.{package}", fromlist=["x"])
    assert (module.__doc__ or "").strip(), "an __init__ is a docstring first"
    used = {inner for path in MODULES.values() for other, inner in ours(path) if other == package}
    for name in public(package):
        assert getattr(module, name) is not None
        assert name in used, f"nobody imports {name} of fansr.{package}: it is private"


@pytest.mark.parametrize("name", MODULES)
def test_torch_stays_where_it_is_needed(name):
    if name not in TORCH:
        assert not any(module.split(".")[0] == "torch" for module, _ in imports(MODULES[name], top_only=True))


def heavy_at_top(name, seen):
    if name in seen:
        return set()
    seen.add(name)
    found = {module.split(".")[0] for module, _ in imports(MODULES[name], top_only=True)} & HEAVY
    for module, inner in ours(MODULES[name], top_only=True):
        source = public(module).get(inner, f"{module}.{inner}") if module in ORDER else module
        for other in (source, module, f"{module}.{inner}"):
            if other in MODULES:
                found |= heavy_at_top(other, seen)
    return found


@pytest.mark.parametrize("name", LIGHT)
def test_light_commands_load_nothing_heavy(name):
    assert not heavy_at_top(name, set())


def test_simplipy_has_one_door():
    users = [name for name, path in MODULES.items() if any(m.split(".")[0] == "simplipy" for m, _ in imports(path))]
    assert set(users) <= {"simplification.rule_sets", "simplification.mine"}


def test_numba_is_loaded_without_scipy_and_scipy_works_afterwards():
    code = (
        "import sys, fansr.expressions.programs; assert 'numba' in sys.modules and 'scipy' not in sys.modules, 'before';"
        "import scipy.linalg, numpy; assert abs(scipy.linalg.det(numpy.eye(2)) - 1) < 1e-12"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def typed(function: ast.FunctionDef) -> bool:
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    said = all(argument.annotation for argument in arguments if argument.arg not in ("self", "cls"))
    return said and (function.returns is not None or function.name == "__init__")


@pytest.mark.parametrize("package", ORDER)
def test_public_functions_say_their_types(package):
    """All that the stub lists, and the public functions of modules it lists; compiled kernels have signatures instead."""
    untyped = []
    for name, source in public(package).items():
        whole = source.split(".")[-1] == name
        for node in ast.parse(MODULES[source].read_text()).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if whole or node.name == name:
                inside = [node, *node.body] if isinstance(node, ast.ClassDef) else [node]
                untyped += [
                    f"{source}.{function.name} (line {function.lineno})"
                    for function in inside
                    if isinstance(function, ast.FunctionDef)
                    and (function.name == "__init__" or not function.name.startswith("_"))
                    and not any("jit" in ast.unparse(d) or "click" in ast.unparse(d) for d in function.decorator_list)
                    and not any(
                        word in ast.unparse(d)
                        for d in function.decorator_list
                        for word in ("nb.", "intrinsic", "command")
                    )
                    and not typed(function)
                ]
    assert not sorted(set(untyped))
