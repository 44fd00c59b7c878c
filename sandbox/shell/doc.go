// Package shell keeps a learner's shells alive independently of who looks at
// them. It owns the supervisor that is the entry process of the terminal
// container (program cmd/drydock-shell), the protocol that the server speaks
// with it through the engine's exec, and the server's side of that protocol,
// [Conn]. It imports package sandbox for its types and nothing of Kubernetes,
// so that the program stays small.
//
// # Tabs
//
// A tab is one login shell on one PTY. It starts when somebody first attaches
// and lives until it exits; connections come and go. The supervisor keeps the
// last [History] bytes of a tab's output, each byte with its absolute offset,
// so that a server that was killed goes on where it left off. The offsets
// continue when the shell of a tab exits and a new one is started. One
// connection at a time has a tab: a newer one takes it over, since the older
// is most often the remains of a server that is gone.
//
// # Marks
//
// A shell that is bash marks its commands in its output, with escape sequences
// that terminals do not show ([Integrated]): what was typed, where its output
// begins, with which exit code it ended. The server tells from them what was
// run. They are the learner's own shell's, who can print such marks, change
// them or be rid of them: nothing is ever decided by them.
//
// # Flow control
//
// Both sides may send [Window] bytes beyond what the other has acknowledged,
// and neither ever stops reading the connection, so acknowledgements and
// resizes always get through. A PTY is not read while the attached side has a
// full window in front of it, so a program that floods the terminal is slowed
// to the speed of the browser. With nobody attached its output goes on into
// the ring.
//
// # Who may do what
//
// The supervisor runs as another user (root without capabilities except
// SETUID, SETGID and KILL) than the shells (the learner). A learner who is
// the same user could kill or trace the supervisor, replace its socket and
// feed the server frames of their own. As it is, the socket lies in a
// directory that only the supervisor's user can enter, the kernel refuses the
// learner's signals and ptrace, and with no-new-privileges set on the
// container no set-user-ID program leads from one to the other. SETUID and
// SETGID are needed to start the shells as the learner, KILL to end them.
// Files and PTYs that belong to the learner are made under the learner's
// file-system user id, so neither CHOWN nor DAC_OVERRIDE is needed and a
// symbolic link planted in the home leads the supervisor nowhere.
package shell
