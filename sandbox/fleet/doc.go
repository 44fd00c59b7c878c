// Package fleet runs all sandboxes of one server: it sends each to the provider
// of its kind, keeps spares ahead of demand, counts what the machine has room
// for, and lets starts in by turns.
//
// The package may import package sandbox and no other of Drydock's.
package fleet
