import pytest

from finetune_trainer.stages.order import GlobalBatches, Order, Split, WithBlank


def steps(*, rows: int, batch_size: int, ranks: int, accumulate: int, epoch: int = 0) -> list[set[int]]:
    """The rows of each step, over all ranks; blanks left out."""
    order = Order(seed=3)
    splits = [Split(batch_size=batch_size, rank=rank, ranks=ranks) for rank in range(ranks)]
    shares = [split.batches(order.of_epoch(epoch, rows), blank=rows) for split in splits]
    assert len({len(share) for share in shares}) == 1, "a rank with fewer batches would leave the others waiting"
    found = []
    for start in range(0, len(shares[0]), accumulate):
        micro = [row for share in shares for batch in share[start : start + accumulate] for row in batch]
        real = [row for row in micro if row < rows]
        assert len(real) == len(set(real))
        found.append(set(real))
    return found


def test_a_step_has_the_same_rows_however_it_is_split() -> None:
    for rows in (8, 16, 21, 22, 150):
        expected = steps(rows=rows, batch_size=8, ranks=1, accumulate=1)
        for batch_size, ranks, accumulate in [(1, 1, 8), (4, 2, 1), (2, 2, 2), (1, 8, 1), (1, 4, 2)]:
            assert steps(rows=rows, batch_size=batch_size, ranks=ranks, accumulate=accumulate) == expected


def test_an_epoch_has_every_row_once() -> None:
    for epoch in (0, 1):
        assert set().union(*steps(rows=21, batch_size=2, ranks=3, accumulate=1, epoch=epoch)) == set(range(21))
    assert Order(seed=3).of_epoch(0, 21) != Order(seed=3).of_epoch(1, 21)


@pytest.mark.shows("dataloader_drop_last")
def test_drop_last_leaves_out_what_does_not_fill_a_batch_on_every_rank() -> None:
    split = Split(batch_size=2, rank=1, ranks=2, drop_last=True)
    assert split.batches(range(11), blank=11) == [[2, 3], [6, 7]]


@pytest.mark.shows("disable_shuffling")
def test_disabled_shuffling_keeps_the_order() -> None:
    assert Order(seed=1, shuffle=False).of_epoch(5, 4) == [0, 1, 2, 3]


@pytest.mark.shows("group_by_length", "train_sampling_strategy")
def test_grouping_by_length_puts_like_beside_like_and_the_longest_first() -> None:
    lengths = [index % 40 for index in range(400)]
    order = Order(seed=0, lengths=lengths, global_batch=4).of_epoch(0, 400)
    assert sorted(order) == list(range(400))
    assert lengths[order[0]] == 39
    spread = [max(lengths[row] for row in batch) - min(lengths[row] for row in batch) for batch in _batches(order)]
    assert sum(spread) / len(spread) < 3


def test_a_blank_row_is_a_real_row_that_teaches_nothing() -> None:
    rows = WithBlank([{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}])
    assert len(rows) == 1
    assert rows[1] == {"input_ids": [1, 2, 3], "labels": [-100, -100, -100], "weight": 0}


def test_the_sampler_yields_its_epoch_and_knows_its_length() -> None:
    batches = GlobalBatches(21, Order(seed=3), Split(batch_size=2, rank=1, ranks=2))
    assert len(list(batches)) == len(batches) == 6
    first = list(batches)
    batches.epoch = 1
    assert list(batches) != first


def _batches(order: list[int]) -> list[list[int]]:
    return [order[start : start + 4] for start in range(0, len(order), 4)]
