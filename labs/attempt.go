package labs

import (
	"encoding/json"
	"time"
)

// EventType names what happened in an attempt. The names are stored: never change one.
type EventType string

const (
	EventRequested  EventType = "session.requested" // Data: {"lab","version","variant"}
	EventStage      EventType = "session.stage"     // Data: {"name","done","tookMs"}
	EventReady      EventType = "session.ready"     // handed over; the clock of the session starts. Data: {"expires","deadline"} Unix ms
	EventFailed     EventType = "session.failed"    // the start failed; never the learner's fault. Data: {"reason"}
	EventReset      EventType = "session.reset"     // the learner asked for a fresh sandbox
	EventExtended   EventType = "session.extended"  // Data: {"expires"}
	EventTrouble    EventType = "session.trouble"   // the engine or the cluster does not answer. Data: {"reason","stopped":bool}
	EventRecovered  EventType = "session.recovered" // it does again. Data: {"shellLost":bool}
	EventQueued     EventType = "session.queued"    // it waits for its turn. Data: {"place","estimateMs"}
	EventFrozen     EventType = "session.frozen"    // asleep, for nobody works in it. Data: {"why":"idle"|"away"}
	EventThawed     EventType = "session.thawed"    // awake again
	EventExpiring   EventType = "session.expiring"  // the time is nearly up. Data: {"minutes"}
	EventShort      EventType = "sandbox.short"     // it has little left of something, or again enough. Data: {"of":[sandbox.Resource]}
	EventKilled     EventType = "sandbox.killed"    // the kernel ended a process for want of memory; at most one a sandbox
	EventEnded      EventType = "session.ended"     // Data: {"why":"learner"|"expired"|"instructor"|"lost"|"orphaned"}
	EventResult     EventType = "check.result"      // a check's verdict changed. Check, Data: grade.Result
	EventTaskDone   EventType = "task.done"         // Task. Data: {"points"}
	EventTaskUndone EventType = "task.undone"       // Task: it no longer holds
	EventGuard      EventType = "guard.violated"    // Check, Data: grade.Result
	EventHint       EventType = "hint.shown"        // Task, Data: {"index","cost"}
	EventAnswer     EventType = "answer.given"      // Task, Data: {"answer","right":bool,"early"}; early counts those refused before it, for they came too fast
	EventTerminal   EventType = "terminal.opened"   // Data: {"tab"}
	EventCommand    EventType = "terminal.activity" // the learner typed; at most one a minute and tab. Data: {"tab"}
	EventShell      EventType = "terminal.command"  // the shell says that a command ran; see package trail. Data: {"tab","text","code","tookMs","running":bool,"skipped"}
	EventCollateral EventType = "trail.collateral"  // what is otherwise than at hand-over, before a reset and at the end. Data: trail.Difference, bounded
	EventService    EventType = "service.changed"   // the service probe went up or down. Data: {"up":bool}
	EventPresence   EventType = "page.presence"     // not stored: the learner's page opened or closed. Data: {"open":bool}
)

// Event is one line of an attempt's append-only log. Everything else about an
// attempt is derived from its events; see [Fold].
type Event struct {
	Attempt string          `json:"attempt"`
	Seq     int64           `json:"seq"` // 1, 2, 3 … within the attempt; given by the store
	At      time.Time       `json:"at"`
	Type    EventType       `json:"type"`
	Task    string          `json:"task,omitempty"`
	Check   string          `json:"check,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// Attempt is the graded record that a session leaves. Its id is the session's.
type Attempt struct {
	ID      string
	User    int64 // the learner's id in the store
	Lab     string
	Version string // of the lab
	Variant string
	Created time.Time
	Ended   time.Time // zero while the session runs
}
