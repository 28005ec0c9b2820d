"""Imports one ccxt.pro exchange and no other, nor what only trading needs: 39 MiB of memory in place of 110 (ccxt 4.5.90).

`ccxt`, `ccxt.async_support` and `ccxt.pro` each import every exchange in their `__init__`. Here the three stand in
`sys.modules` as packages whose `__init__` was not run: the errors and the base classes are copied in, an exchange is
imported when its name is first looked up. Two packages that ccxt's base class imports are imported when they are first
used, 13 MiB: `cryptography` signs with private keys, `requests` is ccxt's HTTP without asyncio. This leans on ccxt's
layout, so ccxt is pinned exactly and a test loads all of its exchanges.
"""

from __future__ import annotations

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import pkgutil
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

_SPARED = (
    "cryptography.hazmat",
    "cryptography.hazmat.primitives",
    "cryptography.hazmat.primitives.asymmetric",
    "cryptography.hazmat.primitives.asymmetric.utils",
    "cryptography.hazmat.primitives.serialization",
    "requests",
    "requests.exceptions",
    "requests.utils",
)
"""Where ccxt.base.exchange takes names from that it needs later, or never."""


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
    """`install` when ccxt is imported for the first time: 13 MB, with aiohttp, that a native feed does without."""
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
    with _spared():
        base = importlib.import_module("ccxt.base.exchange")
    agent = f"python-requests/{importlib.metadata.version('requests')}"
    base.__dict__["default_user_agent"] = lambda: agent  # what requests says, whom every instance would ask
    errors = importlib.import_module("ccxt.base.errors")
    for package in (top, asynchronous, pro):
        package.__dict__["__version__"] = version[1] if version else ""
        package.__dict__.update({name: value for name, value in vars(errors).items() if not name.startswith("_")})
    top.__dict__["Exchange"] = base.Exchange
    top.__dict__["Precise"] = importlib.import_module("ccxt.base.precise").Precise
    asynchronous_base = importlib.import_module("ccxt.async_support.base.exchange").Exchange
    asynchronous.__dict__["Exchange"] = pro.__dict__["Exchange"] = asynchronous_base


def load(exchange_id: str) -> Any:
    """The ccxt.pro class of that id.

    Raises AttributeError when ccxt has no such exchange.
    """
    install()
    return getattr(importlib.import_module("ccxt.pro"), exchange_id)


class _Later:
    """Stands for a module or a name of one, and imports it when it is called or something of it is asked for."""

    importing = False
    """While ccxt is imported, a name is handed out for whatever is asked for: `ec.SECP256K1` stands in a class's body."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(f"{self._path}.{name}") if _Later.importing else getattr(pkgutil.resolve_name(self._path), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return pkgutil.resolve_name(self._path)(*arguments, **named)


@contextmanager
def _spared() -> Iterator[None]:
    """What is imported meanwhile gets stand-ins; afterwards an import gets the real thing again."""
    stand_ins: dict[str, Any] = {path: _Later(path) for path in _SPARED if path not in sys.modules}
    sys.modules.update(stand_ins)
    _Later.importing = True
    try:
        yield
    finally:
        _Later.importing = False
        for path in stand_ins:
            del sys.modules[path]


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
