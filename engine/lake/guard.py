"""The topic compared with what has landed: is it still the one, does it still hold the rest.

Kafka gives other records under the same offsets when a topic is made again, and forgets records when their
time is over. Spark sees neither. Both stop the flow with the exact range; a person may accept the loss.

Rule: asked before a batch is planned, and the id again after it was read.
"""

from __future__ import annotations

from engine.errors import OffsetsGone, TopicReplaced, TopicUnreachable
from engine.lake import ranges
from engine.lake.desk import Desk, Standing
from engine.plan import FlowPlan


def check(desk: Desk, standing: Standing, accepted: str) -> None:
    """Compare the topic's id and its bounds with where the flow stands."""
    flow = standing.flow
    found = _id(desk, flow)
    if found is None and not standing.topic_id:
        raise TopicUnreachable("the topic does not exist yet", where=flow.topic.name)
    if standing.topic_id and found != standing.topic_id:
        if found is None or accepted != TopicReplaced.code:
            raise _replaced(flow, standing, "gone" if found is None else f"another one now (id {found})")
        standing.offsets = {p: bounds[0] for p, bounds in _bounds(desk, flow).items()}
    standing.topic_id = found or standing.topic_id
    bounds = _bounds(desk, flow)
    silent = sorted(standing.offsets.keys() - bounds.keys())
    if silent:  # a topic never has fewer partitions than it had: no answer is no end at 0
        raise TopicUnreachable(f"partition {silent[0]} does not tell its offsets", where=flow.topic.name)
    back = ranges.rewound(standing.offsets, {p: latest for p, (_, latest) in bounds.items()})
    if back:
        raise _replaced(flow, standing, f"shorter than what has landed (partition {back[0]})")
    lost = ranges.losses(standing.offsets, {p: earliest for p, (earliest, _) in bounds.items()})
    if lost and accepted == OffsetsGone.code:
        standing.offsets |= {loss.partition: loss.end for loss in lost}
    elif lost:
        spans = ", ".join(f"partition {x.partition} offsets [{x.first}, {x.end})" for x in lost)
        raise OffsetsGone(
            f"the topic no longer holds {spans}, which have not landed",
            where=f"{flow.name}, {flow.topic.name}[{lost[0].partition}] offset {lost[0].first}",
            hint=f"ecluse resolve {flow.name} --accept-gap goes on behind the loss",
        )


def same_topic(desk: Desk, standing: Standing) -> None:
    """The topic's id again, after the batch has read it."""
    found = _id(desk, standing.flow)
    if found is not None and found != standing.topic_id:
        raise _replaced(standing.flow, standing, f"another one now (id {found}), since this batch began")


def _id(desk: Desk, flow: FlowPlan) -> str | None:
    return desk.topics.topic_ids([flow.topic.name]).get(flow.topic.name)


def _bounds(desk: Desk, flow: FlowPlan) -> dict[int, tuple[int, int]]:
    return dict(desk.topics.offsets([flow.topic.name]).get(flow.topic.name, {}))


def _replaced(flow: FlowPlan, standing: Standing, what: str) -> TopicReplaced:
    first = min(standing.offsets.items(), default=(0, 0))
    return TopicReplaced(
        f"the topic {flow.topic.name} (id {standing.topic_id}) is {what}",
        where=f"{flow.name}, {flow.topic.name}[{first[0]}] offset {first[1]}",
        hint=f"ecluse resolve {flow.name} --accept-gap reads the new topic from its beginning",
    )
