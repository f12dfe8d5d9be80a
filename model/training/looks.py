"""Augmentation of intensities that mimics what arrives: display windows, noise, metal, coil fall-off."""

import cv2
import numpy as np
from numpy.typing import NDArray

from model.training.diffusion import echo_planar
from model.training.implants import implanted
from model.training.sequences import PLANAR, SELDOM

JOINTS = frozenset({"knee", "pelvis", "shoulder", "thigh", "calf", "foot", "arm", "elbow", "forearm", "hand"})
"""Regions that are scanned for their implants, so that metal is common there."""


PLANAR_SHARE = 0.1
"""Share of MR images of other sequences that look as if they were of an echo-planar one."""
TONES_SHARE = 0.15
"""Share of MR images whose tones are put in another order: no sequence may tell the region."""


def ct_look(values: NDArray[np.float32], label: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary a CT image (Hounsfield units): metal, noise, reconstruction circle, display window."""
    if rng.random() < (0.15 if label in JOINTS else 0.05):
        values = implanted(values, rng)
    if rng.random() < 0.5:
        values = _grainy(values, rng.uniform(5, 45), rng)
    if rng.random() < 0.15:
        values = _circle(values, float(rng.choice([-1024.0, -2000.0, -3024.0])), rng)
    if rng.random() < 0.55:
        values = _display_window(values, label, rng)
    return values


def _display_window(values: NDArray[np.float32], label: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Show it as a screen would: 8 bits between two levels, sometimes with a gamma."""
    kind = rng.random()
    if kind < 0.35:
        level, width = rng.normal(45, 15), rng.uniform(280, 500)
    elif kind < 0.55:
        level, width = rng.normal(400, 120), rng.uniform(1200, 2600)
    elif kind < 0.65:
        level, width = rng.normal(-550, 80), rng.uniform(1200, 1800)
    else:
        level, width = rng.uniform(-200, 350), float(np.exp(rng.uniform(np.log(200), np.log(2500))))
    if label == "head" and kind < 0.2:
        level, width = rng.normal(38, 5), rng.uniform(80, 160)
    shown = np.clip((values - (level - width / 2)) / width, 0, 1)
    return _eight_bits(shown ** np.float32(rng.uniform(0.75, 1.35)), rng)


def grey_look(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Vary an image of 8 bits, or of unknown units: contrast, gamma, noise."""
    low, high = float(values.min()), float(np.quantile(values, rng.uniform(0.985, 1.0)))
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1) ** np.float32(rng.uniform(0.65, 1.5))
    return _grainy(scaled, rng.uniform(0.0, 0.05), rng)


def mr_look(
    values: NDArray[np.float32], label: str, rng: np.random.Generator, family: str | None = None
) -> NDArray[np.float32]:
    """Vary an MR image: coil fall-off, gamma, echo-planar sequence, Rician noise, saturation, 8 bits.

    `family` is the sequence of a drawn image; real ones are made to look like diffusion now and then.
    """
    high = float(np.quantile(values, rng.uniform(0.985, 1.0)))
    scaled = np.clip(values / max(high, 1e-6), 0, 1.5)
    rows, columns = scaled.shape
    if rng.random() < 0.5:
        v = np.linspace(-1, 1, rows)[:, None] - rng.uniform(-1, 1)
        u = np.linspace(-1, 1, columns)[None, :] - rng.uniform(-1, 1)
        fall = np.exp(-rng.uniform(0.1, 0.9) * (u * u + v * v))
        scaled = scaled * (fall / fall.max()).astype(np.float32)
    scaled = scaled ** np.float32(rng.uniform(0.6, 1.5))
    if rng.random() < TONES_SHARE:
        scaled = _other_tones(scaled, rng)
    if rng.random() < 0.15:
        scaled = _ghosts(scaled, rng)
    if rng.random() < 0.2:
        scaled = _rings(scaled, rng)
    if rng.random() < 0.6:
        sigma = np.exp(rng.uniform(np.log(0.004), np.log(0.08)))
        noise = rng.normal(0, sigma, (2, rows, columns)).astype(np.float32)
        scaled = np.hypot(scaled + noise[0], noise[1])
    others = PLANAR_SHARE * SELDOM.get(label, 1.0)
    if rng.random() < (0.9 if family in PLANAR else others):
        scaled = echo_planar(scaled, rng, family == "adc" or (family != "dwi" and rng.random() < 0.6))
    return _eight_bits(np.clip(scaled, 0, 1), rng) if rng.random() < 0.4 else scaled


def _other_tones(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Give each tone another one, neighbouring tones similar ones; what is dark as air stays so.

    Source: Zhou et al., Models Genesis, Med Image Anal 67:101840 (2021), non-linear transformation.
    """
    known = np.array([0.0, 0.06, 0.3, 0.5, 0.75, 1.0, 1.5])
    given = np.concatenate([[0.0, rng.uniform(0.02, 0.15)], rng.uniform(0.05, 1.0, 5)])
    return np.asarray(np.interp(values, known, given), np.float32)


def _ghosts(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Add faint copies along one axis, as breathing, pulsing and swallowing leave along the phase."""
    axis = int(rng.integers(2))
    step = int(values.shape[axis] * rng.uniform(0.15, 0.5))
    faint = np.float32(rng.uniform(0.04, 0.18))
    return values + faint * (np.roll(values, step, axis) + np.roll(values, -step, axis))


def _rings(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Leave out the highest frequencies at once: the rings of Gibbs beside sharp borders."""
    spectrum = np.fft.fftshift(np.fft.fft2(values))
    for axis, length in enumerate(values.shape):
        kept = rng.uniform(0.35, 0.9)
        outside = np.abs(np.arange(length) - length // 2) > kept * length / 2
        spectrum[(outside, slice(None)) if axis == 0 else (slice(None), outside)] = 0
    return np.asarray(np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))), np.float32)


def soften(
    values: NDArray[np.float32], rng: np.random.Generator, strong: bool = False
) -> NDArray[np.float32]:
    """Lower the resolution now and then: a coarse matrix, or a smooth kernel; `strong` as PET-CT does."""
    kind = rng.random()
    if strong and kind > 0.7:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(1.0, 3.0)), np.float32)
    if kind < 0.15:
        rows, columns = values.shape
        factor = rng.uniform(1.5, 3.0)
        small = cv2.resize(values, (max(8, int(columns / factor)), max(8, int(rows / factor))))
        return np.asarray(cv2.resize(small, (columns, rows)), np.float32)
    return (
        np.asarray(cv2.GaussianBlur(values, (0, 0), rng.uniform(0.4, 1.2)), np.float32)
        if kind < 0.35
        else values
    )


def _eight_bits(shown: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    levels = 255.0 if rng.random() < 0.8 else 63.0
    return np.asarray(np.round(shown * levels) / levels, np.float32)


def _grainy(values: NDArray[np.float32], sigma: float, rng: np.random.Generator) -> NDArray[np.float32]:
    return values + rng.normal(0, sigma, values.shape).astype(np.float32)


def _circle(values: NDArray[np.float32], outside: float, rng: np.random.Generator) -> NDArray[np.float32]:
    rows, columns = values.shape
    v, u = np.ogrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    return np.where(u * u + v * v > rng.uniform(0.9, 1.2) ** 2, np.float32(outside), values)
