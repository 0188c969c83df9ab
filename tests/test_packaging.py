"""What the source archive and the wheel hold, built here without a network."""

import configparser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
# What a checkout has besides its files.
NOT_SHIPPED = {".git", ".venv", ".ci", "build", "dist", "out", "runs", "shared"}
MADE = {"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis"}


def backend(folder: Path, call: str) -> str:
    """The name that setuptools.build_meta.CALL returns, run in `folder`."""
    code = f"from setuptools import build_meta; print('made', build_meta.{call})"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return re.search(r"^made (.+)$", done.stdout, re.M).group(1)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """(the unpacked source archive, the wheel made from it)."""
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.name in NOT_SHIPPED | MADE or path.suffix == ".egg-info":
            continue
        if path.is_dir():
            shutil.copytree(path, tree / path.name, symlinks=True, ignore=shutil.ignore_patterns(*MADE))
        else:
            shutil.copy2(path, tree)
    name = backend(tree, f"build_sdist({str(folder)!r})")
    with tarfile.open(folder / name) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.11.4 has no filters
        archive.extractall(folder / "unpacked", **safe)
    (unpacked,) = (folder / "unpacked").iterdir()
    # From a copy, so that what building leaves behind is not taken for part of the archive.
    shutil.copytree(unpacked, folder / "built", symlinks=True)
    wheel = backend(folder / "built", f"build_wheel({str(folder)!r})")
    return unpacked, folder / wheel


def files(folder: Path) -> set[str]:
    """Every file below a folder, as a path from it, without what tools leave there."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if (path.is_file() or path.is_symlink()) and not MADE & set(path.relative_to(folder).parts)
    }


def test_the_source_archive_holds_the_checkout(archives):
    sdist, _ = archives
    for folder in (".github", "bench", "bin", "configs", "containers", "data", "docs", "fansr", "rules", "tests"):
        missing = files(ROOT / folder) - files(sdist / folder)
        assert not {name for name in missing if not name.endswith((".part", ".nbi", ".nbc"))}, folder
    for name in (
        "Makefile",
        "requirements.lock",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "CITATION.cff",
        "mkdocs.yml",
        "pyproject.toml",
    ):
        assert (sdist / name).read_text() == (ROOT / name).read_text()
    assert os.access(sdist / "bin/launch", os.X_OK) and (sdist / "bin/fansr-cat").read_text().startswith("#!")
    assert not [name for name in files(sdist) if name.endswith((".pyc", ".nbi", ".nbc"))]


def test_the_wheel_holds_the_packages_their_stubs_and_what_they_ship(archives):
    _, wheel = archives
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = {f"fansr/{name}" for name in files(ROOT / "fansr") if name.endswith((".py", ".pyi")) or name == "py.typed"}
    assert not source - inside
    for kind in ("rules", "configs"):
        assert {f"fansr/{kind}/{name}" for name in files(ROOT / kind)} <= inside
    shipped = {
        f"fansr/data/{name}" for name in files(ROOT / "data") if name.endswith((".csv", ".json", ".safetensors"))
    }
    assert {
        name for name in shipped if "plateau" not in name
    } <= inside  # what training goes on from stays in a checkout
    assert {name.split("/")[0] for name in inside} == {"fansr", wheel.name.split("-py3")[0] + ".dist-info"}


def test_what_is_imported_is_declared():
    """Every library imported anywhere in fansr, outside the optional ones, is named in setup.cfg; no other is."""
    needed = {re.split(r"[<>=]", line)[0] for line in SETUP["options"]["install_requires"].split()}
    called = {"lazy_loader": "lazy-loader", "sklearn": "scikit-learn", "yaml": "PyYAML"}
    optional = {
        "jax",
        "matplotlib",
        "pint",
        "sympy",
        "pyoperon",
        "gplearn",
        "pysr",
        "flash_ansr",
        "nesymres",
        "omegaconf",
    }
    optional.add("symbolicregression")
    text = "\n".join(path.read_text() for path in (ROOT / "fansr").rglob("*.py"))
    found = set(re.findall(r"^ *(?:from|import) ([A-Za-z_]\w*)", text, re.M)) - set(sys.stdlib_module_names) - {"fansr"}
    found = {name for name in found if re.search(rf"^ *(?:import {name}\b|from {name}[\w.]* import )", text, re.M)}
    assert {called.get(name, name) for name in found} - optional <= needed
    assert needed <= {called.get(name, name) for name in found}


def test_the_lock_has_every_declared_library():
    """Names and bounds: each needs a line in requirements.lock, or docs/requirements.lock for the site, that satisfies it."""
    from packaging.requirements import Requirement

    def versions(*files: str) -> dict[str, str]:
        pairs = (line.split("==") for file in files for line in (ROOT / file).read_text().split())
        return {name.lower().replace("_", "-"): version for name, version in pairs}

    locked, with_docs = versions("requirements.lock"), versions("requirements.lock", "docs/requirements.lock")
    extras = SETUP["options.extras_require"]
    main = "\n".join((SETUP["options"]["install_requires"], extras["dev"], extras["plot"]))
    for text, known in ((main, locked), (extras["docs"], with_docs)):
        for line in text.split():
            need = Requirement(line)
            assert need.specifier.contains(known[need.name.lower().replace("_", "-")]), line


def test_the_citation_has_the_version_of_the_package():
    import yaml

    from fansr.version import __version__

    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__


# ---- containers -------------------------------------------------------------------------------


def steps_of(recipe: str) -> tuple[list[str], list[str]]:
    """(files copied in, shell lines run) of a container's recipe."""
    text = (ROOT / "containers" / recipe).read_text()
    if recipe == "Dockerfile":
        text = text.replace("\\\n", "")
        copied = [word for line in re.findall(r"^COPY (.+)$", text, re.M) for word in line.split()[:-1]]
        return copied, [step.strip() for line in re.findall(r"^RUN (.+)$", text, re.M) for step in line.split("&&")]
    sections = dict(re.findall(r"^%(\w+)\n((?:    .+\n)+)", text, re.M))
    return [line.split()[0] for line in sections["files"].splitlines()], [
        line.strip() for line in sections["post"].splitlines()
    ]


