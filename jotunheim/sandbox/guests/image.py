"""What a guest's disk holds at first: a Debian 12 in its outlines, with the host's programs below /usr."""

from pathlib import Path

from jotunheim.sandbox.guests.rootfs import Host

FOLDERS = {
    "boot": 0o755, "etc": 0o755, "etc/alternatives": 0o755, "etc/ld.so.conf.d": 0o755, "etc/profile.d": 0o755,
    "etc/skel": 0o755, "etc/ssh": 0o755, "etc/ssh/sshd_config.d": 0o755, "etc/sudoers.d": 0o750, "etc/default": 0o755,
    "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755, "root": 0o700, "srv": 0o755, "sys": 0o555,
    "var": 0o755, "var/cache": 0o755, "var/empty": 0o755, "var/lib": 0o755, "var/lib/cloud": 0o755, "var/log": 0o755,
    "var/mail": 0o775, "var/spool": 0o755, "var/tmp": 0o1777,
}  # fmt: skip

OS_RELEASE = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
"""

ACCOUNTS = (
    ("root", 0, 0, "/root", "/bin/bash"),
    ("daemon", 1, 1, "/usr/sbin", "/usr/sbin/nologin"),
    ("bin", 2, 2, "/bin", "/usr/sbin/nologin"),
    ("sys", 3, 3, "/dev", "/usr/sbin/nologin"),
    ("sync", 4, 65534, "/bin", "/bin/sync"),
    ("man", 6, 12, "/var/cache/man", "/usr/sbin/nologin"),
    ("mail", 8, 8, "/var/mail", "/usr/sbin/nologin"),
    ("www-data", 33, 33, "/var/www", "/usr/sbin/nologin"),
    ("backup", 34, 34, "/var/backups", "/usr/sbin/nologin"),
    ("sshd", 104, 65534, "/run/sshd", "/usr/sbin/nologin"),
    ("nobody", 65534, 65534, "/nonexistent", "/usr/sbin/nologin"),
)
GROUPS = {
    "root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "mail": 8, "man": 12, "dialout": 20,
    "cdrom": 24, "floppy": 25, "sudo": 27, "audio": 29, "dip": 30, "www-data": 33, "backup": 34, "shadow": 42,
    "utmp": 43, "video": 44, "plugdev": 46, "staff": 50, "users": 100, "nogroup": 65534,
}  # fmt: skip

SSHD_CONFIG = """\
# Accounts have no PAM here: a password is checked against /etc/shadow.
HostKey /etc/ssh/ssh_host_ed25519_key
HostKey /etc/ssh/ssh_host_ecdsa_key
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
X11Forwarding no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
Include /etc/ssh/sshd_config.d/*.conf
"""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TEXTS = {
    "etc/debian_version": "12.11\n",
    "etc/environment": "",
    "etc/fstab": "# the disk is the host's memory\n",
    "etc/hostname": "localhost\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
    "etc/login.defs": "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nENCRYPT_METHOD SHA512\nUSERGROUPS_ENAB yes\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    "etc/os-release": OS_RELEASE,
    "etc/profile": f"PATH={PATH}\nexport PATH\nfor i in /etc/profile.d/*.sh; do [ -r $i ] && . $i; done\nunset i\n",
    "etc/resolv.conf": "",
    "etc/shells": "/bin/sh\n/bin/bash\n",
    "etc/skel/.profile": '[ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ] && . "$HOME/.bashrc"\n',
    "etc/skel/.bashrc": "PS1='\\u@\\h:\\w\\$ '\n",
    "etc/ssh/sshd_config": SSHD_CONFIG,
    "etc/timezone": "Etc/UTC\n",
    "var/log/lastlog": "",
    "var/log/wtmp": "",
}

CLOUD_INIT = """\
#!/bin/sh
# Stands in for cloud-init's command line: the guest's init applies the data, this tells how far it is.
state=/run/cloud-init/jotunheim-status
status() { cat "$state" 2>/dev/null || echo not started; }
case "$1" in
status)
    for option in "$@"; do
        if [ "$option" = --wait ] || [ "$option" = -w ]; then
            while case "$(status)" in done|error|disabled) false;; esac; do printf .; sleep 0.1; done
            [ -t 1 ] && echo
            waited=1
        fi
    done
    [ -n "$waited" ] && echo
    echo "status: $(status)"
    [ "$(status)" != error ];;
clean) rm -rf /var/lib/cloud/instance /var/lib/cloud/instances;;
--version|-v) echo "cloud-init 22.4.2";;
*) echo "usage: cloud-init status [--wait] | clean | --version" >&2; exit 2;;
esac
"""

SHUTDOWN = """\
#!/bin/sh
# Tells the guest's init what to do, whatever the name is under which it is called.
signal=USR2
[ "${0##*/}" = reboot ] && signal=INT
for option in "$@"; do
    case "$option" in -r|--reboot) signal=INT;; -c) exit 0;; esac
done
kill -s $signal 1
"""


def install(root: Path, local: Path, host: Host) -> None:
    """Write the first content of a disk: its root, and what is mounted at /usr/local."""
    for name, mode in FOLDERS.items():
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(mode)
    for name, target in host.links.items():
        (root / name).symlink_to(target)
    for name, target in host.alternatives.items():
        (root / "etc/alternatives" / name).symlink_to(target)
    for name, data in host.files.items():
        (root / name.lstrip("/")).write_bytes(data)
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    (root / "etc/localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (root / "etc/mtab").symlink_to("../proc/self/mounts")
    (root / "var/run").symlink_to("/run")
    (root / "var/lock").symlink_to("/run/lock")
    _accounts(root / "etc")
    _programs(local)


def _accounts(etc: Path) -> None:
    passwd = [f"{name}:x:{uid}:{gid}:{name}:{home}:{shell}\n" for name, uid, gid, home, shell in ACCOUNTS]
    (etc / "passwd").write_text("".join(passwd))
    (etc / "group").write_text("".join(f"{name}:x:{gid}:\n" for name, gid in GROUPS.items()))
    (etc / "shadow").write_text("".join(f"{account[0]}:*:19700:0:99999:7:::\n" for account in ACCOUNTS))
    (etc / "gshadow").write_text("".join(f"{name}:*::\n" for name in GROUPS))
    for name in ("shadow", "gshadow"):
        (etc / name).chmod(0o640)


def _programs(local: Path) -> None:
    for name in ("bin", "etc", "games", "include", "lib", "sbin", "share", "src"):
        (local / name).mkdir()
    scripts = {"bin/cloud-init": CLOUD_INIT} | {
        f"sbin/{name}": SHUTDOWN for name in ("poweroff", "reboot", "halt", "shutdown")
    }
    for name, text in scripts.items():
        (local / name).write_text(text)
        (local / name).chmod(0o755)
