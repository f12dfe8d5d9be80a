"""The worker process: read, classify, decide, record. TensorFlow and the pixel decoders live only here."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from db.records import ImageResult, Outcome, Route
from db.results import record_outcome
from db.series import facts, known_paths, paths
from db.session import Database, open_migrated
from model.classify import Classifier
from model.frames import read_headers
from model.gate import reason
from model.geometry import centre_z_mm, normal, order, places_mm, plane
from model.prediction import Prediction
from model.radiographs import MODALITIES, model_of
from model.read import ImageHeader, NotDicomError
from model.standing import reach_mm
from node import correcting, films, site, version
from node import log as logs
from node.ahead import Decoders, default_processes
from node.clock import utc_now
from node.confine import confine
from node.early import Early, Enough, Looked, Resting, until_enough
from node.facts import of_series
from node.frames import by_instance
from node.glance import Artist, Look, ignore
from node.looking import Looking
from node.relabelling import reporting
from node.relabelling.coercion import KEEP, Incoming, Term, action_for, remarks
from node.relabelling.relabel import read_incoming
from node.settings.config import Config
from node.storage.spool import Spool
from node.votes import votes
from node.wholes import onlooker
from rules.decide import decide
from rules.description import text_remarks
from rules.site import Facts
from rules.verdict import Evidence, Verdict, Vote

log = structlog.get_logger()

_SIGN_OF_LIFE_S: Final = 1.0

Alive = Callable[[], None]
Along = NDArray[np.float64]
Results = list[tuple[ImageHeader, ImageResult]]
"""What was found, image by image and frame by frame."""


@dataclass(frozen=True)
class Tools:
    """What series are classified with; `alive` is called as the work goes on.

    `decoders` decode ahead of the network; without them this process does. `early` is what was seen of series
    before they were complete.
    """

    config: Config
    database: Database
    spool: Spool
    classifier: Classifier
    alive: Alive
    decoders: Decoders | None = None
    early: Early = field(default_factory=Early)


def main(connection: Connection, config: Config) -> None:
    """Classify the series whose numbers arrive over `connection`, and look at resting ones, until it closes.

    Sends "ready" once, "alive" while it works, then "" for success or one sentence of what went wrong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the node decides
    logs.configure(config.log)
    limit = config.classify.maximum_memory
    confine(None if limit is None else int(limit))
    decoders = decoders_of(config)
    database = open_migrated(config.database.url, config.dispatch == "celery")
    spool = Spool(config.spool.folder, int(config.spool.minimum_free))
    tools = Tools(config, database, spool, networks(config), _pulse(connection), decoders)
    try:
        connection.send("ready")
    except BrokenPipeError:
        return  # the node was killed meanwhile
    while True:
        try:
            work: int | str | Resting = connection.recv()
        except (EOFError, OSError):
            return
        try:
            if isinstance(work, Resting):
                look_early(work, replace(tools, alive=until_enough(connection, tools.alive)))
            elif isinstance(work, int):
                classify_series(work, tools)
            else:
                continue  # ENOUGH, which a look ends by and leaves to be read, or which came too late
            connection.send("")
        except BrokenPipeError:
            return  # the node is gone; the next one does this series again
        except Exception as error:
            named = work.key.series_instance_uid if isinstance(work, Resting) else work
            log.exception("a series could not be classified", series=named)
            connection.send(f"{type(error).__name__}: {error}")


def networks(config: Config) -> Classifier:
    """Load the networks; those that `preload` names are compiled now, the others when first needed."""
    classify = config.classify
    loaded = Classifier.load(config.weights(), config.engine())
    for name in classify.preload:
        loaded.runtime(name)
    return loaded


def decoders_of(config: Config) -> Decoders:
    """Return the processes that decode for one worker; they are started when they are needed."""
    wanted, limit = config.classify.decoders, config.classify.maximum_memory
    processes = default_processes(config.classify.workers) if wanted is None else wanted
    return Decoders(processes, None if limit is None else int(limit))


