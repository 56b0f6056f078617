"""Make the links of the README absolute before a release, for PyPI, which has no other files.

In the root of a checkout: `python docs/published_links.py https://github.com/OWNER/NAME TAG`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_RELATIVE = re.compile(r"\]\((?!https?:|#)([^)]+)\)")
_ADDRESSES = """\
[metadata]
project_urls =
    Source = {0}
    Documentation = {0}/blob/{1}/docs/index.md
    Changes = {0}/blob/{1}/CHANGELOG.md
    Issues = {0}/issues
"""


def main(repository: str, tag: str) -> None:
    """Change README.md and setup.cfg of the working folder, for a repository and a tag."""

    def address(link: re.Match[str]) -> str:
        kind = "raw" if link[1].endswith((".png", ".gif")) else "blob"
        return f"]({repository}/{kind}/{tag}/{link[1]})"

    readme, setup = Path("README.md"), Path("setup.cfg")
    readme.write_text(_RELATIVE.sub(address, readme.read_text("utf-8")), "utf-8")
    named = setup.read_text("utf-8").replace("[metadata]\n", _ADDRESSES.format(repository, tag), 1)
    setup.write_text(named, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
