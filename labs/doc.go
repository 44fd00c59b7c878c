// Package labs owns the lab format, its loader and linter, the proof that a
// lab works, and the sessions and attempts of learners. It imports sandbox
// and its own packages below, and no other top-level package.
//
// What follows is the manual of the lab format.
//
// # A lab on disk
//
// A lab is a folder. Its name is the lab's slug: up to 40 of a-z, 0-9, and -
// between them.
//
//	lab.yaml          what is broken, what is asked, how it is graded
//	README.md         what the learner reads
//	manifests/        objects that setup applies
//	setup/            scripts that setup runs
//	files/            anything else that belongs to the lab
//	bench/            programs that the learner's is measured against
//	solutions/NAME.sh at least two, really different; every one must pass
//	wrong/NAME.sh     at least one; every one must be caught
//
// Files and folders whose names begin with a dot or an underscore are no part
// of the lab. Everything else makes up its version, the first 12 hex digits
// of a SHA-256 over names and contents.
//
// # lab.yaml
//
// The file is read strictly. An unknown or repeated field, a wrong type, a
// missing value: all are reported at once, each with its line. Text that YAML
// would read as something else must be in quotes ("5432", "no"). Aliases and
// merge keys are refused.
//
//	apiVersion: drydock/v1
//	kind: Lab
//	title: Pods that never finish initialising
//	summary: The shop's new pods hang before their first container starts.
//	track: kubernetes
//	article: init-containers
//	level: beginner
//	minutes: 20
//	sandbox: {kind: cluster, access: namespace, namespaces: [shop]}
//	variants:
//	  - {name: typo,   vars: {dbHost: databse,  dbPort: "5432"}}
//	  - {name: closed, vars: {dbHost: database, dbPort: "5433"}}
//	setup:
//	  - apply: manifests/
//	ready:
//	  - id: web-is-there
//	    watch: {kind: Deployment, namespace: shop, name: web}
//	    that: object != null && object.status.?updatedReplicas.orValue(0) == 2
//	    hold: 2s
//	tasks:
//	  - id: diagnose
//	    title: Say what the pods wait for
//	    points: 20
//	    ask: {text: "Which name is asked for?", accept: ["${vars.dbHost}"]}
//	  - id: serve
//	    title: Bring the shop back
//	    points: 80
//	    hints:
//	      - Init containers run one after the other.
//	      - {text: Look at the logs of wait-for-db., cost: 5}
//	    checks:
//	      - id: web-ready
//	        watch: {kind: Deployment, namespace: shop, name: web}
//	        that: object != null && object.status.?readyReplicas.orValue(0) == 2
//	        hold: 10s
//	        else: web does not have two ready pods
//	      - id: answers
//	        http: {from: shop, url: "http://web.shop/healthz"}
//	        that: response.code == 200
//	guards:
//	  - id: same-deployment
//	    watch: {kind: Deployment, namespace: shop, name: web}
//	    that: object != null && object.metadata.uid == baseline.metadata.uid
//	    else: the Deployment was deleted and made again
//	service:
//	  http: {from: shop, url: "http://web.shop/", every: 500ms}
//
// The fields at the top:
//
//   - apiVersion (drydock/v1), kind (Lab): what this file is.
//   - title: what the lab is called.
//   - summary: one sentence for lists; it must not give the fault away.
//   - track: the slug of the track that the lab belongs to.
//   - article (optional): the slug of the article that prepares for it.
//   - level: beginner, intermediate or advanced.
//   - minutes: what a learner usually needs, 1 to 240. A session lasts three
//     times as long, and at least 45 minutes.
//   - sandbox, variants, setup, ready, tasks, guards, service, rubric: see below.
//   - imported (optional): {from, source}, which `drydock lab import` writes: the
//     format that the lab was made from, and the scenario. Such a lab needs no
//     setup, no second solution and no wrong fix. As long as it lacks them it
//     is a draft: it can be started and is graded, but it is listed as one,
//     because nobody has shown that its checks tell right from wrong. Package
//     convert has the details.
//
// # sandbox
//
//   - kind: cluster (a kind cluster) or machine (a Linux machine; see below).
//     The other fields but egress are for clusters.
//   - nodes (optional): 1 (the default) to 3.
//   - access: what the learner may do. namespace: work in the namespaces
//     listed, and read what is around them; cluster: whatever the API offers
//     except leaving the node; node: everything, for trusted cohorts only (an
//     operator trusts a cohort on the page of cohorts).
//   - namespaces: those that the learner works in; the first is the default
//     of the learner's kubectl. Required with access: namespace. They are
//     made before setup begins.
//   - egress (optional): none (the default) or internet, on clusters only.
//
// A machine is a Linux of its own (Debian, with the tools that go with it: gcc, gdb, strace,
// lsof, perf, sysstat and more; "go doc drydock/sandbox/machine" says what does not
// work). The learner is the user "learner" (1000), without a way to root: what they are to
// mend has to be theirs, by owner or by group. Setup scripts and exec on the
// node run as the machine's root, who may mount (a tmpfs of a size, say) and make
// network namespaces. There is no network but loopback, no systemd, and everything written
// goes to one disk, of 1 GiB. Files outlive a stop of the machine; processes do not: let
// setup write an executable /etc/rc.local that starts what the lab needs, and run it; it is
// run again, as root, whenever the machine is started again. Start what has to outlive the
// script with setsid and with its output redirected.
//
// # variants and vars
//
// A variant is one version of the fault. An attempt draws one and keeps it.
// Variants have a name and vars, text by name (letters, digits and _). Every
// var that is used must be there in every variant, and every var must be used.
// A lab without variants has one, named "default", without vars. Vars are
//
//   - ${vars.name} in manifests, replaced before the YAML is parsed, and so
//     fit for numbers too;
//   - ${vars.name} in choices and accepted answers, in the fields of collectors, and in
//     the answers of scripts;
//   - vars.name in conditions;
//   - $VAR_name in setup scripts, which what they start does not inherit.
//
// # setup and ready
//
// The steps of setup run in order, and each is one of
//
//   - apply: a manifest (.yaml), or a folder of them, taken in name order. Namespaces and
//     custom resource definitions go first. They are applied by the server,
//     with the field owner that kubectl has. Namespaced objects must say
//     their namespace.
//   - run: a script below setup/, run by bash as root on the node (with
//     KUBECONFIG set to an administrator's) or the machine, with $VAR_name for each var.
//
// A sandbox is handed over once all checks of ready hold at once, for their
// hold if they have one. They should say that the fault is really there. It
// must be so within three minutes.
//
// The cluster pulls no images. The node image brings
// localhost/drydock/workload:1, a program that acts as web front, API,
// database, worker and more, beside busybox: run it with --help.
// Let workloads retry inside their containers: one that exits is started
// again after 10 s, then 20, then 40.
//
// # tasks
//
// A task has an id, a title, points, optional hints, and either ask or
// checks. The points of all tasks add up to 100. Ids of tasks and checks share one
// name space: up to 40 of a-z, 0-9, and - between them. The id "service" is taken.
//
// A hint is text, or {text, cost}: the points that the task loses when
// it is shown. All hints together may cost no more than the task gives.
//
// ask is a question:
//
//   - text: the question.
//   - choices (optional): at least two, shown as a list. Without them the learner types.
//   - exactly one of
//     accept: the right answers, compared without case and outer space. One
//     between slashes is a regular expression for the whole answer;
//     all: what has to be named together, in any order, and nothing else: several
//     of the choices, or things typed with commas between them;
//     number {is, within, unit}: a number. within is how far off it may be, 0.5
//     or 5% of the right one; nothing unless set. unit is shown beside the field.
//   - why (optional): told once the answer was right.
//
// What is right can differ between the variants, through ${vars.name}. After
// three wrong answers, each further one has to wait twice as long as the one before.
//
// A task with checks is done while all of them pass. Its points can be given in
// parts; see checks.
//
// # checks
//
// Checks stand in ready, in tasks and in guards. A check has
//
//   - id;
//   - exactly one collector: watch, http, tcp, dns, exec, file, logs, events, audit or bench;
//   - that: a condition in CEL, true when the check passes;
//   - hold (optional): for how long it must be true without a break, such as 10s; at most 10m;
//   - else (optional): what the learner is told when it fails; ${…} in it is CEL.
//
// Instead of a collector and that, a check can be made of parts, by exactly one of
//
//   - all: a list of parts; it holds when all of them do at once;
//   - any: a list of parts; it holds when at least one of them does;
//   - not: one part; it holds when that does not, and needs an else.
//
// A part has a collector with that, and an else if it needs one; or parts of its own.
//
//	checks:
//	  - id: reachable
//	    any:
//	      - {http: {from: shop, url: "http://web.shop/"}, that: response.code == 200}
//	      - {http: {from: shop, url: "https://web.shop/"}, that: response.code == 200}
//	    else: web answers neither http nor https
//	    hold: 5s
//
// The checks of a task can have, beside these,
//
//   - after: the id of another check. What is seen before that one has passed for
//     the first time does not count: the backup comes before the upgrade.
//   - once: true, when it is enough that it has passed at some time (edge); without
//     it the check passes only while it holds (level).
//   - points: what it earns by itself of its task's points. Either all checks of a
//     task have points, which make up the task's, or none has: then the task
//     gives all its points once all its checks pass, and none before.
//
// A check can also end in an error: the grader could not look. That is
// never the learner's fault and never costs anything. Of parts, one that could
// not be looked at matters only where the others leave it open.
//
// The collectors, and what conditions see of them:
//
//   - watch {kind, apiVersion, namespace, name, selector}, of a cluster: one object, `object`
//     (null when there is none), or without name all of a kind, `objects`.
//     selector is a label selector. apiVersion is needed only where the kind
//     is ambiguous. Judged at every change.
//   - http {from, pod, url, method, header, body, every}: a request from inside the
//     cluster, out of the learner's reach: `response` with code, body, headers,
//     seconds and error (empty when there was an answer). from is the
//     namespace whose DNS search applies, and who may make pods there may make names that are
//     found first: the whole name with a dot at the end (web.other.svc.cluster.local.) can't be
//     taken. A machine has none. pod is a label selector: the
//     request then comes from inside the network of the first ready pod that it picks
//     there, by the rules that hold for that. every is 2s unless set.
//   - tcp {from, pod, address, send, expect, every}: a connection to host:port, from a place
//     as of http: `connection` with open, received, seconds and error.
//   - dns {from, pod, name, type, every}: a question to DNS, from a place as of http: `lookup`
//     with code (NOERROR, NXDOMAIN, …), name, records (sorted), seconds and error. type is A
//     unless set.
//   - exec {on, namespace, selector, container, command, every}: a command on
//     the node, in the terminal, or in a pod (the first ready one that selector picks):
//     `result` with code, stdout and stderr. every is 5s unless set. Who runs a program can make it
//     lie: in the terminal and in a pod of theirs that is the learner. A script is hidden from lists of
//     processes, what it starts is not; docs/security.md has the rest.
//   - logs {namespace, selector, container, tail, every}, of a cluster: what a container of
//     the pods that selector picks has written last: `logs`, a list of {pod, text} in the order of
//     the names; text is empty before the container has started. tail is 10 lines and every 2s
//     unless set. It costs far less than a command.
//   - file {on, path, every}: one file, on the node or the machine as root (on: node), or where the
//     learner works as the learner (on: terminal): `file` with exists, kind, size, mode, owner,
//     group, modified, text, sha256, target (of a link) and error. every is 5s unless set.
//   - events {namespace, kind, name, reason, type}, of a cluster: the events of Kubernetes about
//     objects of that kind and name: `events`, a list of {type, reason, message, kind, name, from,
//     count, first, last}, the oldest first.
//   - audit {verbs, resource, namespace, name, every}, of a cluster: what the learner has asked of
//     it since the hand-over, by its audit log: `audit`, a list of {at, does, verb, group, resource,
//     sub, namespace, name, by, code, body}, the oldest first. does is look, change or destroy.
//     every is 3s unless set.
//   - bench {command, dir, baseline, generate, measure, rounds, timeout, every}, of a machine: the
//     learner's program against the lab's, side by side, on inputs that the learner never saw: `bench`
//     with correct, wrong, ratio, low, high and rounds. command reads an input and prints the
//     result; baseline {files, build, command} does the same, rightly, and generate {files, build,
//     command} prints an input, another one for each SEED in its environment. Their files are below
//     bench/, and never where the learner could read them. measure is cpu or wall. It is measured at first, and when
//     the program has changed. "go doc drydock/sandbox/probe/bench" has the method.
//
// What every says of http, tcp and dns holds at the least: while their check does not pass they
// look every 400ms for five seconds after each key of the learner's, and after each change of what the lab's
// checks watch in the minute after it, so that the tick comes at once. A request that
// may change something (another method than GET or HEAD, a send) is not sent more often than every says.
//
// Beside these, conditions see `vars`, the variant's, and `baseline`: what
// the same collector saw at hand-over (the object itself, the list of objects,
// and so on). CEL has Kubernetes' own libraries and optional values:
// object.status.?readyReplicas.orValue(0) is the safe way to read a field
// that may be missing. Package grade has the details.
//
// Secrets are masked in what a check sees: tokens, private keys, passwords. Write
// conditions about whether one is there or has changed, not about what it is.
//
// # guards and service
//
// A guard is a check that must never fail on the way. Its first failure
// counts, whatever comes after it; mending it later does not undo it. Guards keep out what
// looks like a repair and is none: deleting, re-creating, hard-coding,
// taking out what complains.
//
// service (optional) is a request that is sent all the while. The report
// tells for how long it went unanswered: what did the repair cost its users?
//
// # rubric
//
// rubric (optional) turns how the system was repaired into points. All of it is optional,
// and what is not there costs nothing and is shown in the report all the same. Only
// guards have a price of their own: 25 points each. Costs are points of the hundred,
// and are taken off what the tasks gave; nobody has less than nothing. Learners read the
// rubric before they start, and the report gives the reason for each deduction.
//
//	rubric:
//	  guards: {cost: 10}
//	  downtime: {free: 10s, per: 30s, cost: 2, most: 20}
//	  time: {free: 20m, per: 5m, cost: 1, most: 5}
//	  resets: {free: 1, cost: 5}
//	  collateral:
//	    cost: 3
//	    most: 15
//	    allow:
//	      - {kind: ConfigMap, namespace: shop, name: settings}
//
// Its parts:
//
//   - guards {free, cost, most}: each violated guard costs so much.
//   - downtime {free, per, cost, most}: each begun stretch of the length per for which the
//     service was away costs so much. Needs service.
//   - time {free, per, cost, most}: the same for the time from the hand-over to the last
//     repair. Sleep, resets and trouble of the platform's do not count. Repairs that were
//     never made cost their points, and no time.
//   - resets {free, cost, most}: each reset costs so much.
//   - collateral {free, cost, most, allow}, of a cluster: each object that is otherwise at the
//     end than it was at hand-over costs so much, unless it is what a check of the
//     lab looks at or a guard by its name, a Service that one of its requests goes to, or one that allow
//     names by kind and, if they are given, namespace and name.
//
// free is what costs nothing (0 unless set), most what all of it costs at the most.
//
// # How it was fixed
//
// An attempt keeps, beside what the checks saw, what the learner did. Package trail
// has the details.
//
//   - What was asked of a cluster's API comes from its audit log, which the learner can neither
//     read nor write, unless the lab gives the node away.
//   - What was typed comes from the learner's shells, which mark their commands. A learner
//     can print such marks or suppress them: they are shown, and nothing is decided by them.
//   - Collateral comes from two lists of all objects that the learner could have changed, one
//     made right after the hand-over, one before a reset or at the end. What controllers
//     make, status, events, leases and the like are left out. Of a machine no such list is made: a
//     guard that compares files with baseline says what matters.
//   - The first look is the first key, command or question to the cluster. The diagnosis is the
//     first right answer; before one, or where nothing is asked, the first command or
//     request about an object that a check or a guard watches by its name. The repair is the first
//     moment at which all tasks with checks were done.
//
// Secrets are masked in all of it. While the session runs its learner is not shown what
// checks saw as long as a question is open, nor what commands have printed that ran as somebody else.
//
// # README.md
//
// Markdown. Each task has one heading of the form
//
//	## Bring the shop back {#serve}
//
// in the order of lab.yaml; {#…} is the task's id. Other headings go without.
// A block that begins with ```sh run gets a button that runs it in the terminal.
// The text says what to reach and how to look, and gives no solution away.
//
// # solutions/ and wrong/
//
// Scripts run by bash in the learner's terminal, with the learner's rights and tools (kubectl,
// curl, jq). They must end with 0, and work for every variant; a script may look at the
// cluster and decide. At most 100 KiB.
//
// The first line of a wrong fix names what catches it: a check, a guard or a question.
//
//	# caught-by: same-deployment
//
// A script may also answer questions. A solution's answers must be right, and
// those of a wrong fix that a question catches, wrong:
//
//	# answer diagnose: ${vars.dbHost}
//
// # Proving a lab
//
// `drydock lab new` makes a small lab that works, to be changed into yours. `drydock lab lint`
// finds what is wrong without a sandbox ([Lint]). `drydock lab start` brings a lab up in the
// author's terminal and judges it live; what is saved meanwhile is judged at once ([Rehearsal]).
// `drydock lab test` tries the lab on real sandboxes ([Prove]): for every variant,
//
//   - hand-over: every check of every task fails, without telling an answer that is to be
//     typed, and every guard holds, until the state is at rest; accepted answers are right, and those that
//     are right only in other variants are wrong;
//   - each solution: everything passes, at once, and no guard was violated on
//     the way;
//   - each wrong fix: at rest, the guard that it names was violated, or the check
//     that it names fails, or the question that it names refuses its answer;
//   - what is tried against every lab, see below;
//   - reset: the hand-over state again, after a reset.
//
// A state is at rest when nothing has changed for four seconds, no check is within its hold,
// and a fresh look at everything finds what was seen last. One that does not come to rest
// within 90 seconds and the longest hold is judged as it stands then, which is told.
//
// Against every lab three things are tried that need no look at what is wrong:
//
//   - do-nothing: for a minute nobody does anything. No check of a task may come true in it, not
//     for a moment, and no guard may be violated: a fault that heals by itself is none.
//   - delete-everything: every object in the lab's namespaces (where it names none, in all but
//     the cluster's own) or every file of the machine that the learner may delete. What
//     they may only write is emptied.
//   - restart-everything: every workload is rolled out anew and every pod deleted; on a machine, every
//     process that the learner may end is ended, with TERM and then KILL. Nobody but the
//     machine's root could restart it as a whole.
//
// After either of the last two the lab is unsound if all tasks that have checks are done and no
// guard was violated. Questions do not count: nobody was asked. There is no way for a lab to
// allow it: where a restart is the remedy, the skill is to know of what, and a guard says what must
// not be restarted with it (the uid of another pod, say). If they do some of the tasks, that is told.
//
// Every wrong fix, and the last two, is judged to its end by everything, whatever has caught it
// already. So it can be told of each check, guard and question which wrong fixes would pass
// without it: nothing else in its task fails and no guard was violated; or no other guard was. Where
// there is none nobody needs it, as far as the proof can tell: it is superfluous, or the wrong fix
// that it is there for is missing. That is a warning.
//
// With --record the folder keeps in _proof.json when the lab was proven, on which version of Kubernetes, and
// which version of the lab. `drydock lab list` and the lab's page say so, or that it is proven
// for an older version, or never. The file is no part of the lab's version.
//
// # Correcting a lab
//
// An attempt goes on and is shown with the version of the lab that it was begun
// with. What a correction would change in the grades of attempts that have ended
// tells `drydock lab regrade` ([Regrade]), which can also apply it. That
// works from what was seen then: correct the condition, the hold or the accepted
// answers, and keep what the check looks at. A check that looks at something
// else can only be judged again if another one looked at that.
package labs
