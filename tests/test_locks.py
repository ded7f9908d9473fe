"""Locks where a file system keeps none; what they do elsewhere is tested by real processes."""

import errno
import fcntl
import os

import pytest
from rebalance.locks import holder_of, locked


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_keeps_none_is_told_of(tmp_path, monkeypatch, capsys, number):
    def flock(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path / ".lock", "training here") as alone:
        assert not alone
    message = capsys.readouterr().err
    assert message.startswith(f"{tmp_path}: the file system keeps no locks ({os.strerror(number)})")
    assert "see to it that nothing else is training here" in message
    assert holder_of(tmp_path / ".lock") is None


def test_another_fault_is_no_missing_lock(tmp_path, monkeypatch):
    def flock(handle, operation):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), locked(tmp_path / ".lock", "training"):
        pass
