"""The hash of the code behind a script: it changes with what the script can run, and with nothing else."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metafusion.workflow.code import code_hash, modules_of

ROOT = Path(__file__).parents[2]
FILES = {
    "metafusion/__init__.py": '"""The library."""\n',
    "metafusion/direct.py": "from metafusion.indirect import thing\nimport numpy\n",
    "metafusion/indirect.py": "thing = 1\n",
    "metafusion/lazy.py": "late = 1\n",
    "metafusion/other.py": "import metafusion.direct\n",
    "metafusion/package/__init__.py": '"""A package."""\n',
    "metafusion/package/module.py": "def work():\n    from metafusion import lazy\n",
    "metafusion/package/neighbour.py": "x = 1\n",
    "metafusion/kinds/__init__.py": "",
    "metafusion/kinds/named.py": "import metafusion.kinds.helper\n",
    "metafusion/kinds/helper.py": "y = 1\n",
    "metafusion/circle.py": "import metafusion.direct_circle\n",
    "metafusion/direct_circle.py": "import metafusion.circle\n",
    "scripts/run.py": "from metafusion.direct import thing\nfrom metafusion.package import module\n",
}


@pytest.fixture
def tree(tmp_path):
    """Return a function that lays out the files, some of them changed, in a folder of its own."""
    count = iter(range(100))

    def lay(**changed):
        root = tmp_path / str(next(count))
        for name, content in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        for name, content in changed.get("changed", {}).items():
            (root / name).write_text(content)
        return root

    return lay


def hash_of(root, extra=()):
    return code_hash(root / "scripts" / "run.py", root, extra)


EDIT = "\n# edited\n"


@pytest.mark.parametrize(
    "name",
    [
        "metafusion/__init__.py",
        "metafusion/direct.py",
        "metafusion/indirect.py",
        "metafusion/package/__init__.py",
        "metafusion/package/module.py",
        "metafusion/lazy.py",
        "scripts/run.py",
    ],
)
def test_an_edit_to_a_script_or_what_it_imports_changes_its_hash(tree, name):
    assert hash_of(tree(changed={name: FILES[name] + EDIT})) != hash_of(tree())


@pytest.mark.parametrize(
    "name", ["metafusion/other.py", "metafusion/package/neighbour.py", "metafusion/kinds/named.py"]
)
def test_an_edit_elsewhere_does_not_change_the_hash(tree, name):
    assert hash_of(tree(changed={name: FILES[name] + EDIT})) == hash_of(tree())


@pytest.mark.parametrize(
    "name", ["metafusion/kinds/__init__.py", "metafusion/kinds/named.py", "metafusion/kinds/helper.py"]
)
def test_an_edit_to_an_extra_module_or_what_it_imports_changes_the_hash(tree, name):
    extra = ("metafusion.kinds.named",)
    assert hash_of(tree(changed={name: FILES[name] + EDIT}), extra) != hash_of(tree(), extra)


def test_an_extra_module_changes_the_hash(tree):
    root = tree()
    assert hash_of(root, ("metafusion.kinds.named",)) != hash_of(root)


def test_the_folder_of_the_project_has_no_say(tree):
    assert hash_of(tree()) == hash_of(tree())


def test_moving_content_between_modules_changes_the_hash(tree):
    swapped = {"metafusion/direct.py": FILES["metafusion/direct.py"] + EDIT, "metafusion/indirect.py": "thing = 1\n"}
    other = {"metafusion/direct.py": FILES["metafusion/direct.py"], "metafusion/indirect.py": "thing = 1\n" + EDIT}
    assert hash_of(tree(changed=swapped)) != hash_of(tree(changed=other))


def test_a_new_import_adds_its_module(tree):
    root = tree(changed={"metafusion/indirect.py": "import metafusion.kinds.helper\nthing = 1\n"})
    assert root / "metafusion/kinds/helper.py" in modules_of(root / "scripts" / "run.py", root)


def test_imports_in_a_circle_end(tree):
    root = tree(changed={"scripts/run.py": "import metafusion.circle\n"})
    found = {path.name for path in modules_of(root / "scripts" / "run.py", root)}
    assert found == {"__init__.py", "circle.py", "direct_circle.py"}


def test_the_modules_of_a_script_are_found(tree):
    root = tree()
    found = {str(path.relative_to(root)) for path in modules_of(root / "scripts" / "run.py", root)}
    assert found == {
        "metafusion/__init__.py",
        "metafusion/direct.py",
        "metafusion/indirect.py",
        "metafusion/lazy.py",
        "metafusion/package/__init__.py",
        "metafusion/package/module.py",
    }


SLOW = {"matplotlib", "mne", "scikit_posthocs", "scipy", "sklearn", "statsmodels", "torch"}


@pytest.mark.parametrize(("script", "needed"), [("assemble_samples", set()), ("stack_students", {"scipy", "torch"})])
def test_no_module_that_python_loads_for_a_script_is_missed_and_no_slow_one_loaded_in_vain(script, needed):
    path = ROOT / "scripts" / f"{script}.py"
    tree = ast.parse(path.read_text())
    imports = "\n".join(ast.unparse(node) for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    ask = "\nimport sys\nprint(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'metafusion'))"
    ask += "\nprint(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", imports + ask], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, names = answer.stdout.splitlines()
    assert SLOW & set(names.split()) == needed
    loaded = {Path(file).relative_to(ROOT) for file in ours.split()}
    assert len(loaded) > 3
    assert loaded <= {file.relative_to(ROOT) for file in modules_of(path, ROOT)}


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_no_script_has_its_imports_searched_for_garbage(script):
    first = next(node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom))
    assert ast.unparse(first) == "import metafusion.workflow.imports"


def test_the_library_has_no_relative_import_which_the_hash_would_miss():
    relative = [
        path
        for path in (ROOT / "metafusion").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


CODE = [
    path
    for folder in ("metafusion", "scripts", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "__pycache__" not in path.parts
]
FORBIDDEN = {
    "pickle",
    "_pickle",
    "cPickle",
    "cloudpickle",
    "dill",
    "joblib",
    "marshal",
    "shelve",
}
"""Modules that make objects, and so may run anything, from what they read."""
# A reader of one table in a wheel whose sum is checked, which allows named constructors only.
READERS = {("metafusion/sources/ad_data.py", "pickle")}
PROGRAMS = {
    ("metafusion/sources/wheels.py", "subprocess.run"),
    ("metafusion/workflow/provenance.py", "subprocess.run"),
    ("metafusion/workflow/forks.py", "subprocess.Popen"),
    ("benchmarks/pipeline.py", "subprocess.run"),
}


def dotted(node):
    """The name of what is called, such as ``torch.load``."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield dotted(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}, node


