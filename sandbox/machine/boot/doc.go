// Package boot runs inside a machine's container: it makes the machine that a
// learner works in. It imports nothing of Drydock's, so that the program
// (cmd/drydock-machine) stays small.
//
// # Two containers in one
//
// The engine's container is only a shell around the machine, and nothing of a
// learner's ever runs in it. Its first process has the capabilities that it
// needs to make the machine, CAP_SYS_ADMIN above all: it attaches a file of
// fixed size as a loop device, makes a file system on it, lays that over the
// image's files, and starts the machine in namespaces of its own (user, mount,
// process ids, network, host name, IPC, control groups).
//
// The machine's users are mapped: its root is user [IDBase] of the host, who
// owns nothing there and has no right to anything. All that setup scripts do
// as root they do as that user, with capabilities that reach no further than
// the machine's own namespaces.
//
// # What a learner's processes may do
//
// They have less still: no capability, and none to be gained (no new
// privileges, an empty bounding set), a bounded number of processes, and the
// system calls that the engine's own default profile allows, without new
// namespaces, mounts, keys, BPF, io_uring, and sockets of other families than
// Unix, IP and netlink. Beyond that profile they have perf_event_open, which
// the kernel bounds by kernel.perf_event_paranoid, and a debugger may switch
// off the randomisation of addresses. See [RunAsLearner].
//
// # What stays
//
// Everything that is written in the machine, except below /run and /dev, is in
// the file; it outlives a stop of the container. Processes don't: a lab that
// needs some after a restart leaves an executable /etc/rc.local, which root
// runs at every start but the first (there is none yet then).
package boot
