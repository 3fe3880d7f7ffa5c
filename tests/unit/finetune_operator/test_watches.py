"""When a watch may begin, and when it counts as dead."""

from finetune_operator.watches import CALM_SECONDS, LONGEST_PAUSE, Watches


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_watch_that_ends_in_its_time_is_begun_at_once() -> None:
    clock = HandClock()
    watches = Watches(600, clock=clock)
    for _ in range(5):
        assert watches.pause("/pods") == 0
        clock.now += CALM_SECONDS


def test_one_that_ends_at_once_is_begun_ever_more_seldom_and_ten_seconds_apart_in_the_end() -> None:
    clock = HandClock()
    watches = Watches(600, clock=clock)
    pauses = []
    for _ in range(60):
        pauses.append(watches.pause("/pods"))
        clock.now += pauses[-1]
    assert pauses[:4] == [0, 0.25, 0.5, 1]
    assert pauses[-1] == LONGEST_PAUSE
    assert watches.pause("/jobs") == 0, "each path has its own pace"
    clock.now += CALM_SECONDS
    assert watches.pause("/pods") == 0


def test_a_watch_that_nobody_begins_any_more_is_dead() -> None:
    clock = HandClock()
    watches = Watches(600, clock=clock)
    watches.pause("/pods")
    watches.pause("/jobs")
    clock.now = 590
    assert watches.dead is None
    watches.pause("/jobs")
    clock.now = 601
    assert watches.dead == "/pods"
