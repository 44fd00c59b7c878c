package boot

import "golang.org/x/sys/unix"

// auditArch names this processor's system calls, apart from those of its 32-bit mode.
const auditArch = unix.AUDIT_ARCH_AARCH64

// otherABI is beyond all numbers: there is no second set of them under the same name.
const otherABI = 0x40000000

// allowedHere: this processor has none of the old calls.
var allowedHere []uint32
