"""The guest's kernel and initial file system, built once by `build_image` and cached.

python -m guest.image        (in `tests`) builds the image and prints its folder
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

CACHE_VARIABLE: Final = "REENACT_GUEST_CACHE"

_INIT: Final = Path(__file__).with_name("init")
_BUILD: Final = Path(__file__).with_name("build_image")
_PROGRAMS: Final = ("apt-get", "dpkg", "make", "gcc", "cpio", "xz", "depmod", "modprobe")
_TIMEOUT_S: Final = 900


class GuestUnavailable(Exception):  # noqa: N818 - a reason to skip, not a failure
    """No guest can run on this machine; the message says what is missing."""


def cache_folder() -> Path:
    """Return the folder of images: REENACT_GUEST_CACHE, or one in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("reenact") / "guest"


def find_image() -> Path:
    """Return the folder with `vmlinuz` and `initrd`; build it the first time.

    That takes a minute or more and downloads about 90 MB. Other processes wait for it. Raises
    GuestUnavailable if something needed is missing.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        system = f"{platform.system()} {platform.machine()}"
        raise GuestUnavailable(f"the guest is made on Linux for x86_64, this is {system}")
    import fcntl

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / hashlib.sha256(_INIT.read_bytes() + _BUILD.read_bytes()).hexdigest()[:12]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.exists():
            with tempfile.TemporaryDirectory(dir=folder) as work:
                _build(Path(work, "image"))
                Path(work, "image").rename(image)
    return image


def _build(image: Path) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [name for name in _PROGRAMS if not shutil.which(name, path=path)]
    if not Path("/bin/busybox").exists():
        missing.append("busybox-static")
    if missing:
        raise GuestUnavailable(f"to make the guest's image, install {', '.join(missing)}")
    done = subprocess.run(
        ["bash", str(_BUILD), str(image)],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["no reason given"]
        raise GuestUnavailable(f"the guest's image cannot be built: {words[-1]}")


if __name__ == "__main__":
    print(find_image())
