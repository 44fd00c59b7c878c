// Package probe looks at what a sandbox serves, from inside of it: it sends
// HTTP requests, opens TCP connections and asks DNS servers again and again,
// and says what came back when it is something else than before. The program
// drydock-probe (cmd/drydock-probe) runs it as root on a cluster's node or on a
// machine, where a learner has no say; a server that grades starts one for each
// session and talks with it for as long as the session lasts
// ([drydock/sandbox.Command] with Stdout).
//
// # Protocol
//
// Both ways go lines of JSON of at most [MaxLine] bytes. The server sends
// [Request]s: a probe to begin, or by the id of one to look now or to stop. A
// request with the id of a probe that is going on replaces it. The program
// sends [Answer]s,
//
//   - at the first look, and at each one that was asked for;
//   - when an answer differs from the one sent last; [Watch] says what makes a difference;
//   - and [SignOfLife] after the last one in any case, so that silence means
//     that the program is gone.
//
// The program ends with its input, or when it cannot read a line of it. So it
// never outlives the command that it was started by. Durations in JSON are
// nanoseconds, bodies are base64: what a server sends need not be text.
//
// # What a look is
//
// Each look is a new connection, so that it goes through the Service anew and
// meets the state of the cluster as it is then. Redirects are not followed and
// there are no proxies. HTTP is 1.1, with the headers that curl sends, so that a
// server cannot tell a probe from a learner's own try. Certificates are verified
// with the node's or machine's own authorities. No answer is an answer: its
// Error says why in words for a learner. [Answer.Error] is for what was no look
// at all.
//
// # Where it looks from
//
// [From.Namespace] makes names resolve as in a pod of that namespace: with the
// nameserver and the search list that kubelet gives to pods, and five dots.
// Without one, /etc/hosts and /etc/resolv.conf are used, as on any machine.
// With [From.Pod] connections are opened from inside that pod's network
// namespace, those to the DNS server included: what holds for the pod's
// packets, such as a NetworkPolicy, holds for them. Nothing of the pod's own files
// is used, and no program in it.
//
// A look that stood still because the sandbox was frozen is not an answer; it
// is done again.
//
// The package imports nothing else of Drydock's, so that the program stays small.
package probe
