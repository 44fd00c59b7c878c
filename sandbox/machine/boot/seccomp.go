package boot

import (
	"fmt"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets into struct seccomp_data, on a little-endian processor.
const (
	offNumber = 0
	offArch   = 4
	offArg0   = 16
	argSize   = 8
)

// namespaceFlags are all CLONE_NEW… that clone(2) takes: a new user namespace
// would give a learner every capability inside it, and with them most of the
// kernel to try.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

var (
	// families of sockets: Unix, IP, and netlink, by which ip and ss ask. Left out are,
	// among others, AF_VSOCK, which leads to what the host runs on, and AF_ALG.
	families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
	// personalities are those of the engine's profile, and that of debuggers
	// (ADDR_NO_RANDOMIZE).
	personalities = []uint32{0x0, 0x8, 0x20000, 0x20008, 0x40000, 0xffffffff}
	// terminalTricks put text into a terminal's input.
	terminalTricks = []uint32{unix.TIOCSTI, unix.TIOCLINUX}
)

// filter is the program that decides about each system call of a learner.
// What is not known to be harmless is refused; what is newer than this list is
// said not to exist, as are the calls that libraries try first and do without.
func filter() []unix.SockFilter {
	refuse := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM))
	missing := ret(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	allow := ret(unix.SECCOMP_RET_ALLOW)

	p := []unix.SockFilter{load(offArch), jump(unix.BPF_JEQ, auditArch, 1, 0), missing, load(offNumber)}
	p = append(p, jump(unix.BPF_JGE, otherABI, 0, 1), missing)
	p = append(p, jump(unix.BPF_JEQ, unix.SYS_CLONE3, 0, 1), missing)

	p = append(p, onCall(unix.SYS_CLONE, load(offArg0), jump(unix.BPF_JSET, namespaceFlags, 0, 1), refuse, allow)...)
	p = append(p, onCall(unix.SYS_SOCKET, oneOf(offArg0, families, allow, refuse)...)...)
	p = append(p, onCall(unix.SYS_PERSONALITY, oneOf(offArg0, personalities, allow, refuse)...)...)
	p = append(p, onCall(unix.SYS_IOCTL, oneOf(offArg0+argSize, terminalTricks, refuse, allow)...)...)

	all := slices.Concat(allowed, allowedHere)
	slices.Sort(all)
	for _, number := range all {
		if number != unix.SYS_IOCTL {
			p = append(p, jump(unix.BPF_JEQ, number, 0, 1), allow)
		}
	}
	newest := all[len(all)-1]
	return append(p, jump(unix.BPF_JGT, newest, 0, 1), missing, refuse)
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(value uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: value}
}

func jump(how uint16, value uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | how | unix.BPF_K, Jt: yes, Jf: no, K: value}
}

// onCall runs do, which must return, for one system call only. Its number is
// loaded before, and still is after another one.
func onCall(number uint32, do ...unix.SockFilter) []unix.SockFilter {
	return append([]unix.SockFilter{jump(unix.BPF_JEQ, number, 0, uint8(len(do)))}, do...)
}

// oneOf returns one thing for the values given of an argument, and another for all else.
func oneOf(offset uint32, values []uint32, yes, no unix.SockFilter) []unix.SockFilter {
	p := []unix.SockFilter{load(offset)}
	for i, v := range values {
		p = append(p, jump(unix.BPF_JEQ, v, uint8(len(values)-i), 0))
	}
	return append(p, no, yes)
}

// setFilter binds this thread, and all that it starts, to the filter.
func setFilter() error {
	program := filter()
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("bound the system calls: %w", syscall.Errno(errno))
	}
	return nil
}
