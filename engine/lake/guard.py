"""The topic compared with what has landed: is it still the one, does it still hold the rest.

Kafka gives other records under the same offsets when a topic is made again, and forgets records when their
time is over. Spark sees neither. Both stop the flow with the exact range; a person may accept the loss.

Rule: asked before a batch is planned or completed, and the id again after it was read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.errors import EcluseError, OffsetsGone, TopicReplaced, TopicUnreachable
from engine.lake import answer, landed, ranges
from engine.lake.answer import Answer
from engine.lake.commits import Commit
from engine.lake.desk import Desk, Standing
from engine.lake.ranges import Loss
from engine.plan import FlowPlan

Bounds = Mapping[int, tuple[int, int]]
"""Per partition, the first offset that is still there and the next one to be written."""


def check(desk: Desk, standing: Standing, answers: Sequence[Answer]) -> None:
    """Compare the topic's id and its bounds with where the flow stands."""
    flow = standing.flow
    found = _id(desk, flow)
    if found is None and not standing.topic_id:
        raise TopicUnreachable("the topic does not exist yet", where=flow.topic.name)
    if found is None:
        raise _went(standing)
    bounds = _bounds(desk, flow)
    if standing.topic_id and found != standing.topic_id:
        take(standing, answers, _another(standing, found))
        _begin_again(desk, standing, bounds)
    standing.topic_id = found
    silent = sorted(standing.offsets.keys() - bounds.keys())
    if silent:  # a topic never has fewer partitions than it had: no answer is no end at 0
        raise TopicUnreachable(f"partition {silent[0]} does not tell its offsets", where=flow.topic.name)
    back = ranges.rewound(standing.offsets, _latest(bounds))
    if back:
        take(standing, answers, _shorter(standing, back[0]))
        _begin_again(desk, standing, bounds)
    lost = ranges.losses(standing.offsets, {p: first for p, (first, _) in bounds.items()})
    if lost:
        take(standing, answers, _gone(flow, lost, "which have not landed"))
        standing.offsets |= {loss.partition: loss.end for loss in lost}


def readable(desk: Desk, standing: Standing, commit: Commit, answers: Sequence[Answer]) -> bool:
    """Whether the topic still holds what a commit has landed; False when a person has accepted that not.

    Asked before the batch of that commit is counted from the topic.
    """
    flow = standing.flow
    found, since = _id(desk, flow), f", and batch {commit.seq}, which has landed, is not counted"
    if found is None:
        raise _went(standing, since)
    if found != standing.topic_id:
        # a record of the new topic may have been read as one of the old: the table is asked (``landed``)
        take(standing, answers, _another(standing, found, since))
        return False
    bounds = {p: bounds for p, bounds in _bounds(desk, flow).items() if p in commit.span}
    silent = sorted(commit.span.keys() - bounds.keys())
    if silent:
        raise TopicUnreachable(f"partition {silent[0]} does not tell its offsets", where=flow.topic.name)
    back = ranges.rewound({p: end for p, (_, end) in commit.span.items()}, _latest(bounds))
    if back:
        take(standing, answers, _shorter(standing, back[0]))
        return False
    first = {p: min(bounds[p][0], end) for p, (_, end) in commit.span.items()}
    lost = ranges.losses({p: start for p, (start, _) in commit.span.items()}, first)
    if lost:
        which = f"which batch {commit.seq} has landed and nobody has counted"
        take(standing, answers, _gone(flow, lost, which))
    return not lost


def _begin_again(desk: Desk, standing: Standing, bounds: Bounds) -> None:
    """Read from the topic's beginning: how high its partitions stand says nothing any more."""
    standing.offsets = {p: first for p, (first, _) in bounds.items()}
    standing.waters, standing.doubt = {}, landed.top(desk.session, desk.root, standing.flow)


def _latest(bounds: Bounds) -> dict[int, int]:
    return {p: latest for p, (_, latest) in bounds.items()}


def take(standing: Standing, answers: Sequence[Answer], error: EcluseError | None) -> None:
    """Go on by a person's answer to exactly this; raise what nobody has answered."""
    if error is None:
        return
    accepted = answer.find(answers, error)
    if accepted is None:
        raise error
    if accepted not in standing.taken:
        standing.taken.append(accepted)


def same_topic(desk: Desk, standing: Standing) -> None:
    """The topic's id again, after the batch has read it."""
    found = _id(desk, standing.flow)
    if found is not None and found != standing.topic_id:
        raise _another(standing, found, ", since this batch began")


def _id(desk: Desk, flow: FlowPlan) -> str | None:
    return desk.topics.topic_ids([flow.topic.name]).get(flow.topic.name)


def _bounds(desk: Desk, flow: FlowPlan) -> Bounds:
    return desk.topics.offsets([flow.topic.name]).get(flow.topic.name, {})


def _gone(flow: FlowPlan, lost: Sequence[Loss], which: str) -> OffsetsGone:
    spans = ", ".join(f"partition {x.partition} offsets [{x.first}, {x.end})" for x in lost)
    return OffsetsGone(
        f"the topic no longer holds {spans}, {which}",
        where=f"{flow.name}, {flow.topic.name} {spans}",
        hint=f"ecluse resolve {flow.name} --accept-gap goes on behind the loss",
    )


def _another(standing: Standing, id_: str, since: str = "") -> TopicReplaced:
    return _replaced(standing, f"now id {id_}", f"is another one now (id {id_}){since}")


def _shorter(standing: Standing, partition: int) -> TopicReplaced:
    place = f"shorter than what has landed: partition {partition} up to {standing.offsets[partition]}"
    return _replaced(standing, place, f"is {place}")


def _replaced(standing: Standing, place: str, what: str) -> TopicReplaced:
    """``place`` says which topic took its place: an answer is for that one."""
    name = standing.flow.name
    hint = f"ecluse resolve {name} --accept-gap reads the new topic from its beginning"
    return _lost(standing, place, what, hint)


def _went(standing: Standing, since: str = "") -> TopicReplaced:
    """Nothing took its place: there is nothing to read that an answer could be for."""
    capture = standing.flow.connection
    hint = f"ecluse run capture {capture} makes the topic again; the flow then asks about the new one"
    return _lost(standing, "gone", f"is gone{since}", hint)


def _lost(standing: Standing, place: str, what: str, hint: str) -> TopicReplaced:
    flow = standing.flow
    return TopicReplaced(
        f"the topic {flow.topic.name} (id {standing.topic_id}) {what}",
        where=f"{flow.name}, {flow.topic.name} id {standing.topic_id}, {place}",
        hint=hint,
    )