def classify_series(series_id: int, tools: Tools) -> bool:
    """Classify a stable series and record the outcome; False if somebody else did it before.

    May be run any number of times, here or on another machine that sees the same spool and database.
    """
    config, database, spool = tools.config, tools.database, tools.spool
    with database.reading() as session:
        stored, known = paths(session, series_id), site.facts_of(facts(session, series_id))
    seen = tools.early.take(stored, known)
    looked = seen or _looked(stored, known, tools, series_id)
    headers = looked.headers
    rule = looked.rule or site.deciding(config, known, looked.outcome.verdict)
    outcome = site.applied(rule, replace(looked.outcome, images=(*looked.outcome.images, *looked.unreadable)))
    incoming = _incoming(headers, config, tools.alive)
    ruled = rule is not None and rule.term is not None
    texts = () if ruled else (known.series_description, known.study_description)
    outcome = _flagged(outcome, incoming, texts)
    with database.reading() as session:
        inherited = correcting.inherited(session, series_id, outcome)
    term = _term(outcome.verdict) if inherited is None else correcting.term_of(inherited)
    routes = [
        Route(each.name, KEEP if site.keeps(rule) else action_for(each, incoming, term, config.relabel))
        for each in site.destinations(config, rule, known, site.found(outcome.verdict))
    ]
    now = utc_now()
    prepared = reporting.prepare(headers, outcome, routes, config, spool, now)
    with database.session() as session:
        recorded = record_outcome(session, series_id, outcome, routes, now, inherited)
        if recorded and prepared is not None:
            reporting.record(session, prepared, now)
    if recorded and looked.artist is not None:
        # Only now: whatever happens to the picture, the series has its outcome.
        looked.artist.finish(headers, outcome.images, spool, stored)
    _tell(series_id, outcome, len(stored), seen is not None)
    return recorded


def look_early(resting: Resting, tools: Tools) -> None:
    """Look at a series that is not complete yet, and keep what is seen; nothing is recorded."""
    key = resting.key
    with tools.database.reading() as session:
        if known_paths(session, key.study_instance_uid, key.series_instance_uid):
            return  # it was complete before, and what comes late changes no verdict
    known = site.facts_of(of_series(tools.spool, key, resting.paths[0]))
    try:
        tools.early.keep(_looked(resting.paths, known, tools))
    except Enough:
        return
    log.info("series looked at early", series_instance_uid=key.series_instance_uid, images=len(resting.paths))


def _looked(stored: tuple[str, ...], known: Facts, tools: Tools, series_id: int | None = None) -> Looked:
    """Look at the files of a series, unless a site rule says not to; others vote once it has its number."""
    config = tools.config
    headers, unreadable = _read_headers(tools.spool, stored, tools.alive)
    rule = site.skipping(config, known)
    if rule is not None:
        return Looked(stored, known, rule, headers, unreadable, site.skipped(rule, headers), None)
    said: tuple[Vote, ...] = ()
    if series_id is not None:
        with tools.database.reading() as session:
            said = votes(session, tools.spool, config, series_id, headers)
    artist = Artist(tools.alive) if config.web.enabled else None
    look = artist.look if artist else ignore
    outcome = classify(headers, config, tools.classifier, tools.alive, said, look, tools.decoders)
    return Looked(stored, known, None, headers, unreadable, outcome, artist)


def _tell(series_id: int, outcome: Outcome, images: int, early: bool) -> None:
    term, why = outcome.verdict.term if outcome.verdict else None, outcome.reason
    log.info("series classified", series_id=series_id, term=term, reason=why, images=images, early=early)


def _flagged(outcome: Outcome, incoming: Incoming, texts: tuple[str, ...]) -> Outcome:
    """Add what a reviewer should know of the received tags and descriptions."""
    if outcome.verdict is None:
        return outcome
    term = _term(outcome.verdict)
    told = text_remarks(texts, None if term is None else term.term, incoming.lateralities)
    flags = (*outcome.verdict.flags, *remarks(incoming, term), *told)
    return replace(outcome, verdict=replace(outcome.verdict, flags=flags))


def classify(
    headers: Sequence[ImageHeader],
    config: Config,
    classifier: Classifier,
    alive: Alive,
    said: tuple[Vote, ...] = (),
    look: Look = ignore,
    decoders: Decoders | None = None,
) -> Outcome:
    """Say what the images of one series show; `alive` is called as the work goes on.

    `said` is what other series of the same Frame of Reference show; `look` is shown each decoded image.
    """
    results: Results = []
    candidates = _candidates(headers, classifier, results)
    whole = onlooker(headers, config, alive)
    looking = Looking(classifier, alive, whole.beside(look), decoders, config.classify.every_mm)
    kept = looking.kept
    verdict: Verdict | None = None
    digest: str | None = None
    runtime = ""
    modality = candidates[0].modality if candidates else ""
    if modality in MODALITIES:
        prediction = looking.films(modality, candidates)
        digest, runtime = prediction.weights_digest, prediction.runtime
        results += _undecodable(looking)
        if kept:
            verdict = films.verdict(prediction, config)
            results += films.results(kept, verdict)
    elif candidates:
        positions = places_mm(candidates)
        places = {_slot(header): position for header, position in zip(candidates, positions, strict=True)}
        sequence = order(positions)
        prediction = looking.stack([candidates[index] for index in sequence], positions[sequence])
        digest, runtime = prediction.weights_digest, prediction.runtime
        results += _undecodable(looking)
    whole.finish()
    if kept and verdict is None:
        # The positions before decoding: without the images left out the common normal would be another.
        along = np.array([places[_slot(header)] for header in kept])
        evidence = whole.weighed(_evidence(prediction, along, kept, said), kept)
        verdict = decide(evidence, config.rules, config.classify.minimum_confidence)
        results += _classified(kept, along, verdict)
    images = by_instance(results)
    software = " ".join(filter(None, (version.VERSION, runtime)))
    why = None if verdict else _why_none(images)
    return whole.told(Outcome(verdict, images, why, digest, software), config)


