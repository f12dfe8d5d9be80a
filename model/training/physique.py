"""Other people out of the same anatomy: fat thicker or thinner, muscles smaller and streaked with fat.

Works on one cut through a body, an array of tissue classes (rows, columns): three anatomies are few, and
what differs most between people in a cut is how much lies between skin and bone.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

SKIN, FAT, MUSCLE, VESSEL, TENDON = 1, 2, 3, 17, 29
Cut = NDArray[np.uint8]


def another(cut: Cut, spacing_mm: float, rng: np.random.Generator) -> Cut:
    """Return the cut of another person, most of the time; air outside stays class 0."""
    if rng.random() < 0.6:
        cut = parted(cut, spacing_mm, rng)
    if rng.random() < 0.25:
        cut = stronger(cut, rng.uniform(1.0, 8.0) / spacing_mm)
    elif rng.random() < 0.35:
        cut = wasted(cut, rng.uniform(1.0, 8.0) / spacing_mm, rng)
    if rng.random() < 0.6:
        change = rng.uniform(-12.0, 25.0) / spacing_mm
        cut = fatter(cut, change) if change > 0 else thinner(cut, -change)
    return cut


def finer(cut: Cut, times: int) -> Cut:
    """Return the cut in voxels so many times smaller, (times rows, times columns), without its steps."""
    large = np.repeat(np.repeat(cut, times, axis=0), times, axis=1)
    # the median is one of the classes around, never one between them
    return np.asarray(cv2.medianBlur(large, 2 * times + 1), np.uint8)


def supplied(cut: Cut, spacing_mm: float, rng: np.random.Generator) -> Cut:
    """Return the cut with arteries, veins and tendons among its fat and muscles, which the anatomies lack."""
    soft = np.argwhere((cut == MUSCLE) | (cut == FAT))
    if not len(soft):
        return cut
    drawn = np.zeros(cut.shape, np.uint8)
    for _ in range(int(rng.integers(4, 26))):
        y, x = soft[int(rng.integers(len(soft)))]
        radius = np.exp(rng.uniform(np.log(0.8), np.log(4.5))) / spacing_mm
        axes = (max(1, round(radius)), max(1, round(radius * rng.uniform(0.5, 1.0))))
        tissue = VESSEL if rng.random() < 0.75 else TENDON
        cv2.ellipse(drawn, (int(x), int(y)), axes, float(rng.uniform(0, 180)), 0, 360, tissue, -1)
    return np.where((drawn > 0) & ((cut == MUSCLE) | (cut == FAT)), drawn, cut)


def parted(cut: Cut, spacing_mm: float, rng: np.random.Generator) -> Cut:
    """Return the cut with thin, curved layers of fat or fascia between muscles, which the anatomies lack."""
    rows, columns = cut.shape
    lines = np.zeros(cut.shape, np.bool_)
    for _ in range(int(rng.integers(1, 4))):
        cells = rng.uniform(15.0, 40.0) / spacing_mm
        coarse = rng.normal(0, 1, (int(rows / cells) + 3, int(columns / cells) + 3)).astype(np.float32)
        field = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
        lines |= np.abs(field) < rng.uniform(0.3, 0.9) / cells
    layer = np.uint8(FAT if rng.random() < 0.8 else TENDON)
    return np.where(lines & (cut == MUSCLE), layer, cut)


def fatter(cut: Cut, pixels: float) -> Cut:
    """Return the cut with so much more fat under its skin; what does not fit into the array is cut off."""
    body = (cut > 0).astype(np.uint8)
    away = cv2.distanceTransform(1 - body, cv2.DIST_L2, 3)
    rim = max(1.0, 0.15 * pixels)
    grown = np.where((cut == 0) & (away <= pixels), np.uint8(FAT), cut)
    grown[(cut == 0) & (away > pixels) & (away <= pixels + rim)] = SKIN
    inner = (cut == SKIN) & (cv2.distanceTransform(body, cv2.DIST_L2, 3) <= rim + 2)
    grown[inner] = FAT
    return grown


def thinner(cut: Cut, pixels: float) -> Cut:
    """Return the cut without so much of its outermost fat; nothing but skin and fat is taken away."""
    depth = cv2.distanceTransform((cut > 0).astype(np.uint8), cv2.DIST_L2, 3)
    soft = (cut == SKIN) | (cut == FAT)
    shrunk = np.where(soft & (depth <= pixels), np.uint8(0), cut)
    left = cv2.distanceTransform((shrunk > 0).astype(np.uint8), cv2.DIST_L2, 3)
    shrunk[(left > 0) & (left <= 1.5) & (shrunk == FAT)] = SKIN
    return shrunk


def stronger(cut: Cut, pixels: float) -> Cut:
    """Return the cut with muscles thicker by so much, at the cost of the fat around and between them."""
    away = cv2.distanceTransform((cut != MUSCLE).astype(np.uint8), cv2.DIST_L2, 3)
    depth = cv2.distanceTransform((cut > 0).astype(np.uint8), cv2.DIST_L2, 3)
    return np.where((cut == FAT) & (away <= pixels) & (depth > 3.0), np.uint8(MUSCLE), cut)


def wasted(cut: Cut, pixels: float, rng: np.random.Generator) -> Cut:
    """Return the cut with muscles thinner at their surface and streaked with fat inside."""
    muscle = cut == MUSCLE
    depth = cv2.distanceTransform(muscle.astype(np.uint8), cv2.DIST_L2, 3)
    rows, columns = cut.shape
    coarse = rng.normal(0, 1, (max(2, rows // 4), max(2, columns // 4))).astype(np.float32)
    streaks = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)
    lost = (depth <= 0.5 * pixels * rng.uniform(0.2, 1.0)) | (streaks > rng.uniform(1.0, 2.0))
    return np.where(muscle & lost, np.uint8(FAT), cut)
