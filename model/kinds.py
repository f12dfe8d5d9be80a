"""Kinds of series that are no plain pictures of anatomy: the words by which vendors and users name them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One kind: the gate's reason, values of Image Type (0008,0008), and words of the series' names.

    Words are regular expressions over lower-case ASCII words with single blanks between them; each
    has to match from the start of a word to the end of one.
    """

    reason: str
    image_types: frozenset[str]
    words: tuple[str, ...]


LOCALIZER: Final = Kind(
    "localizer",
    frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"}),
    (
        r"[a-z0-9]*(?:locali[sz]er|lokali[sz](?:er|ator))s?", r"loc", r"(?:aa ?(?:head)?)?scouts?",
        r"topo(?:gram(?:me|ma)?s?)?", r"scano(?:gram(?:me|ma)?s?|graphy)?", r"surviews?",
        # "Survey" is Philips' localizer; a bone survey is a study of the skeleton.
        r"(?<!bone )(?<!skeletal )(?<!myeloma )survey",
        r"localizador(?:es)?", r"localizzator[ei]", r"localisateurs?", r"reperage", r"planscan", r"plan scan",
        r"(?:3|three|tri) ?(?:pl|planes?) ?(?:locs?)?",
    ),
)  # fmt: skip
CALIBRATION: Final = Kind(
    "calibration or quality control",
    frozenset({"CALIBRATION", "QC", "B0 MAP", "B1 MAP", "SENSITIVITY MAP", "REFERENCE SCAN"}),
    (
        r"calibration", r"(?:asset|pure|arc) cal", r"cal(?:ib)? ?scan", r"sense ?ref(?:scan)?", r"ref ?scan",
        r"(?:sense|coil) ?(?:ref|check|survey)", r"prescan", r"shim(?:ming)?", r"b[01] ?map(?:ping|s)?",
        r"field ?map(?:ping|s)?", r"adjustments?", r"noise scan", r"phantom", r"q[ac]",
        r"quality (?:control|assurance)",
    ),
)  # fmt: skip
PERFUSION: Final = Kind(
    "perfusion map",
    frozenset(
        {
            "CBF", "RCBF", "RELCBF", "CBV", "RCBV", "RELCBV", "RCBVCORR", "MTT", "RMTT", "RELMTT", "TTP",
            "TMAX", "TTD", "PBP", "PERFUSION MAP", "KTRANS", "KEP", "IAUC",
        }
    ),
    (
        r"r?(?:el)?cb[fv](?: ?corr)?", r"r?(?:el)?mtt", r"ttp", r"tmax", r"perf(?:usion)? ?maps?", r"ktrans",
        r"kep", r"iauc",
    ),
)  # fmt: skip
RECONSTRUCTION: Final = Kind(
    "3D reconstruction",
    frozenset(
        {
            "VRT", "VR", "VOLREN", "VOLUME RENDERING", "VOLUME_RENDERING", "VOLUME RENDERED", "SSD",
            "SURFACE RENDERING", "3D RENDERING", "3D RECON", "CSA 3D EDITOR", "PROJECTION IMAGE", "CPR",
            "CURVED", "CSA CURVED",
        }
    ),
    (
        r"vrt", r"ssd", r"vol(?:ume)? rend(?:er(?:ing|ed)?)?",
        r"3d (?:recon(?:struction)?s?|vr|model|rendering)",
        r"cpr", r"curved (?:mpr|reformat)s?", r"(?:rot(?:at(?:ing|ion))?|radial|collapsed?) mips?",
        r"mips? (?:rot(?:at(?:ing|ion))?|radial|collapsed?)",
    ),
)  # fmt: skip
CAPTURE: Final = Kind(
    "secondary capture",
    frozenset({"SCREEN SAVE", "SCREENSAVE", "SCREENSHOT", "SCREEN CAPTURE", "DOSE REPORT", "DOSE_INFO"}),
    (
        r"screen ?(?:save|shot|capture)s?", r"dose (?:report|info|record|sheet|page)", r"patient protocol",
        r"exam protocol",
    ),
)  # fmt: skip
CAD: Final = Kind(
    "CAD", frozenset({"CAD"}), (r"(?:i|lung|mammo|colon) ?cad", r"cad(?: (?:results?|marks?|findings?))?")
)
CINE: Final = Kind("cine", frozenset({"CINE"}), (r"cine[a-z0-9]*",))
FLOW: Final = Kind(
    "flow",
    frozenset({"FLOW", "VELOCITY", "VELOCITY MAP", "FLOW_ENCODED"}),
    (
        # Flow-compensated images are plain anatomy. v150in is Siemens' sequence name of a velocity encoding.
        r"q?flow(?! comp)", r"[24]d ?flow", r"venc ?[0-9]*", r"phase contrast", r"pc (?:cine|flow)",
        r"velocity", r"v[0-9]+(?:in|thru|rl|ap|fh)",
    ),
)  # fmt: skip
ELASTOGRAPHY: Final = Kind(
    "elastography",
    frozenset({"ELASTOGRAPHY", "STIFFNESS", "WAVE"}),
    # Not a bare "MRE": to most users that is MR enterography.
    (
        r"elasto[a-z]*",
        r"[a-z0-9]*stiffness",
        r"(?:epi|gre|se) mre",
        r"mre (?:wave|mag|phase|raw)s?",
        r"wave images?",
    ),
)

KINDS: Final[tuple[Kind, ...]] = (
    LOCALIZER, CALIBRATION, PERFUSION, RECONSTRUCTION, CAPTURE, CAD, CINE, FLOW, ELASTOGRAPHY,
)  # fmt: skip
"""In the order in which the gate asks for them."""