@pytest.mark.parametrize("recipe", ["Dockerfile", "fansr.def"])
def test_a_container_copies_all_that_building_needs(recipe, tmp_path):
    """A wheel is built from nothing but what the recipe copies, and it is the whole wheel."""
    copied, lines = steps_of(recipe)
    for name in copied:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(*MADE))
        else:
            shutil.copy2(ROOT / name, tmp_path)
    wheel = backend(tmp_path, f"build_wheel({str(tmp_path)!r})")
    inside = set(zipfile.ZipFile(tmp_path / wheel).namelist())
    assert {f"fansr/{name}" for name in files(ROOT / "fansr") if name.endswith(".py")} <= inside
    assert any(line.startswith("pip install") and "torch" in line for line in lines)
    steps = [line for line in lines if line.startswith("pip install")]
    assert ["torch" in step for step in steps] == [True, False] and '".[plot]"' in steps[
        1
    ]  # torch's CPU build comes first
    assert all("--no-cache-dir" in step and "--constraint requirements.lock" in step for step in steps)
    assert "requirements.lock" in copied
    subprocess.run(["sh", "-n"], input="\n".join(lines), text=True, check=True)


def test_what_linters_of_containers_ask():
    """A base with its version, absolute folders, a command in exec form, nothing downloaded but by pip."""
    docker, apptainer = ((ROOT / "containers" / name).read_text() for name in ("Dockerfile", "fansr.def"))
    base = re.search(r"^FROM (\S+:\S+)$", docker, re.M).group(1)
    assert re.search(r"^From: (\S+)$", apptainer, re.M).group(1) == base and not base.endswith("latest")
    assert all(folder.startswith("/") for folder in re.findall(r"^WORKDIR (\S+)$", docker, re.M))
    assert re.search(r'^CMD \["fansr"\]$', docker, re.M)
    assert docker.index("touch -d") < docker.index("-m fansr.warm")  # else a layer's whole seconds make kernels stale
    assert not re.search(r"\b(curl|wget|apt-get|sudo|ADD)\b", docker + apptainer)


@pytest.mark.prove
def test_the_wheel_works_in_a_fresh_environment(archives, tmp_path):
    """Its commands find a law with nothing of the checkout about; libraries come from the environment of the tests."""
    _, wheel = archives
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    site = next((tmp_path / "env/lib").iterdir()) / "site-packages"
    theirs = next(Path(p) for p in sys.path if (Path(p) / "numba").is_dir())
    for path in theirs.iterdir():  # links to every library but fansr itself
        if not re.match(r"(__editable__|fansr|pip|setuptools|_distutils|distutils|__pycache__)", path.name):
            if not (site / path.name).exists():
                (site / path.name).symlink_to(path)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 900}
    done = subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel], **run)
    assert done.returncode == 0, done.stderr
    table = tmp_path / "planets.csv"
    shutil.copy(ROOT / "data/planets.csv", table)
    fit = [tmp_path / "env/bin/fansr-fit", table, "--proposers", "power", "--samples", "0", "--json"]
    done = subprocess.run(fit, **run)
    assert done.returncode == 0 and "semi_major_axis_au**1.5" in done.stdout, done.stderr
    line = "fansr-gen -n 200 -q -j 1 | fansr-simplify -q -j 1 | fansr-cat --count"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", f'PATH="{tmp_path}/env/bin:$PATH"; {line}'], **run)
    assert done.returncode == 0 and 150 < int(done.stdout) <= 200, done.stderr
