"""Writes docs/reference/analysis.md from the docstrings of `verification_platform/analysis`.

    python docs/generate_analysis_reference.py

The sources are parsed, not imported. A test fails when the page is not what this would write.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "verification_platform" / "analysis"
PAGE = ROOT / "docs" / "reference" / "analysis.md"

_HEAD = """\
# Analysis core

Written by `docs/generate_analysis_reference.py` from the docstrings; change those, then run it again.

Everything here takes numpy arrays and imports numpy and the standard library only. Classes with `update`, `merge` and
`result` are accumulators ([why](../explanation/accumulators.md)); functions are for arrays that are in memory. Quantities
are in SI unless a unit is named, arrays one-dimensional float64 unless a shape is given. Refusals are the exceptions of
`errors`, all of them ValueErrors.
"""
_LARGEST_TITLE = 110


def page() -> str:
    """The whole page."""
    modules = [path for path in sorted(PACKAGE.rglob("*.py")) if not _private(path)]
    parsed = [(_name(path), ast.parse(path.read_text(encoding="utf-8"))) for path in modules]
    parsed = [(name, tree) for name, tree in parsed if any(_public(tree.body))]
    contents = [f"* [`{name}`](#{name.replace('.', '')}) {_title(tree)}" for name, tree in parsed]
    return "\n".join([_HEAD, *contents, "", *(line for each in parsed for line in _module(*each))])


def _private(path: Path) -> bool:
    return any(part.startswith("_") for part in path.relative_to(PACKAGE).parts)


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


def _text(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    return inspect.cleandoc(ast.get_docstring(node) or "").strip()


def _title(node: ast.Module | ast.FunctionDef | ast.ClassDef) -> str:
    """First paragraph on one line."""
    return " ".join(_text(node).split("\n\n")[0].split())


def _module(name: str, tree: ast.Module) -> Iterator[str]:
    yield from (f"## {name}", "", _text(tree), "")
    for node in _public(tree.body):
        if isinstance(node, ast.ClassDef):
            yield from _class(node)
        else:
            yield from (f"### `{node.name}{_arguments(node)}`", "", _text(node), "")


def _class(node: ast.ClassDef) -> Iterator[str]:
    methods = list(_public(node.body))
    begin = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    bases = [ast.unparse(base) for base in node.bases]
    made = _arguments(begin[0], result=False) if begin else f"({', '.join(bases)})" if bases else ""
    yield from (f"### class `{node.name}{made}`", "", _text(node), "")
    attributes = [n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    if attributes:
        listed = ", ".join(
            f"`{ast.unparse(n.target)}: {ast.unparse(n.annotation)}`"
            for n in attributes
            if not ast.unparse(n.target).startswith("_")
        )
        yield from (f"Fields: {listed}.", "")
    for method in methods:
        if isinstance(method, ast.FunctionDef):
            shown = method.name if _is_property(method) else method.name + _arguments(method)
            yield f"* `{shown}` {_title(method)}".rstrip()
    if methods:
        yield ""


def _is_property(node: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def _arguments(node: ast.FunctionDef, *, result: bool = True) -> str:
    """(a, b=1) -> R: names and defaults; types where they say more than "array"."""
    arguments = ast.arguments(
        posonlyargs=node.args.posonlyargs,
        args=[a for a in node.args.args if a.arg not in ("self", "cls")],
        vararg=node.args.vararg,
        kwonlyargs=node.args.kwonlyargs,
        kw_defaults=node.args.kw_defaults,
        kwarg=node.args.kwarg,
        defaults=node.args.defaults,
    )
    returns = f" -> {ast.unparse(node.returns)}" if result and node.returns is not None else ""
    full = f"({ast.unparse(arguments)}){returns}"
    if len(full) <= _LARGEST_TITLE:
        return full
    for argument in (*arguments.args, *arguments.kwonlyargs, *arguments.posonlyargs):
        argument.annotation = None
    return f"({ast.unparse(arguments)}){returns}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
