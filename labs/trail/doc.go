// Package trail tells how a system was repaired: from what the learner typed
// (commands), what the learner asked of a cluster (the audit log of its API
// server) and what else is different at the end (collateral). It reads,
// bounds and masks; it decides nothing and grades nothing. All of it is pure:
// bytes in, values out. Package labs looks at sandboxes and stores what this
// package makes of it; package web shows it.
//
// # What can be believed
//
//   - Requests come from the audit log. The API server writes it on the node,
//     where a learner with access to namespaces or to the cluster can neither
//     read nor write. With access to the node the learner is root there, and
//     the log is what root left of it.
//   - Commands come from marks that the learner's own shell prints between the
//     output of programs ([Marks]). A learner can print such marks, or keep the
//     shell from printing them. They are shown beside the recording of the same
//     terminal, which has every byte, and never graded.
//   - Collateral is the difference between two lists of the cluster's objects
//     that the platform itself has read, with an administrator's rights.
//
// # What is kept
//
// Everything is bounded where it enters: text in bytes ([MaxCommand],
// [MaxBody]), requests by number ([MaxKept]), objects by number and size
// ([MaxObjects], [MaxContent]). What is left out is counted.
//
// # Masks
//
// Passwords, tokens and keys are replaced by [Mask] before anything is stored.
// Secrets are not even read: the audit log names them without their content,
// and a snapshot holds a hash of each value. In free text only what looks like
// a secret can be found; see [MaskText].
//
// It imports no other package of Drydock.
package trail
