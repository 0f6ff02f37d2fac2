"""Rows put together: a table that was taken apart is itself again, and anything else is copied."""

from __future__ import annotations

import torch

from vllm_flow.engines.transformers.tables import together


def test_the_rows_of_a_table_are_that_table() -> None:
    table = torch.rand(5, 7)
    for start, end in ((0, 5), (1, 4), (2, 3)):
        found = together([one[-1] for one in torch.split(table[start:end], 1)])
        assert torch.equal(found, table[start:end])
        assert found.data_ptr() == table[start:end].data_ptr()


def test_rows_that_do_not_lie_side_by_side_are_copied_in_their_order() -> None:
    table, other = torch.rand(4, 3), torch.rand(1, 3)
    for rows in (
        [table[2], table[1]],
        [table[0], table[2]],
        [table[1], table[1]],
        [table[0], other[0]],
        [table.T[0], table.T[1]],
    ):
        found = together(rows)
        assert torch.equal(found, torch.stack(rows))
        found.zero_()
        assert bool(rows[0].any()), "the rows are as they were"
