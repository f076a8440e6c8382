"""A spec's values → text: our YAML."""

import re
from collections.abc import Mapping

import yaml
from pydantic import JsonValue

from orchestrator.specs import SpecDocument

_OTHER_BREAKS = re.compile("[\r\x85\u2028\u2029\ufeff]")


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, which a person can edit."""

    def ignore_aliases(self, _value: object) -> bool:
        """Write a value again instead of an alias, which a spec must not have."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if _OTHER_BREAKS.search(value):
        style: str | None = '"'  # as themselves they would be read as spaces
    else:
        style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(values: Mapping[str, JsonValue]) -> str:
    """Return a spec as the file that says it; reading that gives the same values."""
    order = [field.alias or name for name, field in SpecDocument.model_fields.items()]
    known = {key: values[key] for key in order if key in values}
    text = yaml.dump(
        {**known, **values}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100
    )
    return str(text)
