"""Write docs/settings.md: every setting, from its declaration.

python -m tools.settings_reference
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from reenact import registry
from reenact.config import Section, Settings
from reenact.live.settings import GROUP_OF, declarations, sections_in

FILE: Final = Path(__file__).parents[1] / "docs" / "settings.md"

_HEAD: Final = """# Settings

<!-- Written by `python -m tools.settings_reference` from the declarations; a test compares. -->

Every setting of `reenact live`. A TOML file is given as the first argument, single values with
`--set section.key=value`. The command line overrides the file, and the file overrides the defaults:

```toml
[drive]
intensity = 1.2

[sink.http]
port = 8088
```

```sh
reenact live call.toml --target anna --set fusion.mirror=true --set sink.http.port=8089
```

An unknown name is an error that suggests the nearest one. The section of a part, such as
`[sink.http]`, applies only while that part is used. Plugins have sections too;
`reenact live --help` lists those of the installed ones. A setting marked *(live)* can change while
a session runs: in the panel, or with `Controls.update` of the Python package.
"""


def reference() -> str:
    """Return the text of docs/settings.md."""
    return "\n".join([_HEAD, *(line for part in sections() for line in _described(*part))])


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield the sections, each followed by those in it and those of the program's own parts."""
    for name, section in sections_in(Settings).items():
        yield name, section
        for inner, within in sections_in(section).items():
            yield f"{name}.{inner}", within
        if name in GROUP_OF:
            for part in registry.available(GROUP_OF[name]):
                own = registry.load(GROUP_OF[name], part).settings
                if own.__module__.startswith("reenact.") and own.model_fields:
                    yield f"{name}.{part}", own


def _described(name: str, section: type[Section]) -> Iterator[str]:
    yield f"## `[{name}]`\n"
    yield f"{(section.__doc__ or '').partition(chr(10))[0]}\n"
    settings = declarations(section)
    if not settings:
        return
    yield "| key | values | default | |"
    yield "|---|---|---|---|"
    for key, entry in settings.items():
        live = " (live)" if entry.get("live") else ""
        default = json.dumps(entry["default"])
        yield f"| `{key}` | {_values(entry)} | `{default}` | {entry['description']}{live} |"
    yield ""


def _values(entry: dict[str, Any]) -> str:
    """Say which values a setting takes, with their unit."""
    unit = f" {entry['unit']}" if "unit" in entry else ""
    if "enum" in entry:
        return ", ".join(f"`{json.dumps(value)}`" for value in entry["enum"]) + unit
    if "examples" in entry:
        return ", ".join(f"`{json.dumps(value)}`" for value in entry["examples"]) + ", or a name"
    if entry["type"] == "boolean":
        return "`true`, `false`"
    low = entry.get("minimum", entry.get("exclusiveMinimum"))
    high = entry.get("maximum", entry.get("exclusiveMaximum"))
    if low is not None:
        start = f"{low:g}" if "minimum" in entry else f"above {low:g}"
        return f"{start} or more{unit}" if high is None else f"{start} to {high:g}{unit}"
    return {"string": "text", "integer": "number", "number": "number"}[entry["type"]] + unit


if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
    print(FILE)
