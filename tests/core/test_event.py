from core.event import Data, SmsReceived, kinds


def test_kinds_lists_each_type_of_event_once():
    """Mutant: only the direct subclasses of `Data`."""
    types = [kind.type for kind in kinds()]

    assert {"sms.received", "call.received", "rental.billed", "account.low"} <= {*types}
    assert len({*types}) == len(types)
    assert all(issubclass(kind, Data) for kind in kinds())


def test_kinds_of_a_type_are_its_narrower_types():
    assert [kind.type for kind in kinds(SmsReceived)] == ["call.received", "rental.billed"]
