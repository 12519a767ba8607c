"""A pickle is a program; ours is never run."""

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published_checkpoints import random_tensors, write_original

from genoconv.errors import ModelError
from genoconv.models.published.conversion import read_published
from genoconv.models.published.unpickle import load_checkpoint


class Hostile:
    """Unpickles by writing a file: what an attacker would do, without the harm."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return _payload, (str(self.victim),)


def _payload(victim: str) -> None:
    Path(victim).write_text("run")


class ShellCommand:
    """The classic: os.system."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        import os

        return os.system, (f"touch {self.victim}",)


class CodeInDisguise:
    """Hides behind a builtin."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return eval, (f"__import__('pathlib').Path({str(self.victim)!r}).touch()",)


@pytest.mark.parametrize("attack", [Hostile, ShellCommand, CodeInDisguise])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_checkpoint_is_refused_before_it_runs(attack: type, zipped: bool, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    source = write_original(tmp_path / "source", random_tensors())
    content = torch.load(source / "weights.ckpt", weights_only=True) | {"callbacks": attack(victim)}
    torch.save(content, source / "weights.ckpt", _use_new_zipfile_serialization=zipped)
    torch.load(source / "weights.ckpt", weights_only=False)
    assert victim.exists(), "the attack works where pickles are trusted"
    victim.unlink()
    with pytest.raises(ModelError, match="refused") as caught:
        read_published(source)
    assert not victim.exists()
    assert str(source / "weights.ckpt") in str(caught.value)


def test_a_bare_hostile_pickle_is_refused(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "weights.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": ShellCommand(victim)}, protocol=2))
    with pytest.raises(ModelError):
        load_checkpoint(path)
    assert not victim.exists()


def test_numpy_objects_and_older_containers_are_refused(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "weights.ckpt"
    torch.save({"state_dict": {"a": np.array([ShellCommand(victim)], dtype=object)}}, path)
    with pytest.raises(ModelError, match="refused"):
        load_checkpoint(path)
    bare = pickle.dumps(ShellCommand(victim), protocol=2)
    with tarfile.open(path, "w") as archive:  # torch.save's oldest format
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(bare)
            archive.addfile(member, io.BytesIO(bare))
    with pytest.raises(ModelError, match=r"weights\.ckpt"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:  # code and a way out of the folder beside a hostile pickle
        archive.writestr("archive/data.pkl", bare)
        archive.writestr("archive/code/__torch__.py", f"open({str(victim)!r}, 'w')")
        archive.writestr("../../victim", "escaped")
        archive.writestr("archive/version", "3")
    with pytest.raises(ModelError, match=r"weights\.ckpt"):
        load_checkpoint(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["weights.ckpt"]


def test_known_harmless_classes_are_read_without_their_libraries(tmp_path: Path) -> None:
    # What a checkpoint of HyenaDNA's training code mentions: an OmegaConf configuration, Lightning's own dictionary.
    pickled = (
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01comegaconf.dictconfig\nDictConfig\nq\x02)\x81q\x03"
        b"}q\x04X\x08\x00\x00\x00_contentq\x05}q\x06X\x01\x00\x00\x00xq\x07K\x01ssb"
        b"X\x01\x00\x00\x00bq\x08cpytorch_lightning.utilities.parsing\nAttributeDict\nq\t)\x81q\n"
        b"X\x04\x00\x00\x00stepq\x0bK\x05su."
    )
    path = tmp_path / "legacy.ckpt"
    path.write_bytes(_legacy(pickled))
    content = load_checkpoint(path)
    assert content["b"] == {"step": 5}
    assert type(content["a"]).__name__ == "Inert"


def _legacy(pickled: bytes) -> bytes:
    """torch.save's older format: a magic number, a version, facts of the machine, the object, its storages."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}})
    return b"".join(pickle.dumps(part, protocol=2) for part in head) + pickled + pickle.dumps([], protocol=2)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04broken", b"\x80\x02"])
def test_damaged_files_are_called_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.ckpt"):
        load_checkpoint(path)


def test_a_checkpoint_of_something_else_is_no_dictionary(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.ckpt")
    with pytest.raises(ModelError, match="a list, not a dictionary"):
        load_checkpoint(tmp_path / "list.ckpt")
