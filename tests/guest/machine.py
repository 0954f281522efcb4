"""Boots the guest and runs one command in it with this machine's files and Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guest.image import GuestUnavailable, find_image

IN_GUEST: Final = "REENACT_IN_GUEST" in os.environ
"""Whether this process runs in the guest."""

QEMU: Final = "qemu-system-x86_64"

_ACCELERATOR_VARIABLE: Final = "REENACT_GUEST_ACCEL"
_ACCELERATOR: Final = "tcg,thread=multi,tb-size=512"
"""Emulation in software is about ten times slower, but works on every machine."""

_FASTER: Final = "mitigations=off nokaslr tsc=reliable"

_ENVIRONMENT: Final = {
    "HOME": "/run/home",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "REENACT_IN_GUEST": "1",
    "TMPDIR": "/run/tmp",
}


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: its status, None if the guest ended first, and all that was printed."""

    status: int | None
    console: str


def run_in_guest(
    command: Sequence[str],
    out: Path,
    *,
    timeout_s: float = 240.0,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Boot, run a command as root with these variables, and power off; killed after `timeout_s`.

    The guest sees this machine's files. Its changes to them are discarded, except in /out, which is
    the folder `out`. Raises GuestUnavailable, with what is missing, if no guest can run here.
    """
    if shutil.which(QEMU) is None:
        raise GuestUnavailable(f"{QEMU} is not installed (Debian: qemu-system-x86)")
    image = find_image()
    variables = {**_ENVIRONMENT, **(environment or {})}
    settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    out.joinpath("run").write_text(
        f"mkdir -p /run/home && cd /run/home && exec env -i {settings} {shlex.join(command)}\n"
    )
    out.joinpath("status").unlink(missing_ok=True)
    with tempfile.TemporaryFile() as console:
        try:
            subprocess.run(
                [QEMU, *_options(image, out)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            console.write(f"\nThe guest was stopped after {timeout_s:g} s.\n".encode())
        console.seek(0)
        shown = console.read().decode(errors="replace").replace("\r\n", "\n")
    try:
        status = int(out.joinpath("status").read_text())
    except (OSError, ValueError):
        status = None
    return Finished(status, shown)


def _options(image: Path, out: Path) -> list[str]:
    accelerator = os.environ.get(_ACCELERATOR_VARIABLE, _ACCELERATOR)
    shared = "local,security_model=none"
    text = (
        f"-accel {accelerator} -cpu max -smp 2 -m 2G -machine q35 -nodefaults -no-user-config "
        "-display none -serial stdio -monitor none -no-reboot -device virtio-rng-pci"
    )
    return [
        *text.split(),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        # On a busy machine the emulated timer is late, and its check ends in a panic.
        *("-append", f"console=ttyS0 quiet panic=-1 no_timer_check {_FASTER}"),
        *("-virtfs", f"{shared},path=/,mount_tag=root,readonly=on,multidevs=remap"),
        *("-virtfs", f"{shared},path={out},mount_tag=out"),
    ]