def test_nothing_reads_or_writes_pickles():
    imported, loaded = set(), []
    for path in CODE:
        name = path.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {(name, alias.name.split(".")[0]) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add((name, node.module.split(".")[0]))
        for called, words, _ in calls(path):
            if called in ("torch.load", "torch.save", "pd.read_pickle") or called.endswith(".to_pickle"):
                loaded.append((name, called))
            if words.get("allow_pickle", "False") != "False":
                loaded.append((name, called))
    assert {entry for entry in imported if entry[1] in FORBIDDEN} == READERS
    # Old files of rats, only where the user says 'trusted_pickles: true' (see test_odor_rats.py).
    assert loaded == [("metafusion/sources/odor_rats.py", "np.load")]


def test_yaml_makes_plain_values_only():
    found = [
        (path.name, called, ast.unparse(node.args[-1]))
        for path in CODE
        for called, _, node in calls(path)
        if called.startswith("yaml.") and "load" in called and called != "yaml.safe_load"
    ]
    assert found == [("load.py", "yaml.load", "_Loader")]
    from yaml import SafeLoader

    from metafusion.config.load import _Loader

    assert _Loader.__mro__[1] is SafeLoader
    assert _Loader.yaml_constructors == SafeLoader.yaml_constructors


def test_no_text_becomes_code_or_a_command():
    started = set()
    for path in CODE:
        name = path.relative_to(ROOT).as_posix()
        for called, words, _ in calls(path):
            assert called not in ("eval", "exec", "compile", "os.system", "os.popen", "__import__"), (name, called)
            assert words.get("shell", "False") == "False", (name, called)
            if called.split(".")[0] in ("subprocess", "pty") or called.startswith(("os.exec", "os.spawn")):
                started.add((name, called))
    # pip, git, Python and Snakemake: words of a list, no shell.
    assert started == PROGRAMS


@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.smk")), ids=lambda path: path.name)
def test_no_rule_has_a_shell_command(path):
    assert re.findall(r"^\s+(shell|run|notebook|wrapper|cwl):|\bshell\(", path.read_text(), re.MULTILINE) == []


def test_only_wheels_are_fetched_and_each_has_its_sum():
    from metafusion.sources.wheels import WHEELS

    network = {"requests", "urllib", "http", "socket", "ftplib", "httpx", "pooch", "fsspec", "boto3"}
    reaching = set()
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            else:
                continue
            reaching |= {path.name for module in modules if module.split(".")[0] in network}
        # Functions of nilearn, mne and scikit-learn that bring data from elsewhere.
        assert [name for name, *_ in calls(path) if name.split(".")[-1].startswith("fetch_")] == ["fetch_all"] * (
            path.name == "wheels.py"
        )
    # Processes of this machine fork from one: never over a network.
    assert reaching == {"wheels.py", "forks.py"}
    sockets = [
        node.args
        for called, _, node in calls(ROOT / "metafusion/workflow/forks.py")
        if called.endswith(("socket.socket", "create_connection"))
    ]
    assert sockets
    assert {ast.unparse(*args) for args in sockets} == {"socket.AF_UNIX"}
    assert all(re.fullmatch("[0-9a-f]{64}", wheel.sha256) for wheel in WHEELS.values())
    assert all(wheel.version in wheel.file for wheel in WHEELS.values())
