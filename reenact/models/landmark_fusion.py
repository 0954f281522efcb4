"""The landmark-fusion autoencoder Φ of Fan 2023, eq. 1: `J = L_t + Φ(L_s, L_t)`.

Two encoders feed one decoder, which returns a deviation. The paper's figure of the network is
missing from the available text, so the sizes are this project's own. Coordinates are in the face
frame (pose removed, iod), because eq. 1 adds the deviation to the target's landmarks.

A neutral actor gives exactly the target's neutral. The source is split into the actor's neutral n
and the deviation d from it, and the decoder's output for d = 0 is subtracted:

    Φ(n, d, t) = d + G(E1(n, d), E2(t)) − G(E1(n, 0), E2(t)).

A network trained towards this property would only approximate it, and a small error at rest is
always visible. The leading d makes training start from plain addition of the deviation, because the
decoder's last layer is initialised with zeros.

`reenact.models.fusion_network` computes the same in numpy for the live path.

The module also has the network of FReeNet (Zhang 2020) for comparison. It computes the same sum
with the same loss weights, and its sizes are published. The live path does not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from reenact.face.geometry import canonical_face
from reenact.models.fusion_network import (
    COORDINATES,
    DEVIATION_SCALE,
    LAYERS,
    OUTPUT_SCALE,
    SHAPE_SCALE,
)


class LandmarkFusion(nn.Module):
    """The autoencoder Φ; see the module's docstring."""

    canonical: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.source_in = nn.Linear(*LAYERS["source_in"])
        self.source_out = nn.Linear(*LAYERS["source_out"])
        self.target_in = nn.Linear(*LAYERS["target_in"])
        self.target_out = nn.Linear(*LAYERS["target_out"])
        self.decoder_in = nn.Linear(*LAYERS["decoder_in"])
        self.decoder_out = nn.Linear(*LAYERS["decoder_out"])
        nn.init.zeros_(self.decoder_out.weight)
        nn.init.zeros_(self.decoder_out.bias)
        canonical = torch.from_numpy(canonical_face().copy()).reshape(-1)
        self.register_buffer("canonical", canonical, persistent=False)

    def forward(self, neutral: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
        """Return the target's (N, 478, 3) deviation.

        Args:
            neutral: (N, 478, 3) resting shapes of the actor.
            deviation: (N, 478, 3) deviations of the actor from them.
            target: (N, 478, 3) resting shapes of the target; all in iod, face frame.
        """
        who = SHAPE_SCALE * (neutral.flatten(1) - self.canonical)
        does = DEVIATION_SCALE * deviation.flatten(1)
        onto = SHAPE_SCALE * (target.flatten(1) - self.canonical)
        latent = self.target_out(nn.functional.silu(self.target_in(onto)))
        acted = self._decode(self._source(who, does), latent)
        rest = self._decode(self._source(who, torch.zeros_like(does)), latent)
        return deviation + OUTPUT_SCALE * (acted - rest).view_as(deviation)

    def _source(self, who: Tensor, does: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.source_in(torch.cat([who, does], dim=1)))
        return torch.tanh(self.source_out(hidden))

    def _decode(self, source: Tensor, target: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.decoder_in(torch.cat([source, target], dim=1)))
        result: Tensor = self.decoder_out(hidden)
        return result


class FreenetFusion(nn.Module):
    """Φ as in FReeNet: two encoders of six layers to 512, a decoder 1024, 1024, 512, LeakyReLU .2.

    The source is the acting face alone, so a resting target stays at rest only as far as the
    network has learned it. FReeNet has 106 landmarks in the picture plane (212 numbers); this
    network has all coordinates of 478 landmarks.
    """

    canonical: Tensor

    def __init__(self) -> None:
        super().__init__()
        latent = 512
        sizes = [COORDINATES, *[latent] * 6]
        self.source = nn.Sequential(*_dense(sizes))
        self.target = nn.Sequential(*_dense(sizes))
        last = nn.Linear(latent, COORDINATES)
        self.decoder = nn.Sequential(*_dense([2 * latent, 2 * latent, 2 * latent, latent]), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        canonical = torch.from_numpy(canonical_face().copy()).reshape(-1)
        self.register_buffer("canonical", canonical, persistent=False)

    def forward(self, neutral: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
        """Return the target's (N, 478, 3) deviation; the arguments are `LandmarkFusion`'s."""
        acts = SHAPE_SCALE * ((neutral + deviation).flatten(1) - self.canonical)
        onto = SHAPE_SCALE * (target.flatten(1) - self.canonical)
        latent = torch.cat([self.source(acts), self.target(onto)], dim=1)
        moved: Tensor = OUTPUT_SCALE * self.decoder(latent).view_as(deviation)
        return moved


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return layers


class LandmarkDiscriminator(nn.Module):
    """D_J of Fan 2023, eq. 3: classifies a resting shape and its deviation as real or generated."""

    canonical: Tensor

    def __init__(self) -> None:
        super().__init__()
        width = 128
        self.layers = nn.Sequential(
            spectral_norm(nn.Linear(2 * COORDINATES, width)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Linear(width, width)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Linear(width, 1)),
        )
        canonical = torch.from_numpy(canonical_face().copy()).reshape(-1)
        self.register_buffer("canonical", canonical, persistent=False)

    def forward(self, neutral: Tensor, deviation: Tensor) -> Tensor:
        """Map (N, 478, 3) resting shapes and deviations to logits (N, 1), positive for real."""
        who = SHAPE_SCALE * (neutral.flatten(1) - self.canonical)
        logits: Tensor = self.layers(
            torch.cat([who, DEVIATION_SCALE * deviation.flatten(1)], dim=1)
        )
        return logits
