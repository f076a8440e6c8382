"""Capabilities of `pydantic-ai-harness`, for specs that name them; where it is installed.

It is no dependency: each of its releases is for one release of Pydantic AI alone.
"""

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai.capabilities import CAPABILITY_TYPES, AbstractCapability

from orchestrator.specs import Spec

_PACKAGE = "pydantic_ai_harness"

Types = Sequence[type[AbstractCapability[Any]]]


def harness_types(spec: Spec, ours: Types) -> Types:
    """Return those that a spec names, and that neither we nor Pydantic AI have.

    Raises:
        SpecError: If one needs a package that is not installed.
    """
    known = {*CAPABILITY_TYPES, *(kind.get_serialization_name() for kind in ours)}
    if find_spec(_PACKAGE) is None:
        return ()
    found: list[type[AbstractCapability[Any]]] = []
    for index, entry in enumerate(spec.document.capabilities):
        name = entry if isinstance(entry, str) else next(iter(entry), "")
        if name in known:
            continue
        try:
            kind = getattr(importlib.import_module(_PACKAGE), name, None)
        except ImportError as error:
            raise spec.error(" ".join(str(error).split()), ("capabilities", index)) from error
        if isinstance(kind, type) and issubclass(kind, AbstractCapability):
            found += [kind] if kind.get_serialization_name() == name else []
    return found
