"""`--guests process`: what runs inside a VM is a process tree of its own, cut off from the host.

Three kinds of process, from the outside inwards:

    the sandbox    `manager` decides when guests start and end, `disks` which files their disks hold;
                   `parameters` turns a VM into what its guest is told; `ssh` lets clients in; `link` is its
                   end of the channels, whose `messages` both sides know
    supervisor     one process, PID 1 of its own namespaces, with no view of the host but a read-only /usr.
                   `launch` starts it, `idmap` gives it its user ids, `rootfs` builds what it sees, `store`
                   keeps the disks' files, `spawn` starts guests
    guests         one `init` each, PID 1 of a second, inner set of namespaces: it reaps, executes the agent's
                   commands (`programs`, `files`, `accounts`), applies cloud-init data (`cloudinit`) and
                   starts sshd (`network`, with the devices of `netlink`). `image` is what their disks hold
                   at first

What keeps them apart: user, mount, PID, UTS, IPC and network namespaces, an id range that no one else has, a
limit on processes, files only in memory of a fixed size. What knows no namespaces, `seccomp` closes. The supervisor is a new program with a bare environment
and never hears a secret: passwords and file contents go over each guest's own channel. What keeps them from staying:
the supervisor dies with the sandbox (PDEATHSIG), and the kernel ends everything in its PID namespace with it; mounts
and files live in its mount namespace and vanish with that.

Only the modules of the first kind import from the rest of the sandbox. Supervisor and guests need the standard library
alone, and must have imported all of it before they lose sight of the host's files: nothing may be imported later.
"""
