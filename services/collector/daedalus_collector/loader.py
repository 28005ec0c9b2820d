"""Imports one ccxt.pro exchange without the other hundred: 55 MiB of memory in place of 109 (ccxt 4.5.90).

`ccxt`, `ccxt.async_support` and `ccxt.pro` each import every exchange in their `__init__`. Here the three stand in
`sys.modules` as packages whose `__init__` was not run: the errors and the base classes are copied in, an exchange is
imported when its name is first looked up. This leans on ccxt's layout, so ccxt is pinned exactly and a test loads all
of its exchanges.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


class _Package(ModuleType):
    """A package that imports its submodules on demand; `package.kraken` is the class, as in ccxt itself."""

    def __setattr__(self, name: str, value: object) -> None:  # the import system binds submodules here
        if isinstance(value, ModuleType):
            found = getattr(value, name, None)
            value = found if isinstance(found, type) else value
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "exchanges":
            return _listed(Path(self.__path__[0]) / "__init__.py")
        try:
            importlib.import_module(f"{self.__name__}.{name}")
        except ModuleNotFoundError as error:
            raise AttributeError(f"{self.__name__} has no {name!r}") from error
        return self.__dict__[name]


class _Lean(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Puts the lean packages in place at the first import of ccxt."""

    def find_spec(self, fullname: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if fullname != "ccxt":
            return None
        install()
        module = sys.modules["ccxt"]
        spec = importlib.machinery.ModuleSpec("ccxt", self, is_package=True)
        spec.submodule_search_locations = list(module.__path__)
        module.__dict__["__spec__"] = spec  # the import system takes the module's own over what is returned here
        return spec

    def create_module(self, _spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return sys.modules["ccxt"]

    def exec_module(self, module: ModuleType) -> None:
        """It was not run, and shall not be."""


def install_on_import() -> None:
    """`install` when ccxt is imported for the first time: 16 MB that a native feed does without."""
    if "ccxt" not in sys.modules and not any(isinstance(finder, _Lean) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Lean())


def install() -> None:
    """Put the lean packages in place; does nothing where ccxt was imported already."""
    if "ccxt" in sys.modules:
        return
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Lean)]
    spec = importlib.util.find_spec("ccxt")
    assert spec is not None, "ccxt is missing: run `make env`"
    assert spec.origin is not None
    root = Path(spec.origin).parent
    top, asynchronous, pro = (
        _bare("ccxt", root),
        _bare("ccxt.async_support", root / "async_support"),
        _bare("ccxt.pro", root / "pro"),
    )
    version = re.search(r"__version__ = '([^']+)'", (root / "__init__.py").read_text())
    errors = importlib.import_module("ccxt.base.errors")
    for package in (top, asynchronous, pro):
        package.__dict__["__version__"] = version[1] if version else ""
        package.__dict__.update({name: value for name, value in vars(errors).items() if not name.startswith("_")})
    top.__dict__["Exchange"] = importlib.import_module("ccxt.base.exchange").Exchange
    top.__dict__["Precise"] = importlib.import_module("ccxt.base.precise").Precise
    base = importlib.import_module("ccxt.async_support.base.exchange").Exchange
    asynchronous.__dict__["Exchange"] = pro.__dict__["Exchange"] = base


def load(exchange_id: str) -> Any:
    """The ccxt.pro class of that id.

    Raises AttributeError when ccxt has no such exchange.
    """
    install()
    return getattr(importlib.import_module("ccxt.pro"), exchange_id)


def _listed(init: Path) -> list[str]:
    """The ids in the package's own list."""
    listed = re.search(r"^exchanges = (\[.*?\])", init.read_text(), re.MULTILINE | re.DOTALL)
    return list(ast.literal_eval(listed[1])) if listed else []


def _bare(name: str, directory: Path) -> _Package:
    package = _Package(name)
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(directory)]
    package.__dict__.update({"__path__": [str(directory)], "__package__": name, "__spec__": spec})
    sys.modules[name] = package
    parent, _, leaf = name.rpartition(".")
    if parent:
        sys.modules[parent].__dict__[leaf] = package
    return package
