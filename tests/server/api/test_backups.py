"""`POST /v1/backups`: a checked copy of the journal, in a file on the machine of the service."""

from journals import shell


async def test_backup_has_every_accepted_event(run, tmp_path):
    """Mutants: another file is written; the answer comes before the file is complete."""
    async with run(tmp_path) as service:
        await service.sms()
        answer = await service.ask("/v1/backups", method="POST", json={"path": "copies.db"})

    assert answer.status_code == 201, answer.text
    path = tmp_path / "copies.db"
    made = answer.json()
    assert (made["path"], made["bytes"], made["events"]) == (str(path), path.stat().st_size, 1)
    with shell(path) as conn:
        assert conn.execute("select count(*) from events").fetchone() == (1,)


async def test_unusable_path_is_refused(run, tmp_path):
    """Mutants: a file that is no backup is replaced; an error of the disk is an internal error.

    Mutant: `if "\\0" in str(target)` removed.
    """
    names = "notes.txt", "missing/folder/copy.db", "smshook.db", "a\0b"
    other = tmp_path / "notes.txt"
    other.write_text("to keep")
    async with run(tmp_path) as service:
        answers = [
            await service.ask("/v1/backups", method="POST", json={"path": path}) for path in names
        ]
        assert service.config.journal.path == tmp_path / "smshook.db"

    assert [answer.status_code for answer in answers] == [422, 422, 422, 422]
    assert {answer.json()["code"] for answer in answers} == {"unusable_path"}
    assert other.read_text() == "to keep"


async def test_backup_without_a_path_is_refused(run, tmp_path):
    async with run(tmp_path) as service:
        answer = await service.ask("/v1/backups", method="POST", json={})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
