"""Builds the guest's kernel and initial file system from Debian's packages, and caches them.

The packages are downloaded by apt and unpacked; none is installed. v4l2loopback is built in two
versions with different bugs: the one of this Debian release and that of a newer one.

    python -m guest.image        (in `tests`) builds the image and prints its folder
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

CACHE_VARIABLE: Final = "REENACT_GUEST_CACHE"

_INIT: Final = Path(__file__).with_name("init")
_BUSYBOX: Final = Path("/bin/busybox")
_PROGRAMS: Final = ("apt-get", "apt-cache", "dpkg", "make", "gcc", "cpio", "depmod", "modprobe")
_NEWER_RELEASE: Final = "trixie"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_REOPENING_SINCE: Final = "0.13"

_BASE_MODULES: Final = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio-rng", "videodev")
"""Loaded at boot; virtual camera and webcam are loaded by the tests."""

_WEBCAM: Final = "vivid"
_AS_CALLER: Final = ("-o", "APT::Sandbox::User=")  # the folders are the caller's own
_TIMEOUT_S: Final = 600


class GuestUnavailable(Exception):  # noqa: N818 - a reason to skip, not a failure
    """No guest can run on this machine; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What qemu boots: a folder with the kernel and the initial file system."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"


def cache_folder() -> Path:
    """Return the folder of images: REENACT_GUEST_CACHE, or one in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("reenact") / "guest"


def find_image() -> GuestImage:
    """Return the image; the first time, build it from apt's kernel.

    Building takes up to a minute and downloads about 90 MB. Other processes wait for it.

    Raises:
        GuestUnavailable: something needed is missing; the message says what.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        system = f"{platform.system()} {platform.machine()}"
        raise GuestUnavailable(f"the guest is made on Linux for x86_64, this is {system}")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        recipe = hashlib.sha256(_INIT.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
        there = sorted(folder.glob(f"*-{recipe}/vmlinuz"))
        if there:
            return GuestImage(there[-1].parent)
        missing = [name for name in _PROGRAMS if not shutil.which(name, path=_search_path())]
        if not _BUSYBOX.exists():
            missing.append("busybox-static")
        if missing:
            raise GuestUnavailable(f"to make the guest's image, install {', '.join(missing)}")
        with tempfile.TemporaryDirectory(dir=folder) as work:
            name = _make(Path(work), Path(work, "image"))
            kept = Path(work, "image").rename(folder / f"{name}-{recipe}")
    return GuestImage(kept)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(work: Path, image: Path) -> str:
    """Fill the folder `image`; return the kernel's release, such as 6.1.0-56-amd64."""
    root = work / "root"
    packages = _kernel_packages()
    release = packages[0].removeprefix("linux-image-")
    _unpack(packages, root, work)
    # The headers' makefile includes files by their path in an installed system.
    makefile = root / f"usr/src/linux-headers-{release}/Makefile"
    included = re.sub(r"(^include )(?=/)", rf"\g<1>{root}", makefile.read_text(), flags=re.M)
    makefile.write_text(included)

    drivers = work / "drivers"
    drivers.mkdir()
    versions = [_build_driver(root, release, work / "own", [], drivers)]
    if _age(versions[0]) < _age(_REOPENING_SINCE):
        try:
            options = _apt_of(_NEWER_RELEASE, work / "apt")
            versions.append(_build_driver(root, release, work / "newer", options, drivers))
        except GuestUnavailable as problem:
            print(f"No newer v4l2loopback: {problem}.")

    first = work / "first"
    _lay_out(first, root, release, drivers)
    image.mkdir()
    shutil.copy(root / f"boot/vmlinuz-{release}", image / "vmlinuz")
    listing = "\n".join(str(path.relative_to(first)) for path in sorted(first.rglob("*")))
    packed = _run(["cpio", "-o", "-H", "newc", "--quiet"], stdin=listing, cwd=first)
    (image / "initrd").write_bytes(gzip.compress(packed, 6))
    return release


def _age(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _kernel_packages() -> list[str]:
    """Name the newest kernel's package, then those needed to build a module for it."""
    kernels = _depends("linux-image-amd64")
    if not kernels:
        raise GuestUnavailable("apt knows no linux-image-amd64; the guest needs Debian's packages")
    headers = kernels[0].replace("linux-image-", "linux-headers-")
    built_with = [name for name in _depends(headers) if re.match(r"linux-(headers|kbuild)", name)]
    return [kernels[0], headers, *built_with]


def _depends(package: str) -> list[str]:
    words = _run(["apt-cache", "depends", package]).decode()
    return re.findall(r"^ +Depends: ([\w.+-]+)", words, flags=re.M)


def _apt_of(release: str, folder: Path) -> list[str]:
    """Return options by which apt reads another Debian release; its settings stay as they are."""
    policy = _run(["apt-cache", "policy", "v4l2loopback-dkms"]).decode()
    mirror = re.search(r"\bhttps?://\S+/debian\b", policy)
    if mirror is None or not _KEYRING.exists():
        raise GuestUnavailable("no mirror of Debian is set up")
    for part in ("sources", "lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    (folder / "sources/other.sources").write_text(
        f"Types: deb\nURIs: {mirror[0]}\nSuites: {release}\nComponents: main\n"
        f"Signed-By: {_KEYRING}\n"
    )
    settings = {
        "Dir::Etc::SourceList": "/dev/null",
        "Dir::Etc::SourceParts": str(folder / "sources"),
        "Dir::State::Lists": str(folder / "lists"),
        "Dir::Cache": str(folder / "cache"),
        "Acquire::Languages": "none",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _run(["apt-get", *options, *_AS_CALLER, "-q", "update"])
    return options


def _unpack(packages: Sequence[str], root: Path, work: Path, options: Sequence[str] = ()) -> None:
    debs = Path(tempfile.mkdtemp(dir=work))
    _run(["apt-get", *options, *_AS_CALLER, "-q", "download", *packages], cwd=debs)
    for deb in debs.glob("*.deb"):
        _run(["dpkg", "-x", str(deb), str(root)])
    shutil.rmtree(debs)


def _build_driver(
    root: Path, release: str, source: Path, options: Sequence[str], drivers: Path
) -> str:
    """Build v4l2loopback for a kernel as drivers/v4l2loopback-VERSION.ko; return the version."""
    _unpack(["v4l2loopback-dkms"], source, source.parent, options)
    (code,) = source.glob("usr/src/v4l2loopback-*")
    headers = root / f"usr/src/linux-headers-{release}"
    _run(["make", "-s", "-C", str(headers), f"M={code}", "modules"])
    module = drivers / f"{code.name}.ko"
    _run(["strip", "-g", "-o", str(module), str(code / "v4l2loopback.ko")])
    return code.name.partition("-")[2]


def _lay_out(first: Path, root: Path, release: str, drivers: Path) -> None:
    """Fill the first file system: busybox, init, and the modules with the order to load them."""
    for folder in ("bin", "modules", "proc", "sys", "dev", "host", "layer", "new"):
        (first / folder).mkdir(parents=True)
    shutil.copy(_BUSYBOX, first / "bin/busybox")
    shutil.copy(_INIT, first / "init")
    (first / "init").chmod(0o755)
    _run(["depmod", "-b", str(root), release])
    at_boot: list[str] = []
    for wanted in (*_BASE_MODULES, _WEBCAM):
        shown = _run(["modprobe", "-d", str(root), "-S", release, "--show-depends", wanted])
        for line in re.findall(r"^insmod (\S+)", shown.decode(), flags=re.M):
            module = Path(line).name.removesuffix(".xz")
            if module not in at_boot:
                packed = Path(line).read_bytes()
                plain = lzma.decompress(packed) if line.endswith(".xz") else packed
                (first / "modules" / module).write_bytes(plain)
                at_boot.append(module)
    at_boot.remove(f"{_WEBCAM}.ko")
    (first / "modules/order").write_text("".join(f"{module}\n" for module in at_boot))
    for driver in drivers.iterdir():
        shutil.copy(driver, first / "modules")


def _search_path() -> str:
    """Return PATH with the folders of system programs, which users often lack."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _run(command: Sequence[str], *, stdin: str = "", cwd: Path | None = None) -> bytes:
    done = subprocess.run(
        command,
        input=stdin.encode(),
        cwd=cwd,
        capture_output=True,
        timeout=_TIMEOUT_S,
        check=False,
        env={**os.environ, "PATH": _search_path(), "LC_ALL": "C"},
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise GuestUnavailable(f"`{' '.join(command[:4])} …` failed: {words[-1]}")
    return done.stdout


if __name__ == "__main__":
    print(find_image().folder)
