"""What the ledger tells those above it; costs itself knows none of them."""

from django.dispatch import Signal

# Sent as the last statement of the transaction that books, with `lines` (list[Line]) and `at`. Receivers work in sets,
# do no I/O, and take their locks in the order of their ids; an exception rolls the whole batch back.
lines_recorded = Signal()

# Sent after that transaction's commit, with the same arguments; only wakes detection.
events_recorded = Signal()

# Sent after outcomes are committed, with `touched` (list[tuple[persona_id, hour]], sorted, each once) and `at`. Web
# processes send it while a client waits: receivers only note what to look at again.
outcomes_recorded = Signal()
