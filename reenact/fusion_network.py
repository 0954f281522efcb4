"""The landmark-fusion autoencoder at run time; until its weights are there, plain addition."""

from __future__ import annotations

from reenact.types import Array


class FusionNetwork:
    """Φ of Fan 2023, eq. 1."""

    def deviation(self, actor: Array, deviation: Array, target: Array) -> Array:
        """Return the target's (478, 3) deviation, iod, for the actor's."""
        del actor, target
        return deviation


def shipped_network() -> FusionNetwork:
    """Return the network that comes with the program."""
    return FusionNetwork()
