"""Indices of the 478 FaceMesh landmarks, and the names of the action units.

RIGHT and LEFT are the person's sides: landmark 33 belongs to the right eye, which an unmirrored
picture shows on its left. Action units are named likewise, as in FACS.
"""

from __future__ import annotations

from typing import Final

N_LANDMARKS: Final = 478

N_SKIN: Final = 468
"""Number of skin landmarks, which come first; those of the irises follow."""

LIPS_OUTER: Final = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
LIPS_INNER: Final = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip
EYE_RIGHT: Final = (
    33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
)  # fmt: skip
EYE_LEFT: Final = (
    263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
)  # fmt: skip
BROW_RIGHT: Final = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
BROW_LEFT: Final = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
IRIS_RIGHT: Final = (468, 469, 470, 471, 472)
IRIS_LEFT: Final = (473, 474, 475, 476, 477)
FOREHEAD: Final = (71, 68, 104, 69, 108, 151, 337, 299, 333, 298, 301)
"""The landmarks between brows and hairline, from the image's left to its right."""

AROUND_LIPS: Final = (
    2, 18, 32, 43, 57, 83, 92, 97, 98, 99, 106, 140, 164, 165, 167, 169, 170, 171, 175, 182, 186,
    194, 199, 200, 201, 202, 203, 204, 206, 208, 210, 211, 212, 216, 240, 262, 273, 287, 313, 322,
    326, 327, 328, 335, 369, 391, 393, 394, 395, 396, 406, 410, 418, 421, 422, 423, 424, 426, 428,
    430, 431, 432, 436, 460,
)  # fmt: skip
"""The two rings of landmarks next to the lips, and the chin, without the landmarks of the oval."""

OVAL: Final = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
NOSE: Final = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 97, 326, 327, 64, 294)

NOSE_OUTLINE: Final = (
    168, 122, 188, 114, 217, 126, 129, 64, 98, 97, 2,
    326, 327, 294, 358, 355, 437, 343, 412, 351,
)  # fmt: skip

RIGID: Final = (
    10, 67, 109, 338, 297, 103, 332, 54, 284, 151, 9, 8, 168, 6, 197, 195, 5, 4,
    33, 133, 362, 263, 127, 356, 234, 454, 162, 389, 98, 327, 2,
)  # fmt: skip
"""The landmarks least affected by expressions: forehead, temples, nose and eye corners."""

EYE_CORNERS_RIGHT: Final = (33, 133)
EYE_CORNERS_LEFT: Final = (362, 263)
OUTER_EYE_CORNERS: Final = (EYE_CORNERS_RIGHT[0], EYE_CORNERS_LEFT[1])
MOUTH_CORNERS: Final = (61, 291)
"""The right corner, then the left one."""

NOSE_BRIDGE: Final = 168
"""Between the eyes."""

NOSE_BASE: Final = 2
CHIN: Final = 152
UPPER_LIP: Final = 13
LOWER_LIP: Final = 14
"""Middles of the lips' inner edges."""

ACTION_UNITS: Final = (
    "mouth_open",  # AU25-27: gap between the inner lips
    "jaw_drop",  # AU26: distance of the chin from the nose
    "smile_left",  # AU12
    "smile_right",
    "frown",  # AU15: corners of the mouth down
    "pucker",  # AU18: narrow mouth
    "stretch",  # AU20: wide mouth
    "upper_lip_raise",  # AU10
    "lower_lip_depress",  # AU16
    "mouth_left",  # mouth moved to the person's left
    "mouth_right",
    "brow_raise_left",  # AU1+2
    "brow_raise_right",
    "brow_lower",  # AU4
    "blink_left",  # AU45
    "blink_right",
    "eye_wide",  # AU5
)
"""The order of `Expression.action_units`; the comments give the numbers of FACS."""
