"""A state folder on a network file system is noticed, by texts of /proc/mounts from real machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from retrainer.adapters.decoding import TopicDecoders
from retrainer.adapters.files import filesystems
from retrainer.adapters.files.filesystems import is_network, kind_of, network_filesystem
from retrainer.adapters.memory.event_log import MemoryLog
from retrainer.adapters.memory.registry import MemoryRegistry
from retrainer.service.people.check import Outside, connect
from tests.clock import FakeClock

MOUNTS = """\
sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0
/dev/nvme0n1p2 / ext4 rw,relatime,errors=remount-ro 0 0
tmpfs /run tmpfs rw,nosuid,nodev,size=3263364k,mode=755,inode64 0 0
/dev/nvme0n1p1 /boot/efi vfat rw,relatime,fmask=0077 0 0
filer:/export/home /srv nfs4 rw,relatime,vers=4.2,rsize=1048576,wsize=1048576,hard,proto=tcp 0 0
/dev/sdb1 /srv/local xfs rw,relatime,attr2,inode64,noquota 0 0
//nas/share /mnt/with\\040space cifs rw,relatime,vers=3.1.1,cache=strict,username=retrainer 0 0
me@host:/data /mnt/ssh fuse.sshfs rw,nosuid,nodev,relatime,user_id=1000,group_id=1000 0 0
/dev/fuse /run/user/1000/doc fuse.portal rw,nosuid,nodev,relatime,user_id=1000,group_id=1000 0 0
host /mnt/over 9p rw,relatime,trans=virtio 0 0
/dev/sdc1 /mnt/over btrfs rw,relatime 0 0
overlay /var/lib/docker/overlay2/1/merged overlay rw,relatime,lowerdir=/var/lib/docker 0 0
"""


@pytest.mark.parametrize(
    ("folder", "kind", "network"),
    [
        ("/var/lib/retrainer", "ext4", False),
        ("/", "ext4", False),
        ("/srv/retrainer/state", "nfs4", True),
        ("/srv", "nfs4", True),
        ("/srv/local/state", "xfs", False),
        ("/srv/localized", "nfs4", True),
        ("/srvother", "ext4", False),
        ("/mnt/with space/state", "cifs", True),
        ("/mnt/ssh", "fuse.sshfs", True),
        ("/run/user/1000/doc/state", "fuse.portal", False),
        ("/mnt/over/state", "btrfs", False),
        ("/run/retrainer", "tmpfs", False),
    ],
)
def test_the_deepest_mount_above_a_folder_decides(folder: str, kind: str, network: bool) -> None:
    assert kind_of(Path(folder), MOUNTS) == kind
    assert is_network(kind) is network


@pytest.mark.parametrize(
    "kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.glusterfs", "glusterfs", "lustre", "afs", "fuse.rclone"]
)
def test_network_file_systems_are_known(kind: str) -> None:
    assert is_network(kind)


@pytest.mark.parametrize("mounts", ["", "nonsense\n\n", "a b\n"])
def test_a_text_that_says_nothing(mounts: str) -> None:
    assert kind_of(Path("/srv"), mounts) is None


def test_a_folder_that_is_not_there_yet_is_looked_up_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nfiler:/x {tmp_path.resolve()}/remote nfs4 rw 0 0\n")
    monkeypatch.setattr(filesystems, "_MOUNTS", mounts)
    (tmp_path / "remote").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "remote")
    assert network_filesystem(tmp_path / "link" / "state") == "nfs4"
    assert network_filesystem(tmp_path / "state") is None


def test_where_nobody_lists_mounts_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "_MOUNTS", tmp_path / "missing")
    assert network_filesystem(tmp_path) is None


CONFIG = """\
kafka: {bootstrap_servers: "127.0.0.1:1"}
models:
  flights:
    task: classification
    predictions: {topic: predictions}
    labels: {topic: labels}
    training: {estimator: sklearn.tree.DecisionTreeClassifier}
"""

COMMAND = """
import sys
import json
import subprocess
import sys
from pathlib import Path
from retrainer.adapters.files import filesystems
from retrainer.cli import main

filesystems._MOUNTS = Path(sys.argv[1])
raise SystemExit(main(sys.argv[2:]))
"""


def test_a_start_warns_of_a_network_file_system_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "mounts").write_text(f"/dev/sda1 / ext4 rw 0 0\nfiler:/x {tmp_path.resolve()} nfs4 rw 0 0\n")
    command = [sys.executable, "-c", COMMAND, str(tmp_path / "mounts"), "worker", str(tmp_path / "config.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        entries: list[dict[str, object]] = []
        while not entries or entries[-1]["event"] != "dependency.lost":
            entries.append(json.loads(worker.stderr.readline()))
        worker.kill()
    warned = next(one for one in entries if one["event"] == "state.network_filesystem")
    assert (warned["level"], warned["folder"], warned["kind"]) == ("warning", str(tmp_path / "state"), "nfs4")


def test_check_shows_a_network_file_system() -> None:
    outside = Outside(
        event_log=MemoryLog(),
        decoders=TopicDecoders(),
        registry=MemoryRegistry(),
        clock=FakeClock(),
        open_database=lambda: None,
        remote_folders={"/srv/state": "nfs4"},
    )
    (database, _) = connect([], outside).found
    assert (database.ok, database.facts) == (
        True,
        "can be read and written; but /srv/state lies on nfs4, over a network",
    )