def _undecodable(looking: Looking) -> Results:
    return [(header, _passed_on(header, why)) for header, why in looking.undecodable]


def _candidates(
    headers: Sequence[ImageHeader], classifier: Classifier, results: Results
) -> list[ImageHeader]:
    """Return the images that one model is to see; the reasons of the others go to the results."""
    candidates: list[ImageHeader] = []
    for header in headers:
        why = reason(header)
        if why is None and classifier.network_for(header) is None:
            why = f"{plane(header.orientation)} plane"
        if why is None and candidates and model_of(header.modality) != model_of(candidates[0].modality):
            why = f"{header.modality} within a series of {candidates[0].modality}"
        if why is None:
            candidates.append(header)
        else:
            results.append((header, _passed_on(header, why)))
    return candidates


def _evidence(
    prediction: Prediction, along: Along, headers: Sequence[ImageHeader], said: tuple[Vote, ...]
) -> Evidence:
    """Put the network's outputs and the geometry together for the rules."""
    return Evidence(
        classes=prediction.classes,
        probabilities=prediction.probabilities,
        positions_mm=along,
        normals=np.array([normal(header.orientation) for header in headers], np.float64),
        heights_mm=np.array([reach_mm(header) for header in headers], np.float64),
        energy=prediction.energy,
        maximum_energy=prediction.maximum_energy,
        votes=said,
    )


def _classified(
    headers: Sequence[ImageHeader],
    positions: Along,
    verdict: Verdict,
) -> Results:
    return [
        (header, _result(header, region, confidence, float(position)))
        for header, position, region, confidence in zip(
            headers, positions, verdict.regions, verdict.confidences, strict=True
        )
    ]


def _result(header: ImageHeader, region: str, confidence: float, position: float) -> ImageResult:
    """Return what an image shows; its height is that of its middle, where it lies across the body."""
    across = header.position is not None and plane(header.orientation) == "axial"
    height = centre_z_mm(header) if across else None
    return ImageResult(header.sop_instance_uid, region, confidence, position, None, z_mm=height)


def _slot(header: ImageHeader) -> tuple[Path, int]:
    """Name an image, or a frame, among those of its series."""
    return header.path, -1 if header.frame is None else header.frame.index


def _passed_on(header: ImageHeader, why: str) -> ImageResult:
    return ImageResult(header.sop_instance_uid, None, None, None, why)


def _why_none(images: Sequence[ImageResult]) -> str:
    reasons = sorted({image.reason for image in images if image.reason})
    return "; ".join(reasons[:3]) + ("; ..." if len(reasons) > 3 else "")


def _read_headers(
    spool: Spool, stored: Sequence[str], alive: Alive
) -> tuple[list[ImageHeader], list[ImageResult]]:
    headers: list[ImageHeader] = []
    unreadable: list[ImageResult] = []
    for relative in stored:
        alive()
        try:
            headers.extend(read_headers(spool.path(relative)))
        except NotDicomError as error:
            uid = relative.rsplit("/", 1)[-1].removesuffix(".dcm")
            unreadable.append(ImageResult(uid, None, None, None, str(error)))
    return headers, unreadable


def _incoming(headers: Sequence[ImageHeader], config: Config, alive: Alive) -> Incoming:
    body_parts: set[str] = set()
    lateralities: set[str] = set()
    codes: set[str] = set()
    for header in {header.path: header for header in headers}.values():
        alive()
        one = read_incoming(
            header.path, header.transfer_syntax_uid, int(config.receive.maximum_inflated_bytes)
        )
        body_parts |= one.body_parts
        lateralities |= one.lateralities
        codes |= one.codes
    return Incoming(frozenset(body_parts), frozenset(lateralities), frozenset(codes))


def _term(verdict: Verdict | None) -> Term | None:
    if verdict is None or verdict.term is None:
        return None
    return Term(verdict.term, verdict.paired, verdict.confidence)


def _pulse(connection: Connection) -> Alive:
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        if time.monotonic() - last >= _SIGN_OF_LIFE_S:
            connection.send("alive")
            last = time.monotonic()

    return alive
